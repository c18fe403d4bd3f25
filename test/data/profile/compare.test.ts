import { expect, test } from 'vitest';
import { type ColumnComparison, compareProfiles } from '../../../data/profile/index.ts';
import { profileRows, type Row, someRows } from './rows.ts';

function find(comparisons: ColumnComparison[], name: string): ColumnComparison {
  const found = comparisons.find((comparison) => comparison.name === name);
  if (found === undefined) throw new Error(`no comparison of ${name}`);
  return found;
}

const few = (rows: Row[]): Row[] => rows.map((row) => ({ ...row, c: row.c && row.c.slice(0, 8) }));
const reference = await profileRows(few(someRows(4_000, 1)));

test('rows of the same kind have not drifted, in any column', async () => {
  const comparisons = compareProfiles(reference, await profileRows(few(someRows(4_000, 2))));
  expect(comparisons.map(({ name }) => name)).toEqual(['c', 'n']);
  for (const found of comparisons) {
    if (found.kind === 'impossible') throw new Error(found.reason);
    expect(found.comparison.drifted).toBe(false);
    expect(found.missing.current).toBeCloseTo(found.missing.reference ?? NaN, 1);
  }
});

test('a shifted number and a new category are told, by the exact counts of all rows', async () => {
  const rows = few(someRows(4_000, 3)).map((row) => ({ ...row, n: row.n === null ? null : row.n + 10 }));
  const current = await profileRows(rows.map((row, index) => (index % 4 === 0 ? { ...row, c: 'new' } : row)));
  const comparisons = compareProfiles(reference, current, { columns: ['n', 'c'] });
  expect(comparisons.map(({ name }) => name)).toEqual(['n', 'c']);
  const n = find(comparisons, 'n');
  const c = find(comparisons, 'c');
  if (n.kind !== 'numeric' || c.kind !== 'categorical') throw new Error('other kinds');
  expect(n.comparison.drifted).toBe(true);
  expect(c.comparison.drifted).toBe(true);
  expect(c.comparison.newShare).toBeCloseTo(1_000 / (current.columns['c']?.count ?? NaN), 12);
});

test('what is beyond the heavy hitters counts as one category, and what is new can not be told', async () => {
  const [a, b] = await Promise.all([profileRows(someRows(9_000, 4)), profileRows(someRows(9_000, 5))]);
  const c = find(compareProfiles(a, b), 'c');
  if (c.kind !== 'categorical') throw new Error('another kind');
  expect(c.comparison.nCurrent).toBe(b.columns['c']?.count);
  expect(c.comparison.newShare).toBeNaN();
  expect(c.comparison.drifted).toBe(false);
});

test('a column that can not be compared says why', async () => {
  const { n, c } = reference.columns;
  if (n === undefined || c === undefined) throw new Error('no columns');
  const empty = await profileRows(someRows(50, 6).map((row) => ({ ...row, n: null })));
  const reasons = [
    compareProfiles({ ...reference, columns: { c } }, reference, { columns: ['n'] }),
    compareProfiles(reference, { ...reference, columns: { c } }, { columns: ['n'] }),
    compareProfiles(reference, empty, { columns: ['n'] }),
    compareProfiles(empty, reference, { columns: ['n'] }),
    compareProfiles(reference, { ...reference, columns: { n: c, c } }, { columns: ['n'] }),
  ].map(([found]) => (found?.kind === 'impossible' ? found.reason : found));
  expect(reasons).toEqual([
    'the reference has no column "n"',
    'the current data has no column "n"',
    'column "n" has no values in the current data',
    'column "n" has no values in the reference',
    'column "n" was numeric in the reference and is categorical now',
  ]);
  expect(find(compareProfiles(reference, empty), 'n').missing.current).toBe(1);
});
