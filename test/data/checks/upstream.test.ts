import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CheckContext, Finding } from '../../../data/checks/check.ts';
import { checkCardinality } from '../../../data/checks/cardinality.ts';
import { checkCategories } from '../../../data/checks/categories.ts';
import { checkConstant } from '../../../data/checks/constant.ts';
import { checkMissing } from '../../../data/checks/missing.ts';
import { checkOutliers } from '../../../data/checks/outliers.ts';
import { checkUnit } from '../../../data/checks/unit.ts';
import type { Duck } from '../../../data/duckdb.ts';
import { contextOf, lineOf, manifestOf, openRig, profileOf, referenceOf, type Values } from './comparison-rig.ts';

const CHECKS = {
  unit: checkUnit,
  constant: checkConstant,
  missing: checkMissing,
  outliers: checkOutliers,
  cardinality: checkCardinality,
  categories: checkCategories,
};
type Code = keyof typeof CHECKS;

const config = lineOf([
  { kind: 'categorical', name: 'topic' },
  { kind: 'categorical', name: 'user' },
  { kind: 'numeric', name: 'length', transform: 'log1p' },
  { kind: 'numeric', name: 'age' },
  { kind: 'numeric', name: 'fans' },
]);

const USUAL: Values = {
  topic: '1 + floor(12 * pow(u(i, 1), 2))',
  user: '1000 + floor(3000 * pow(u(i, 2), 3))',
  length: 'CASE WHEN u(i, 3) > 0.02 THEN exp(10 + 0.9 * n(i, 4)) END',
  age: '14 + floor(6 * u(i, 5))',
  fans: 'floor(exp(4 + 2 * n(i, 6)))',
};
/** The share of rows by a draw of its own. */
const some = (share: number, changed: string, usual: string) =>
  `CASE WHEN u(i, 9) < ${String(share)} THEN ${changed} ELSE ${usual} END`;

let db: Duck;
beforeAll(async () => {
  db = await openRig();
});
afterAll(() => {
  db.close();
});

const made = new Map<string, ReturnType<typeof profileOf>>();
function profileOnce(values: Values, size: { rows: number; from: number }): ReturnType<typeof profileOf> {
  const key = JSON.stringify([values, size]);
  const profile = made.get(key) ?? profileOf(db, config, { values, ...size });
  made.set(key, profile);
  return profile;
}

const DAY = 86_400_000;

/** Against the same values in as many other rows, if not said otherwise. */
async function find(
  check: Code,
  input: {
    now: Values;
    before?: Values;
    rows?: number;
    rowsBefore?: number;
    history?: false;
    change?: Partial<CheckContext>;
  },
): Promise<Finding> {
  const { now, before = {}, rows = 1_500, rowsBefore = 1_500 } = input;
  const fresh = await profileOnce({ ...USUAL, ...now }, { rows, from: 1_000_000 });
  const earlier = await profileOnce({ ...USUAL, ...before }, { rows: rowsBefore, from: 0 });
  const season = referenceOf(earlier, manifestOf(config), 2 * DAY);
  // Nothing changed in the season before, so what changed since is unusual.
  const earlierSeason = input.history === false ? null : { ...season, snapshotIds: ['long before'], toMs: DAY };
  const references = { training: null, season, earlierSeason, week: null, recent: [] };
  return CHECKS[check](contextOf({ config, profile: fresh, references, ...input.change }));
}

test.each(Object.keys(CHECKS) as Code[])('%s: the same kind of rows pass, however many', async (check) => {
  for (const [rows, rowsBefore] of [
    [300, 300],
    [1_500, 12_000],
    [12_000, 300],
  ] as const) {
    const { status, message } = await find(check, { now: {}, rows, rowsBefore });
    expect({ status, message }).toMatchObject({ status: 'pass' });
  }
});

test.each(Object.keys(CHECKS) as Code[])('%s: without references there is nothing to compare with', async (check) => {
  const references = { training: null, season: null, earlierSeason: null, week: null, recent: [] };
  const finding = await find(check, { now: {}, change: { references } });
  expect(finding.status).toBe('notApplicable');
  expect(finding.message).toContain('no earlier snapshot');
});

describe('what growing traffic may look like', () => {
  const suffixed = { check: 'cardinality', now: { user: 'i' } } as const;

  test('warns while nobody knows whether it is usual', async () => {
    const finding = await find(suffixed.check, { now: suffixed.now, history: false });
    expect(finding.status).toBe('warn');
    expect(finding.message).toContain('whether that is usual here is not known yet');
  });

  test('blocks when earlier snapshots did not change so, and passes when they did', async () => {
    expect((await find(suffixed.check, { now: suffixed.now })).status).toBe('block');
    const season = referenceOf(await profileOnce(USUAL, { rows: 1_500, from: 0 }), manifestOf(config), DAY);
    const changed = await profileOnce({ ...USUAL, ...suffixed.now }, { rows: 1_500, from: 500_000 });
    const recent = [{ ...referenceOf(changed, manifestOf(config), 2 * DAY), snapshotIds: ['later'] }];
    const references = { training: null, season, earlierSeason: null, week: null, recent };
    const finding = await find(suffixed.check, { now: suffixed.now, change: { references } });
    expect(finding.status).toBe('pass');
    expect(finding.message).toContain('as between earlier snapshots');
  });
});

