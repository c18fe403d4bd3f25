import { expect, test } from 'vitest';
import { DataError } from '../../../data/data-error.ts';
import { distinctOf, mergeProfiles, type Profile } from '../../../data/profile/index.ts';
import { profileRows, type Row, sequence, someRows } from './rows.ts';

/** What must be equal exactly, and what only but for rounding. */
function parts(profile: Profile): { exact: unknown; rounded: (number | null)[] } {
  const columns = Object.entries(profile.columns).map(([name, column]) => {
    if (column.kind === 'categorical') return { exact: [name, column], rounded: [] };
    const { mean, m2, ...exact } = column;
    return { exact: [name, exact], rounded: [mean, m2] };
  });
  return {
    exact: { ...profile, columns: columns.map(({ exact }) => exact) },
    rounded: columns.flatMap(({ rounded }) => rounded),
  };
}

test.each([1, 2, 3, 4, 5])('profiles of any split merge to the profile of the whole (split %i)', async (seed) => {
  const random = sequence(1_000 + seed);
  // Few enough values that no list of heavy hitters is cut; keys that repeat, so that ties are broken by the values.
  const rows = someRows(4_000, seed).map((row, index) => ({
    ...row,
    id: `user-${String(index % (seed * 800))}`,
    c: row.c === null ? null : row.c.slice(0, 8),
  }));
  const size = 2 + Math.floor(4 * random());
  const split = Array.from({ length: size }, (): Row[] => []);
  for (const row of rows) split[Math.floor(size * random() ** 2)]?.push(row);

  const options = { sampleSize: 300 };
  const profiles = await Promise.all([...split, []].map((some) => profileRows(some, options)));
  const merged = parts(mergeProfiles(profiles));
  const whole = parts(await profileRows(rows, options));

  expect(merged.exact).toEqual(whole.exact);
  merged.rounded.forEach((value, index) => {
    expect((value ?? NaN) / (whole.rounded[index] ?? NaN)).toBeCloseTo(1, 12);
  });
  const pairwise = profiles.reduce((a, b) => mergeProfiles([a, b]));
  expect(parts(pairwise).exact).toEqual(whole.exact);
});

test('heavy hitters beyond the first thousand stay within the error that is said', async () => {
  const rows = someRows(12_000, 9);
  const truth = new Map<string, number>();
  for (const { c } of rows) if (c !== null) truth.set(c, (truth.get(c) ?? 0) + 1);
  const halves = [0, 1].map((half) => rows.filter((_, index) => index % 2 === half));
  const merged = mergeProfiles(await Promise.all(halves.map((half) => profileRows(half))));
  const column = merged.columns['c'];
  if (column?.kind !== 'categorical') throw new Error('no categorical column');
  expect(column.heavy).toHaveLength(1_000);
  expect(column.heavyError).toBeGreaterThan(0);
  const kept = new Map(column.heavy);
  for (const [value, count] of truth) {
    expect(count).toBeLessThanOrEqual((kept.get(value) ?? 0) + column.heavyError);
    expect(kept.get(value) ?? 0).toBeLessThanOrEqual(count);
  }
  expect(column.heavy.slice(0, 20)).toEqual(
    [...truth].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, 20),
  );
});

test('a value that the merged list has no room for counts for its error', async () => {
  const times = (count: number, name: string): Row[] =>
    someRows(1_000 * count).map((row, index) => ({ ...row, c: `${name}-${String(index % 1_000)}` }));
  const merged = mergeProfiles([await profileRows(times(2, 'rare')), await profileRows(times(3, 'frequent'))]);
  const column = merged.columns['c'];
  if (column?.kind !== 'categorical') throw new Error('no categorical column');
  expect(column.heavy.every(([value, count]) => value.startsWith('frequent') && count === 3)).toBe(true);
  expect(column.heavyError).toBe(2);
});

test('sketches of different hash functions are not merged: the number of distinct values can not be told', async () => {
  const [a, b] = await Promise.all([profileRows(someRows(3_000, 1)), profileRows(someRows(3_000, 2))]);
  const merged = mergeProfiles([a, { ...b, hash: 'of another DuckDB' }]);
  const column = merged.columns['n'];
  expect(column && distinctOf(column)).toBeNaN();
  expect(column?.count).toBe((a.columns['n']?.count ?? 0) + (b.columns['n']?.count ?? 0));
  const again = mergeProfiles([merged, a]).columns['n'];
  expect(again && distinctOf(again)).toBeNaN();
});

test('a column that not all have, or of another kind, is left out', async () => {
  const a = await profileRows(someRows(50, 1));
  const b = await profileRows(someRows(50, 2));
  const { n, c } = b.columns;
  if (n === undefined || c === undefined) throw new Error('no columns');
  expect(Object.keys(mergeProfiles([a, { ...b, columns: { c } }]).columns)).toEqual(['c']);
  const merged = mergeProfiles([a, { ...b, columns: { n, c: n } }]);
  expect(Object.keys(merged.columns)).toEqual(['n']);
  expect(Object.keys({ ...merged.sample.numeric, ...merged.sample.categorical })).toEqual(['n']);
});

test('nothing can not be merged', () => {
  expect(() => mergeProfiles([])).toThrow(DataError);
});
