import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Feature, LineConfig } from '../config/schema.ts';
import {
  takeSnapshot as takeSnapshotOf,
  type ParentSnapshot,
  type SnapshotInput,
  type SnapshotManifest,
} from '../data/snapshot.ts';
import { sourceOf } from '../data/sources/index.ts';
import type { Strategy } from '../policy/training-strategy.ts';
import { readCycle } from '../store/cycles.ts';
import type { Database } from '../store/database.ts';
import { readEventNow } from '../store/event-clock.ts';
import { once } from '../store/effects.ts';
import { windowsToLeaveOut } from '../store/parents.ts';
import { findRemoved } from '../store/removed-artifacts.ts';
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
  const { snapshotId, manifest } = await freezeSnapshot(deps, cycle, {
    eventNowMs,
    ...(await trainedUpTo(deps, cycle)),
    replay: input.strategy === 'full' ? 'all' : 'sample',
  });
  const { train, replay, holdout } = manifest.counts;
  return {
    snapshotId,
    rows: { train, replay, holdout },
    windowStartMs: manifest.windowStartMs,
    cutoffMs: manifest.cutoffMs,
  };
}

/** Takes a snapshot for a cycle and records it: what is the same whatever it is for. */
export async function freezeSnapshot(
  deps: DataDependencies,
  cycle: CycleRecord,
  what: Pick<SnapshotInput, 'eventNowMs' | 'sinceMs' | 'parent' | 'replay' | 'extends'>,
): Promise<{ snapshotId: string; manifest: SnapshotManifest }> {
  const { cycleId, line, config } = cycle;
  const workDir = join(deps.workRoot, 'snapshots', encodeURIComponent(cycleId));
  // Of an attempt that was cut off; at the end only what is this attempt's own goes, since the next one may be running.
  await rm(workDir, { recursive: true, force: true, maxRetries: 3 });
  try {
    const champion = await readVersion(deps.db, { line, version: cycle.stableAtStart });
    // The champion is scored on these rows, too: a feature that the config dropped since is still its input.
    const gone = dropped(champion.features, config);
    const taken = await takeSnapshotOf({
      ...what,
      config: { ...config, features: [...config.features, ...gone] },
      dropped: gone.map(({ name }) => name),
      cycleId,
      championCutoffMs: champion.trainingCutoffMs,
      taintedWindows: await windowsToLeaveOut(deps.db, cycle),
      source: sourceOf(config, { logRoot: deps.logRoot, processEnv: deps.processEnv }),
      workDir,
      artifacts: deps.artifacts,
      tables: deps.logTable === null ? {} : { log: deps.logTable },
    });
    await saveSnapshot(deps.db, { ...taken, line, cycleId });
    return taken;
  } finally {
    await rmdir(workDir).catch(() => undefined);
  }
}

async function trainedUpTo(
  deps: DataDependencies,
  { line, parent }: CycleRecord,
): Promise<{ sinceMs: number | null; parent: ParentSnapshot | null }> {
  if (parent === null) return { sinceMs: null, parent: null };
  const { lineage, trainingCutoffMs } = await readVersion(deps.db, { line, version: parent });
  const { snapshotId } = lineage;
  const snapshot = snapshotId === undefined ? null : await parentSnapshot(deps.db, snapshotId);
  return { sinceMs: trainingCutoffMs, parent: snapshot };
}

/** A historical holdout that retention removed is not carried on: a taint may lead to a parent of long ago. */
async function parentSnapshot(db: Database, snapshotId: string): Promise<ParentSnapshot | null> {
  const manifest = await earlierManifest(db, snapshotId);
  if (manifest === null) return null;
  const removed = await findRemoved(
    db,
    manifest.files.historical.map(({ sha256 }) => sha256),
  );
  return removed.length === 0 ? manifest : { ...manifest, historical: null };
}

function dropped(features: readonly Feature[], config: LineConfig): Feature[] {
  // Column names do not differ by case.
  const kept = new Set(config.features.map(({ name }) => name.toLowerCase()));
  return features.filter(({ name }) => !kept.has(name.toLowerCase()));
}
