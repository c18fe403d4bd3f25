/**
 * What a set of rows looks like, small enough to keep for ever and mergeable: the profile of two disjoint sets together is
 * `mergeProfiles` of theirs. Comparisons read profiles, never old data.
 */
export interface Profile {
  formatVersion: 1;
  /**
   * Fingerprint of the hash function behind the distinct sketches (it may change with DuckDB); empty after merging profiles
   * of different ones, which leaves `distinctOf` without an answer.
   */
  hash: string;
  rows: number;
  /** Event times of the first and last row, Unix ms; null without rows. */
  fromMs: number | null;
  toMs: number | null;
  /** By name. */
  columns: Record<string, ColumnProfile>;
  /** A uniform sample of whole rows, the same whatever the order or the threads. */
  sample: ProfileSample;
}

export type ColumnProfile = NumericProfile | CategoricalProfile;

interface ColumnBase {
  /** Rows with a value. */
  count: number;
  missing: number;
  /** Registers of a HyperLogLog sketch; `distinctOf` reads it. Empty: can not be told (see `Profile.hash`). */
  distinct: Uint8Array;
}

export interface NumericProfile extends ColumnBase {
  kind: 'numeric';
  zeros: number;
  /** Null without values. */
  min: number | null;
  max: number | null;
  mean: number | null;
  /** Sum of squared deviations from the mean. */
  m2: number | null;
}

export interface CategoricalProfile extends ColumnBase {
  kind: 'categorical';
  /**
   * The most frequent values (1,000 at most) with their counts, most frequent first, ties by value (UTF-8 order); ids in
   * decimal. In a merged profile a count may be too low, by `heavyError` at most.
   */
  heavy: [value: string, count: number][];
  /** No value that is not among them occurs more often than this; 0 when they are all. */
  heavyError: number;
}

/**
 * The rows with the smallest hashes of their ids (a bottom-k sample: Cohen and Kaplan, "Summarizing data using bottom-k
 * sketches", PODC 2007). Parallel arrays in the order of the hashes.
 */
export interface ProfileSample {
  /** Rows at most. */
  capacity: number;
  hashes: BigUint64Array;
  /** Numeric columns; NaN where missing. */
  numeric: Record<string, Float64Array>;
  /** Categorical columns as text; null where missing. */
  categorical: Record<string, (string | null)[]>;
}
