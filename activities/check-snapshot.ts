import { runChecks, type CheckReport } from '../data/checks/run-checks.ts';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { saveReport } from '../store/snapshots.ts';
import type { DataDependencies } from './dependencies.ts';
import { rescoreWith } from './rescore.ts';
import { localFiles, snapshotManifest } from './snapshot-files.ts';
import { readProfile, snapshotReferences } from './snapshot-references.ts';

export interface CheckSnapshotResult {
  verdict: CheckReport['verdict'];
  /** Of the checks that block. */
  reasons: Reason[];
  /** Of the checks that warn: training goes on. */
  warnings: Reason[];
  /** Of the checks that would have warned or blocked if they were not silenced. */
  silenced: Reason[];
  /** Where the report can be looked at; null when no address is known. */
  reportUrl: string | null;
}

/** Runs every check on the snapshot's own files: what passes here is byte for byte what trains (invariant 1). */
export async function checkSnapshot(
  deps: DataDependencies,
  input: { cycleId: string; snapshotId: string },
): Promise<CheckSnapshotResult> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const manifest = await snapshotManifest(deps.db, input.snapshotId);
  const report = await runChecks({
    config: cycle.config,
    manifest,
    files: await localFiles(deps.artifacts, manifest),
    profiles: {
      fresh: await readProfile(deps, manifest.profiles.fresh),
      unlabelled: await readProfile(deps, manifest.profiles.unlabelled),
    },
    references: await snapshotReferences(deps, { cycle, manifest }),
    rescore: rescoreWith(deps, cycle.line),
    nowMs: Date.now(),
  });
  await saveReport(deps.db, { snapshotId: input.snapshotId, report });
  const asReasons = (status: string): Reason[] =>
    report.results
      .filter((result) => result.status === status)
      .map(({ check, message, numbers, threshold }) => ({
        code: check,
        message,
        numbers: { ...threshold, ...numbers },
      }));
  return {
    verdict: report.verdict,
    reasons: asReasons('block'),
    warnings: asReasons('warn'),
    silenced: asReasons('silenced'),
    reportUrl: deps.reportsUrl === null ? null : `${deps.reportsUrl}/${input.snapshotId}`,
  };
}
