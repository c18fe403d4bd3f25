import { OTHER_CATEGORY } from '../../policy/drift/binning.ts';
import {
  type CategoricalComparison,
  type CategoricalDriftOptions,
  compareCategorical,
  compareNumeric,
  type NumericComparison,
  type NumericDriftOptions,
} from '../../policy/drift/compare.ts';
import type { CategoricalProfile, Profile } from './profile.ts';
import { missingShare, numericSample } from './read.ts';

/** How a column of two profiles differs. Missing values are apart: shares of the rows, null without rows. */
export type ColumnComparison = {
  name: string;
  missing: { reference: number | null; current: number | null };
} & (
  | { kind: 'numeric'; comparison: NumericComparison }
  | {
      kind: 'categorical';
      /** `newShare` is NaN when the reference has more values than its heavy hitters: which ones are new can not be told. */
      comparison: CategoricalComparison;
    }
  /** A sentence that says why there is nothing to compare. */
  | { kind: 'impossible'; reason: string }
);

export interface CompareProfilesOptions {
  /** All that either profile has when left out. */
  columns?: readonly string[];
  /** Settings of the measures. */
  numeric?: NumericDriftOptions;
  categorical?: CategoricalDriftOptions;
}

/**
 * Compares two profiles column by column with the measures of policy/drift, in the order of `columns`: numeric columns by
 * their samples, categorical ones by their exact counts, with what is beyond the heavy hitters as one category.
 */
export function compareProfiles(
  reference: Profile,
  current: Profile,
  options: CompareProfilesOptions = {},
): ColumnComparison[] {
  const columns = options.columns ?? [...new Set([...Object.keys(reference.columns), ...Object.keys(current.columns)])];
  return columns.map((name) => compareColumn({ name, reference, current, options }));
}

function compareColumn(input: {
  name: string;
  reference: Profile;
  current: Profile;
  options: CompareProfilesOptions;
}): ColumnComparison {
  const { name, reference, current, options } = input;
  const a = reference.columns[name];
  const b = current.columns[name];
  const common = { name, missing: { reference: a ? missingShare(a) : null, current: b ? missingShare(b) : null } };
  const impossible = (reason: string): ColumnComparison => ({ ...common, kind: 'impossible', reason });
  if (a === undefined) return impossible(`the reference has no column "${name}"`);
  if (b === undefined) return impossible(`the current data has no column "${name}"`);
  if (a.count === 0) return impossible(`column "${name}" has no values in the reference`);
  if (b.count === 0) return impossible(`column "${name}" has no values in the current data`);
  if (a.kind === 'numeric' && b.kind === 'numeric') {
    const samples = [numericSample(reference, name), numericSample(current, name)] as const;
    if (samples.some(({ length }) => length === 0))
      return impossible(`column "${name}" has too few values: none of the sampled rows has one`);
    return { ...common, kind: 'numeric', comparison: compareNumeric(...samples, options.numeric) };
  }
  if (a.kind === 'categorical' && b.kind === 'categorical') {
    const comparison = compareCategorical(countsOf(a), countsOf(b), options.categorical);
    const newShare = a.heavyError > 0 ? Number.NaN : comparison.newShare;
    return { ...common, kind: 'categorical', comparison: { ...comparison, newShare } };
  }
  return impossible(`column "${name}" was ${a.kind} in the reference and is ${b.kind} now`);
}

function countsOf({ heavy, count }: CategoricalProfile): Map<string, number> {
  const counts = new Map(heavy);
  const others = count - heavy.reduce((sum, [, n]) => sum + n, 0);
  if (others > 0) counts.set(OTHER_CATEGORY, (counts.get(OTHER_CATEGORY) ?? 0) + others);
  return counts;
}
