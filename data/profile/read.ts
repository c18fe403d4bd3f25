import type { ColumnProfile, NumericProfile, Profile } from './profile.ts';

/** Share of rows without a value; null without rows. */
export function missingShare(column: ColumnProfile): number | null {
  const rows = column.count + column.missing;
  return rows === 0 ? null : column.missing / rows;
}

/** Population variance; null without values. */
export function variance(column: NumericProfile): number | null {
  return column.m2 === null ? null : column.m2 / column.count;
}

/**
 * The sampled values of a numeric column, ascending, without missing ones.
 *
 * @throws Error when the profile has no such column.
 */
export function numericSample(profile: Profile, name: string): Float64Array {
  return sampled(profile, profile.sample.numeric, name)
    .filter((value) => !Number.isNaN(value))
    .sort();
}

/**
 * The smallest sampled value that at least the share `p` of the sampled values does not exceed (inverse of the empirical
 * distribution function); exact for 0 and 1. Null without values.
 *
 * @throws Error when the profile has no such column, or when p is not in [0, 1].
 */
export function quantile(profile: Profile, name: string, p: number): number | null {
  if (!(p >= 0 && p <= 1)) throw new Error(`expected a share from 0 to 1 to take the quantile of, got ${String(p)}`);
  const values = numericSample(profile, name);
  const column = profile.columns[name];
  if (column?.kind !== 'numeric' || values.length === 0) return null;
  if (p === 0) return column.min;
  if (p === 1) return column.max;
  return values[Math.max(0, Math.ceil(p * values.length) - 1)] ?? null;
}

/**
 * Share of the sampled values below x; exact where that is none or all. Null without values.
 *
 * @throws Error when the profile has no such column.
 */
export function shareBelow(profile: Profile, name: string, x: number): number | null {
  const values = sampled(profile, profile.sample.numeric, name);
  const column = profile.columns[name];
  if (column?.kind !== 'numeric' || column.min === null || column.max === null) return null;
  if (x <= column.min) return 0;
  if (x > column.max) return 1;
  const known = values.filter((value) => !Number.isNaN(value));
  return known.length === 0 ? null : known.filter((value) => value < x).length / known.length;
}

/**
 * The most frequent values of a categorical column, most frequent first.
 *
 * @throws Error when the profile has no such column.
 */
export function categoryCounts(profile: Profile, name: string): { value: string; count: number }[] {
  const column = profile.columns[name];
  if (column?.kind !== 'categorical') throw unknownColumn(profile, name, 'categorical');
  return column.heavy.map(([value, count]) => ({ value, count }));
}

/**
 * The sampled values of a categorical column without missing ones.
 *
 * @throws Error when the profile has no such column.
 */
export function categoricalSample(profile: Profile, name: string): string[] {
  return sampled(profile, profile.sample.categorical, name).filter((value) => value !== null);
}

/**
 * Sampled rows: numeric columns by name, the same row at the same place, NaN where missing. Categorical ones stand beside
 * them in `profile.sample.categorical`.
 *
 * @throws Error when the profile lacks one of the columns.
 */
export function sampleRows<Name extends string>(profile: Profile, names: readonly Name[]): Record<Name, Float64Array> {
  return Object.fromEntries(names.map((name) => [name, sampled(profile, profile.sample.numeric, name)])) as Record<
    Name,
    Float64Array
  >;
}

function sampled<T>(profile: Profile, columns: Record<string, T>, name: string): T {
  const column = columns[name];
  if (column === undefined)
    throw unknownColumn(profile, name, (columns as unknown) === profile.sample.numeric ? 'numeric' : 'categorical');
  return column;
}

function unknownColumn(profile: Profile, name: string, kind: string): Error {
  const names = Object.entries(profile.columns).flatMap(([other, column]) => (column.kind === kind ? [other] : []));
  return new Error(`the profile has no ${kind} column "${name}"; it has ${names.join(', ') || 'none'}`);
}
