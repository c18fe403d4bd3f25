import { DataError } from '../data-error.ts';
import { mergeRegisters } from './distinct.ts';
import { mergeHeavyHitters } from './heavy-hitters.ts';
import { mergeMoments } from './moments.ts';
import type { CategoricalProfile, ColumnProfile, NumericProfile, Profile } from './profile.ts';
import { mergeSamples } from './sample.ts';

/**
 * The profile of disjoint sets of rows together: what profiling them at once gives, but for the rounding of means, and for
 * heavy hitters beyond the first thousand (see `CategoricalProfile.heavyError`). Columns that not all have, or not as the
 * same kind, are left out: a column that one of them lacks is unknown there, not missing.
 *
 * @throws DataError without profiles.
 */
export function mergeProfiles(profiles: readonly Profile[]): Profile {
  const [first, ...others] = profiles;
  if (first === undefined) throw new DataError('there are no profiles to merge');
  if (others.length === 0) return first;
  const names = Object.keys(first.columns).filter((name) =>
    others.every(({ columns }) => columns[name]?.kind === first.columns[name]?.kind),
  );
  const hash = others.every((other) => other.hash === first.hash) ? first.hash : '';
  const columns: Record<string, ColumnProfile> = {};
  for (const name of names) {
    const column = mergeColumns(profiles.flatMap((profile) => profile.columns[name] ?? []));
    columns[name] = hash === '' ? { ...column, distinct: new Uint8Array(0) } : column;
  }
  return {
    formatVersion: 1,
    hash,
    rows: profiles.reduce((sum, { rows }) => sum + rows, 0),
    fromMs: extreme(profiles.map(({ fromMs }) => fromMs)).min,
    toMs: extreme(profiles.map(({ toMs }) => toMs)).max,
    columns,
    sample: mergeSamples(
      profiles.map(({ sample }) => sample),
      new Set(names),
    ),
  };
}

function mergeColumns(columns: ColumnProfile[]): ColumnProfile {
  const numeric = columns.filter((column): column is NumericProfile => column.kind === 'numeric');
  const categorical = columns.filter((column): column is CategoricalProfile => column.kind === 'categorical');
  const missing = columns.reduce((sum, column) => sum + column.missing, 0);
  const distinct = mergeRegisters(columns.map((column) => column.distinct));
  if (numeric.length > 0) {
    const none = { count: 0, zeros: 0, min: null, max: null, mean: null, m2: null };
    return { kind: 'numeric', missing, distinct, ...numeric.reduce(mergeMoments, none) };
  }
  const count = columns.reduce((sum, column) => sum + column.count, 0);
  return { kind: 'categorical', count, missing, distinct, ...mergeHeavyHitters(categorical) };
}

function extreme(values: (number | null)[]): { min: number | null; max: number | null } {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? { min: null, max: null } : { min: Math.min(...known), max: Math.max(...known) };
}
