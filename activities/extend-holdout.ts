import { count } from '../policy/figures.ts';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { readEventNow } from '../store/event-clock.ts';
import { once } from '../store/effects.ts';
import { checkSnapshot } from './check-snapshot.ts';
import type { DataDependencies } from './dependencies.ts';
import { snapshotManifest } from './snapshot-files.ts';
import { freezeSnapshot } from './take-snapshot.ts';

export interface ExtendHoldoutInput {
  cycleId: string;
  /** What the challenger was trained on. */
  snapshotId: string;
  /** Extensions that are in use, oldest first: the rows begin after the newest. */
  extensions: string[];
  /** 1 for the first try; a retry has the number of what it repeats. */
  attempt: number;
}

/** More rows to evaluate on, or why there are none. */
export type HoldoutExtension =
  | { kind: 'used'; snapshotId: string; rows: number; warnings: Reason[]; reportUrl: string | null }
  | { kind: 'notUsed'; snapshotId: string | null; reasons: Reason[]; reportUrl: string | null };

/** One try to extend the holdout, as it is kept with the version. */
export interface ExtensionRecord {
  attempt: number;
  /** Whether the evaluation has its rows. */
  used: boolean;
  /** Null when none could be taken. */
  snapshotId: string | null;
  rows: number;
  /** What came of it, or why it is not used. */
  message: string;
  /** What the gate said before. */
  before: { kind: string; reasons: Reason[] };
}

/**
 * Freezes the rows that matured since the cycle's snapshot, or its last extension, as a snapshot of its own that only
 * tests, and runs the checks on it: a table that is half loaded must not decide a gate. What does not pass, or has no
 * rows, is not to be used; its rows come with the next try once they are right. The next cycle trains on all of them.
 */
export async function extendHoldout(deps: DataDependencies, input: ExtendHoldoutInput): Promise<HoldoutExtension> {
  const { cycleId, attempt } = input;
  const cycle = await readCycle(deps.db, cycleId);
  const trained = await snapshotManifest(deps.db, input.snapshotId);
  const newest = input.extensions.at(-1);
  const { cutoffMs } = newest === undefined ? trained : await snapshotManifest(deps.db, newest);
  const eventNowMs = await once(deps.db, `${cycleId}/event-now/extension-${String(attempt)}`, (tx) =>
    readEventNow(tx, cycle.line),
  );
  const { snapshotId, manifest } = await freezeSnapshot(deps, cycle, {
    eventNowMs,
    // The maturity may have grown while the cycle trained: then the cutoff lies before the window.
    sinceMs: Math.max(cutoffMs, trained.windowStartMs),
    parent: null,
    extends: { snapshotId: input.snapshotId, splitMs: trained.splitMs },
  });
  const rows = manifest.counts.holdout;
  if (rows === 0) {
    const { immature, tainted } = manifest.counts;
    const message = `no row has matured since the last snapshot: ${count(immature)} are too young for a label, ${count(tainted)} lie in tainted windows`;
    return {
      kind: 'notUsed',
      snapshotId,
      reasons: [{ code: 'extend.no-rows', message, numbers: { immature, tainted } }],
      reportUrl: null,
    };
  }
  const { verdict, reasons, warnings, reportUrl } = await checkSnapshot(deps, { cycleId, snapshotId });
  return verdict === 'pass'
    ? { kind: 'used', snapshotId, rows, warnings, reportUrl }
    : { kind: 'notUsed', snapshotId, reasons, reportUrl };
}
