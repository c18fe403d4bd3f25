import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Feature, LineConfig } from '../config/schema.ts';
import { takeSnapshot as takeSnapshotOf, type ParentSnapshot } from '../data/snapshot.ts';
import { sourceOf } from '../data/sources/index.ts';
import type { Strategy } from '../policy/training-strategy.ts';
import { readCycle } from '../store/cycles.ts';
import { readEventNow } from '../store/event-clock.ts';
import { once } from '../store/effects.ts';
import { windowsToLeaveOut } from '../store/parents.ts';
import { saveSnapshot } from '../store/snapshots.ts';
import type { CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';
import { earlierManifest } from './snapshot-files.ts';

export interface TakeSnapshotInput {
  cycleId: string;
  /** How the challenger will be trained; left out by older builds. */
  strategy?: Strategy | undefined;
}

export interface TakeSnapshotResult {
  snapshotId: string;
  rows: { train: number; replay: number; holdout: number };
  windowStartMs: number;
  cutoffMs: number;
}

/**
 * Freezes the matured rows since the parent's training cutoff, with a share of history, as Parquet in the artifact
 * store; for a training in full with all of history. Rows of tainted snapshots are left out. The first attempt fixes the
 * event time and what is tainted, so a retry takes the same snapshot.
 */
export async function takeSnapshot(deps: DataDependencies, input: TakeSnapshotInput): Promise<TakeSnapshotResult> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const eventNowMs = await once(deps.db, `${input.cycleId}/event-now`, (tx) => readEventNow(tx, cycle.line));
  const parent = await trainedUpTo(deps, cycle);
  const workDir = join(deps.workRoot, 'snapshots', encodeURIComponent(input.cycleId));
  // Of an attempt that was cut off; at the end only what is this attempt's own goes, since the next one may be running.
  await rm(workDir, { recursive: true, force: true, maxRetries: 3 });
  try {
    // The champion is scored on these rows, too: a feature that the config dropped since is still its input.
    const gone = dropped(parent.features, cycle.config);
    const { snapshotId, manifest } = await takeSnapshotOf({
      config: { ...cycle.config, features: [...cycle.config.features, ...gone] },
      dropped: gone.map(({ name }) => name),
      cycleId: input.cycleId,
      eventNowMs,
      sinceMs: parent.cutoffMs,
      parent: parent.snapshot,
      championCutoffMs: parent.championCutoffMs,
      replay: input.strategy === 'full' ? 'all' : 'sample',
      taintedWindows: await windowsToLeaveOut(deps.db, cycle),
      source: sourceOf(cycle.config, { logRoot: deps.logRoot, processEnv: deps.processEnv }),
      workDir,
      artifacts: deps.artifacts,
      tables: deps.logTable === null ? {} : { log: deps.logTable },
    });
    await saveSnapshot(deps.db, { snapshotId, line: cycle.line, cycleId: input.cycleId, manifest });
    const { train, replay, holdout } = manifest.counts;
    return {
      snapshotId,
      rows: { train, replay, holdout },
      windowStartMs: manifest.windowStartMs,
      cutoffMs: manifest.cutoffMs,
    };
  } finally {
    await rmdir(workDir).catch(() => undefined);
  }
}

interface Parent {
  cutoffMs: number | null;
  snapshot: ParentSnapshot | null;
  /** The champion's: it is evaluated on this snapshot, also when it is not the parent. */
  features: readonly Feature[];
  championCutoffMs: number | null;
}

async function trainedUpTo(deps: DataDependencies, cycle: CycleRecord): Promise<Parent> {
  const { line, stableAtStart } = cycle;
  const champion = await readVersion(deps.db, { line, version: stableAtStart });
  const ofChampion = { features: champion.features, championCutoffMs: champion.trainingCutoffMs };
  if (cycle.parent === null) return { cutoffMs: null, snapshot: null, ...ofChampion };
  const parent = await readVersion(deps.db, { line, version: cycle.parent });
  const { snapshotId } = parent.lineage;
  const snapshot = snapshotId === undefined ? null : await earlierManifest(deps.db, snapshotId);
  return { cutoffMs: parent.trainingCutoffMs, snapshot, ...ofChampion };
}

function dropped(features: readonly Feature[], config: LineConfig): Feature[] {
  // Column names do not differ by case.
  const kept = new Set(config.features.map(({ name }) => name.toLowerCase()));
  return features.filter(({ name }) => !kept.has(name.toLowerCase()));
}