test.each(Object.keys(CHECKS) as Code[])('%s: no rows block', async (check) => {
  const finding = await find(check, { now: {}, change: { profile: null } });
  expect(finding).toMatchObject({ status: 'block', message: 'there are no fresh rows to look at' });
});

describe('each check', () => {
  type Case = {
    what: string;
    check: Code;
    now: Values;
    before?: Values;
    rows?: number;
    status: Finding['status'];
    says: RegExp;
  };
  const cases: Case[] = [
    {
      what: 'seconds for milliseconds',
      check: 'unit',
      now: { length: `(${USUAL['length']}) / 1000` },
      status: 'block',
      says: /"length" has a median of [\d.]+, \d+ before: its values are 0\.001\d* times what they were, most likely thousands of the unit before \(seconds/,
    },
    {
      what: 'cents for euros',
      check: 'unit',
      now: { age: `(${USUAL['age']}) * 100` },
      status: 'block',
      says: /"age" .* its values are 100 times what they were, most likely hundredths of the unit before \(cents/,
    },
    {
      what: 'milliseconds in thin windows',
      check: 'unit',
      now: { fans: `(${USUAL['fans']}) * 1000` },
      rows: 300,
      status: 'block',
      says: /"fans" .* times what they were, most likely thousandths/,
    },
    {
      what: 'a third of the rows in seconds',
      check: 'unit',
      now: { length: some(0.3, `(${USUAL['length']}) / 1000`, USUAL['length'] ?? '') },
      status: 'block',
      says: /"length" .* 0\.(2[7-9]|3[0-3]) of its values are 0\.001 times what they were/,
    },
    {
      what: 'an age that grew by a day',
      check: 'unit',
      now: { age: `1 + (${USUAL['age']})` },
      status: 'pass',
      says: /"age" has a median of 1\d, 1\d before/,
    },
    {
      what: 'an age in hours that grew by a day',
      check: 'unit',
      now: { age: `24 * (1 + (${USUAL['age']}))` },
      status: 'block',
      says: /"age" .* most likely hours for days/,
    },
    {
      what: 'a drift that is no factor',
      check: 'unit',
      now: { length: 'exp(10.8 + 0.5 * n(i, 4))' },
      status: 'pass',
      says: /"length" has a median/,
    },
    {
      what: 'one value in every row',
      check: 'constant',
      now: { length: '3000' },
      status: 'block',
      says: /"length" has one value \(3000\) in 1\.00 of its rows, its most frequent had 0\.0\d* before/,
    },
    {
      what: 'one category in every row',
      check: 'constant',
      now: { topic: '3' },
      status: 'block',
      says: /"topic" has one value \(id 3\) in 1\.00 of its rows/,
    },
    {
      what: 'one value in nearly every row of a thin window',
      check: 'constant',
      now: { user: some(0.97, '1001', USUAL['user'] ?? '') },
      rows: 300,
      status: 'block',
      says: /"user" has one value \(id 1001\) in 0\.9\d of its rows/,
    },
    {
      what: 'a default in 40 % of the rows',
      check: 'constant',
      now: { topic: some(0.4, '12', USUAL['topic'] ?? '') },
      status: 'block',
      says: /"topic" has one value \(id 12\) in 0\.4\d of its rows, 0\.0\d* before/,
    },
    {
      what: 'what was constant before',
      check: 'constant',
      now: { age: '7' },
      before: { age: '7' },
      status: 'pass',
      says: /largest change of 5 features/,
    },
    {
      what: 'the most frequent age moving on',
      check: 'constant',
      now: { age: some(0.5, '18', USUAL['age'] ?? '') },
      before: { age: some(0.5, '17', USUAL['age'] ?? '') },
      status: 'pass',
      says: /largest change/,
    },
    {
      what: '60 % of a category missing',
      check: 'missing',
      now: { topic: some(0.6, 'NULL', USUAL['topic'] ?? '') },
      status: 'block',
      says: /compared with the same hours a day before, "topic" is missing in 0\.\d\d of the rows, 0 ?.*before; a rise of at most 0\.10/,
    },
    {
      what: '5 % of a number missing',
      check: 'missing',
      now: { age: some(0.06, 'NULL', USUAL['age'] ?? '') },
      status: 'warn',
      says: /"age" is missing in 0\.0\d+ of the rows/,
    },
    {
      what: 'a feature that nobody sends any more',
      check: 'missing',
      now: { user: 'NULL' },
      rows: 300,
      status: 'block',
      says: /"user" is missing in 1\.00 of the rows/,
    },
    {
      what: 'missing values that were filled in',
      check: 'missing',
      now: {},
      before: { age: some(0.5, 'NULL', USUAL['age'] ?? '') },
      status: 'warn',
      says: /"age" is missing in 0.* of the rows, 0\.[45]\d before/,
    },
    {
      what: 'zeros for missing values',
      check: 'missing',
      now: { length: some(0.3, '0', USUAL['length'] ?? '') },
      status: 'block',
      says: /"length" is 0 in 0\.\d\d of its values/,
    },
    {
      what: 'a sentinel in 3 % of the rows',
      check: 'outliers',
      now: { age: some(0.03, '-1', USUAL['age'] ?? '') },
      status: 'block',
      says: /"age" goes up to 19 and down to -1: .* and negative values are new/,
    },
    {
      what: 'a single value that flattens all others',
      check: 'outliers',
      now: { age: `CASE WHEN i = 1000007 THEN 1e30 ELSE ${USUAL['age'] ?? ''} END` },
      status: 'block',
      says: /"age" goes up to 1e\+30 and down to 14/,
    },
    {
      what: 'a far value in a feature that was constant',
      check: 'outliers',
      now: { age: 'CASE WHEN i = 1000007 THEN 1e30 ELSE 5 END' },
      before: { age: '5' },
      status: 'warn',
      says: /"age" goes up to 1e\+30 and down to 5: .*, nearly all were one value before/,
    },
    {
      what: 'a single value that the logarithm tames',
      check: 'outliers',
      now: { length: `CASE WHEN i = 1000007 THEN 1e30 ELSE ${USUAL['length'] ?? ''} END` },
      status: 'warn',
      says: /"length" goes up to 1e\+30/,
    },
    {
      what: 'the far end of a heavy tail',
      check: 'outliers',
      now: { fans: `CASE WHEN i = 1000007 THEN 200000 ELSE ${USUAL['fans'] ?? ''} END` },
      status: 'pass',
      says: /largest change of 3 features/,
    },
    {
      what: 'outliers that one in the reference could hide',
      check: 'outliers',
      now: { age: some(0.03, '9e29', USUAL['age'] ?? '') },
      before: { age: `CASE WHEN i = 7 THEN 1e30 ELSE ${USUAL['age'] ?? ''} END` },
      rows: 300,
      status: 'block',
      says: /"age" goes up to 9e\+29/,
    },
    {
      what: 'an outlier in the reference alone',
      check: 'outliers',
      now: {},
      before: { age: `CASE WHEN i = 7 THEN 1e30 ELSE ${USUAL['age'] ?? ''} END` },
      status: 'pass',
      says: /largest change/,
    },
    {
      what: 'a suffix for each row',
      check: 'cardinality',
      now: { user: 'i' },
      status: 'block',
      says: /"user" has 1,500 distinct values in 1,500 rows, \d+ before/,
    },
    {
      what: 'a suffix for each row of an enumeration',
      check: 'cardinality',
      now: { topic: 'floor(12 * u(i, 1)) * 100 + floor(100 * u(i, 7))' },
      status: 'block',
      says: /"topic" has \d+ distinct values in 1,\d+ rows, 12 before/,
    },
    {
      what: 'ids that were cut',
      check: 'cardinality',
      now: { user: '1 + floor(40 * u(i, 2))' },
      status: 'block',
      says: /"user" has 40 distinct values/,
    },
    {
      what: 'numbers that were rounded',
      check: 'cardinality',
      now: { length: 'round(exp(10 + 0.9 * n(i, 4)) / 10000)' },
      status: 'block',
      says: /"length" has \d+ distinct values/,
    },
    {
      what: 'a new category in 30 % of the rows',
      check: 'categories',
      now: { topic: some(0.3, '99', USUAL['topic'] ?? '') },
      status: 'block',
      says: /"topic" has a value not seen before in 0\.\d\d of its rows, 0.* expected by chance; one of them alone in 0\.[23]\d/,
    },
    {
      what: 'new categories in 7 % of the rows',
      check: 'categories',
      now: { topic: some(0.08, '90 + floor(9 * u(i, 8))', USUAL['topic'] ?? '') },
      status: 'warn',
      says: /"topic" has a value not seen before in 0\.\d+ of its rows/,
    },
    {
      what: 'categories written in another way',
      check: 'categories',
      now: { topic: `50 + (${USUAL['topic']})` },
      rows: 300,
      status: 'block',
      says: /"topic" has a value not seen before in 1\.00/,
    },
    {
      what: 'ids encoded anew',
      check: 'categories',
      now: { user: `1000000 + (${USUAL['user']})` },
      status: 'block',
      says: /"user" has a value not seen before in 1\.00/,
    },
    {
      what: 'many new users',
      check: 'categories',
      now: { user: some(0.4, '5000 + floor(3000 * u(i, 8))', USUAL['user'] ?? '') },
      status: 'pass',
      says: /largest change of 2 features/,
    },
    {
      what: 'one new id that floods',
      check: 'categories',
      now: { user: some(0.2, '777777', USUAL['user'] ?? '') },
      status: 'block',
      says: /"user" .* one of them alone in 0\.\d\d/,
    },
  ];

  test.each(cases)('$check: $what', async ({ check, now, before = {}, rows = 1_500, status, says }) => {
    const finding = await find(check, { now, before, rows, rowsBefore: rows });
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });
});
