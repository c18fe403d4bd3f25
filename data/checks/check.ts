import type { CheckCode, LineConfig } from '../../config/schema.ts';
import type { Duck } from '../duckdb.ts';
import type { Profile } from '../profile/profile.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';

/**
 * What checks read. `db` has the views `train`, `holdout`, `replay`, `historical` and `unlabelled` over the snapshot's own
 * files, and `fresh`, which is train and holdout. A view of a part without files does not exist; `fresh` does not exist
 * without rows.
 */
export interface CheckContext {
  config: LineConfig;
  manifest: SnapshotManifest;
  db: Duck;
  /** Of the fresh rows; null when there are none. */
  profile: Profile | null;
  /** Of the rows that are too young for a label; null when there are none. */
  unlabelledProfile: Profile | null;
  references: References;
  /** Scores rows again; null where there is nothing to score with. */
  rescore: Rescore | null;
}

/** An earlier snapshot that passed its checks, or several, merged. */
export interface Reference {
  snapshotIds: string[];
  /** Fresh windows, event time: (fromMs, toMs]. */
  fromMs: number;
  toMs: number;
  profile: Profile;
  /** Of the newest of them. */
  manifest: SnapshotManifest;
  report: CheckReport | null;
}

/** What the fresh rows are compared with; null where there is no such snapshot. */
export interface References {
  /** What the parent was trained on: the champion, unless that is contaminated. */
  training: Reference | null;
  /** The same phase one season back (yesterday). */
  season: Reference | null;
  /** Two seasons back: what moves from season to season shows between these two. */
  earlierSeason: Reference | null;
  /** The same phase a week back. */
  week: Reference | null;
  /** The newest snapshots that passed, newest first: trends are read from their reports. */
  recent: Reference[];
}

/**
 * Scores feature rows with a version of the line, in order.
 *
 * @param sql a query over the views, whose columns are the features.
 * @returns one score a row, or a sentence that says why they can not be scored (the version is gone, a feature is missing).
 */
export type Rescore = (input: { version: number; sql: string }) => Promise<Float64Array | { impossible: string }>;

/**
 * - `pass`, `block`: the data is as it must be, or nothing may be trained on it. What can not be told blocks.
 * - `warn`: people should know; training goes on.
 * - `notApplicable`: there is nothing yet to compare with (the first season of a line, no earlier snapshot), or nothing of
 *   what the check looks at (no row that a model scored).
 */
export interface Finding {
  status: 'pass' | 'warn' | 'block' | 'notApplicable';
  numbers: Record<string, number | string | null>;
  /** The configured limits, by the config's names; durations in milliseconds. */
  threshold: Record<string, number>;
  /** A sentence for the operator with the numbers that mattered and, if it blocks, what to do. */
  message: string;
}

export type Check = (context: CheckContext) => Promise<Finding> | Finding;

export interface CheckResult extends Omit<Finding, 'status'> {
  check: CheckCode;
  /** `silenced` and `dryRun`: it would have warned or blocked, as `wouldBe` says, but is silenced for a while, or only tried. */
  status: Finding['status'] | 'silenced' | 'dryRun';
  wouldBe?: 'warn' | 'block';
  severity: 'info' | 'warning' | 'critical';
  /** The silence in force for this check, also when it passed. */
  silence?: { until: string; reason: string };
}

export interface CheckReport {
  verdict: 'pass' | 'block';
  /** Ids of the snapshots that it was compared with. */
  comparedWith: { training: string[]; season: string[]; week: string[] };
  results: CheckResult[];
}

/** The fresh rows of the snapshot: train without replay, and holdout. */
export function freshRows(manifest: SnapshotManifest): number {
  return manifest.counts.train + manifest.counts.holdout;
}
