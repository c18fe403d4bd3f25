import { runChecks, type CheckReport } from '../data/checks/run-checks.ts';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { saveReport } from '../store/snapshots.ts';
import type { DataDependencies } from './dependencies.ts';
import { localFiles, snapshotManifest } from './snapshot-files.ts';

export interface CheckSnapshotResult {
  verdict: CheckReport['verdict'];
  /** Of the checks that block, or would if they were not silenced. */
  reasons: Reason[];
  silenced: Reason[];
}

/** Runs every check on the snapshot's own files: what passes here is byte for byte what trains (invariant 1). */
export async function checkSnapshot(
  deps: DataDependencies,
  input: { cycleId: string; snapshotId: string },
): Promise<CheckSnapshotResult> {
  const { config } = await readCycle(deps.db, input.cycleId);
  const manifest = await snapshotManifest(deps.db, input.snapshotId);
  const report = await runChecks({
    config,
    manifest,
    files: await localFiles(deps.artifacts, manifest),
    nowMs: Date.now(),
  });
  await saveReport(deps.db, { snapshotId: input.snapshotId, report });
  const asReasons = (status: string): Reason[] =>
    report.results
      .filter((result) => result.status === status)
      .map(({ check, message, numbers }) => ({ code: check, message, numbers }));
  return { verdict: report.verdict, reasons: asReasons('block'), silenced: asReasons('silenced') };
}
