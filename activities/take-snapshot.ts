import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Feature, LineConfig } from '../config/schema.ts';
import { takeSnapshot as takeSnapshotOf } from '../data/snapshot.ts';
import { readCycle } from '../store/cycles.ts';
import { readEventNow } from '../store/event-clock.ts';
import { once } from '../store/effects.ts';
import { saveSnapshot } from '../store/snapshots.ts';
import { INPUT_ORDER_VERSION, type CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';
import { snapshotManifest } from './snapshot-files.ts';

export interface TakeSnapshotResult {
  snapshotId: string;
  rows: { train: number; replay: number; holdout: number };
  windowStartMs: number;
  cutoffMs: number;
}

/**
 * Freezes the matured rows since the parent's training cutoff, with a share of history, as Parquet in the artifact
 * store. The first attempt fixes the event time, so a retry takes the same snapshot.
 */
export async function takeSnapshot(deps: DataDependencies, input: { cycleId: string }): Promise<TakeSnapshotResult> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const eventNowMs = await once(deps.db, `${input.cycleId}/event-now`, (tx) => readEventNow(tx, cycle.line));
  const parent = await trainedUpTo(deps, cycle);
  const workDir = join(deps.workRoot, 'snapshots', encodeURIComponent(input.cycleId));
  try {
    const { snapshotId, manifest } = await takeSnapshotOf({
      // The champion is scored on these rows, too: a feature that the config dropped since is still its input.
      config: { ...cycle.config, features: [...cycle.config.features, ...dropped(parent.features, cycle.config)] },
      cycleId: input.cycleId,
      eventNowMs,
      sinceMs: parent.cutoffMs,
      parentTakenAtMs: parent.takenAtMs,
      logRoot: deps.logRoot,
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
    await rm(workDir, { recursive: true, force: true });
  }
}

interface Parent {
  cutoffMs: number | null;
  takenAtMs: number | null;
  features: readonly Feature[];
}

async function trainedUpTo(deps: DataDependencies, cycle: CycleRecord): Promise<Parent> {
  if (cycle.stableAtStart === INPUT_ORDER_VERSION) return { cutoffMs: null, takenAtMs: null, features: [] };
  const parent = await readVersion(deps.db, { line: cycle.line, version: cycle.stableAtStart });
  const { snapshotId } = parent.lineage;
  const takenAtMs = snapshotId === undefined ? null : (await snapshotManifest(deps.db, snapshotId)).eventNowMs;
  return { cutoffMs: parent.trainingCutoffMs, takenAtMs, features: parent.features };
}

function dropped(features: readonly Feature[], config: LineConfig): Feature[] {
  // Column names do not differ by case.
  const kept = new Set(config.features.map(({ name }) => name.toLowerCase()));
  return features.filter(({ name }) => !kept.has(name.toLowerCase()));
}
