import type { CheckCode, LineConfig } from '../../config/schema.ts';
import type { Duck } from '../duckdb.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';

/**
 * What checks read. `db` has the views `train`, `holdout` and `replay` over the snapshot's own files, and `fresh`, which
 * is train and holdout. A view of a part without files does not exist; `fresh` does not exist without rows.
 */
export interface CheckContext {
  config: LineConfig;
  manifest: SnapshotManifest;
  db: Duck;
}

/**
 * - `pass`, `block`: the data is as it must be, or nothing may be trained on it. What can not be told blocks.
 * - `warn`: people should know; training goes on.
 * - `notApplicable`: only while there is less than one season of history to compare with.
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
  /** `silenced`: it would have warned or blocked, as `wouldBe` says, but is silenced for a while. */
  status: Finding['status'] | 'silenced';
  wouldBe?: 'warn' | 'block';
  severity: 'info' | 'warning' | 'critical';
  /** The silence in force for this check, also when it passed. */
  silence?: { until: string; reason: string };
}

export interface CheckReport {
  verdict: 'pass' | 'block';
  results: CheckResult[];
}

/** The fresh rows of the snapshot: train without replay, and holdout. */
export function freshRows(manifest: SnapshotManifest): number {
  return manifest.counts.train + manifest.counts.holdout;
}
