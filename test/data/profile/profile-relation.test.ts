import { describe, expect, test } from 'vitest';
import { openDuckDb } from '../../../data/duckdb.ts';
import {
  type CategoricalProfile,
  categoricalSample,
  categoryCounts,
  distinctOf,
  missingShare,
  type NumericProfile,
  numericSample,
  type Profile,
  type ProfileColumn,
  profileColumns,
  profileRelation,
  quantile,
  sampleRows,
  serializeProfile,
  shareBelow,
  variance,
} from '../../../data/profile/index.ts';
import { profile, profileRows, type Row, sequence, someRows } from './rows.ts';

function numeric({ columns }: Profile): NumericProfile {
  if (columns['n']?.kind !== 'numeric') throw new Error('no numeric column');
  return columns['n'];
}

function categorical({ columns }: Profile): CategoricalProfile {
  if (columns['c']?.kind !== 'categorical') throw new Error('no categorical column');
  return columns['c'];
}

function numbers(values: (number | null)[]): Row[] {
  return values.map((n, index) => ({ id: `row-${String(index)}`, time: index, n, c: null }));
}

function plainly(values: number[]): { mean: number; m2: number } {
  const shifted = values.map((value) => value - (values[0] ?? 0));
  const mean = shifted.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean: mean + (values[0] ?? 0), m2: shifted.reduce((sum, value) => sum + (value - mean) ** 2, 0) };
}

describe('a numeric column', () => {
  const random = sequence(3);
  const uniform = Array.from({ length: 2_000 }, random);
  test.each([
    { what: 'ties, zeros and negative numbers', values: [0, -1.5, 2, 2, 2, 0, 7.25] },
    {
      what: 'Unix ms, an offset 1e9 times the spread',
      values: uniform.map((u) => 1_650_000_000_000 + Math.round(2_000 * u)),
    },
    { what: 'one value', values: [1e-3] },
    { what: 'a constant', values: [0.1, 0.1, 0.1] },
    { what: 'an outlier', values: [...uniform, 1e12] },
    { what: 'tiny numbers', values: uniform.map((u) => u * 1e-300) },
    { what: 'the largest numbers', values: [6e307, -6e307, 1e307] },
    { what: 'a label', values: uniform.map((u) => Number(u < 0.44)) },
  ])('has the exact figures of $what', async ({ values }) => {
    const column = numeric(await profileRows(numbers(values), { sampleSize: 100 }));
    expect(column).toMatchObject({
      count: values.length,
      missing: 0,
      zeros: values.filter((value) => value === 0).length,
      min: Math.min(...values),
      max: Math.max(...values),
    });
    const { mean, m2 } = plainly(values);
    const unit = Math.max(...values.map(Math.abs));
    expect((column.mean ?? NaN) / unit).toBeCloseTo(mean / unit, 14);
    if (Number.isFinite(m2) && m2 > 0) expect((column.m2 ?? NaN) / m2).toBeCloseTo(1, 9);
    else expect(column.m2).toBe(m2 > 0 ? Number.MAX_VALUE : 0);
  });

  test('counts NULL, NaN and infinite values as missing', async () => {
    const column = numeric(await profileRows(numbers([1, null, NaN, Infinity, -Infinity, 3])));
    expect(column).toMatchObject({ count: 2, missing: 4, zeros: 0, min: 1, max: 3, mean: 2, m2: 2 });
    expect(variance(column)).toBe(1);
    expect(missingShare(column)).toBeCloseTo(4 / 6);
    expect(distinctOf(column)).toBe(2);
  });

  test('without values has none to tell', async () => {
    const found = await profileRows(numbers([null, NaN]));
    expect(numeric(found)).toMatchObject({ count: 0, missing: 2, min: null, max: null, mean: null, m2: null });
    expect(quantile(found, 'n', 0.5)).toBeNull();
    expect(shareBelow(found, 'n', 0)).toBeNull();
    expect(distinctOf(numeric(found))).toBe(0);
    expect(variance(numeric(found))).toBeNull();
  });

  test('gives quantiles and shares of its sample, which is all rows when they fit', async () => {
    const found = await profileRows(numbers([5, 1, 3, null, 3, 9]));
    expect([...numericSample(found, 'n')]).toEqual([1, 3, 3, 5, 9]);
    expect([0, 0.2, 0.21, 0.5, 0.8, 1].map((p) => quantile(found, 'n', p))).toEqual([1, 1, 3, 3, 5, 9]);
    expect([1, 3, 3.5, 9, 9.5].map((x) => shareBelow(found, 'n', x))).toEqual([0, 0.2, 0.6, 0.8, 1]);
    expect(() => quantile(found, 'n', 50)).toThrow(/a share from 0 to 1/);
    expect(() => quantile(found, 'm', 0.5)).toThrow('no numeric column "m"; it has n');
  });
});

describe('a categorical column', () => {
  const of = (values: (string | null)[]): Row[] =>
    values.map((c, index) => ({ id: `row-${String(index)}`, time: index, n: null, c }));

  test('has exact counts, most frequent first, ties in UTF-8 order', async () => {
    const found = await profileRows(of(['b', 'a', null, 'ä', '😀', '\uffee', 'b', 'a', '']));
    expect(categorical(found)).toMatchObject({ count: 8, missing: 1, heavyError: 0 });
    expect(categoryCounts(found, 'c').map(({ value, count }) => [value, count])).toEqual([
      ['a', 2],
      ['b', 2],
      ['', 1],
      ['ä', 1],
      ['\uffee', 1],
      ['😀', 1],
    ]);
    expect(categoricalSample(found, 'c').sort()).toEqual(['', 'a', 'a', 'b', 'b', 'ä', '\uffee', '😀'].sort());
    expect(distinctOf(categorical(found))).toBe(6);
  });

  test('keeps the thousand most frequent of many values, and says what the others stay below', async () => {
    const db = await openDuckDb();
    await db.run(`CREATE VIEW rows AS SELECT v * 1000 + i AS id, i AS time, 0 AS n, 'v' || v AS c
      FROM range(1, 1301) AS values(v), range(v // 10 + 1) AS repeats(i)`);
    const column = categorical(await profile(db));
    db.close();
    expect(column.heavy).toHaveLength(1_000);
    expect(column.heavy[0]).toEqual(['v1300', 131]);
    // 991 values have more than 31 rows; of v300 to v309, which have 31, the first nine take the places that are left.
    expect(column.heavy.at(-1)).toEqual(['v308', 31]);
    expect(column.heavyError).toBe(31);
  });

  test('keeps the most frequent of more values than are counted at a time', async () => {
    const db = await openDuckDb({ threads: 2 });
    await db.run(`CREATE VIEW rows AS SELECT i AS id, i AS time, i % 1100000 AS c FROM range(1100700) AS t(i)`);
    const column = categorical(await profile(db, 10, [{ name: 'c', kind: 'categorical' }]));
    db.close();
    const twice = Array.from({ length: 700 }, (_, value) => String(value)).sort();
    expect(column.heavy.slice(0, 700)).toEqual(twice.map((value) => [value, 2]));
    // Once each, in the order of texts.
    expect(column.heavy.slice(700, 703)).toEqual([
      ['1000', 1],
      ['10000', 1],
      ['100000', 1],
    ]);
    expect(column.heavyError).toBe(1);
  });
});

test('the distinct sketch is right to a few percent from tens to hundreds of thousands', async () => {
  const db = await openDuckDb({ threads: 2 });
  const counts = [1, 2, 30, 1_000, 5_000, 20_000, 300_000];
  const columns = counts.flatMap((n): ProfileColumn[] => [
    { name: `number ${String(n)}`, kind: 'numeric', sql: `id % ${String(n)} + 0.5` },
    { name: `text ${String(n)}`, kind: 'categorical', sql: `'text of value ' || id % ${String(n)}` },
  ]);
  await db.run('CREATE VIEW rows AS SELECT i AS id, i AS time FROM range(300000) AS t(i)');
  const found = await profile(db, 100, columns);
  db.close();
  for (const [name, column] of Object.entries(found.columns)) {
    const distinct = Number(name.split(' ')[1]);
    expect.soft(Math.abs(distinctOf(column) / distinct - 1), name).toBeLessThan(0.05);
  }
}, 30_000);

describe('the sample', () => {
  test('is uniform: of 200 draws each row is in about its share of them', async () => {
    const hits = new Float64Array(200);
    const db = await openDuckDb();
    for (let draw = 0; draw < 200; draw++) {
      await db.run(
        `CREATE OR REPLACE VIEW rows AS SELECT '${String(draw)}-' || i AS id, i AS time, i AS n FROM range(200) AS t(i)`,
      );
      const found = await profile(db, 50, [{ name: 'n', kind: 'numeric' }]);
      for (const index of numericSample(found, 'n')) hits[index] = (hits[index] ?? 0) + 1;
    }
    db.close();
    expect(hits.reduce((sum, n) => sum + n, 0)).toBe(200 * 50);
    // Binomial with n = 200, p = 1/4 (variance 37.5): a chi-square with 199 degrees of freedom, whose 0.1 % quantiles these are.
    const statistic = hits.reduce((sum, n) => sum + (n - 50) ** 2 / 37.5, 0);
    expect(statistic).toBeGreaterThan(142);
    expect(statistic).toBeLessThan(266);
  }, 60_000);

  test('ranks are right to 1 % in 95 of 100 cases with 10,000 rows', async () => {
    const db = await openDuckDb({ threads: 2 });
    let right = 0;
    for (let draw = 0; draw < 4; draw++) {
      await db.run(
        `CREATE OR REPLACE VIEW rows AS SELECT '${String(draw)}-' || i AS id, i AS time, i + 1 AS n, NULL AS c FROM range(300000) AS t(i)`,
      );
      const found = await profile(db, 10_000);
      for (let p = 1; p < 100; p++)
        if (Math.abs((quantile(found, 'n', p / 100) ?? NaN) / 300_000 - p / 100) <= 0.01) right++;
    }
    db.close();
    expect(right / (4 * 99)).toBeGreaterThanOrEqual(0.95);
  }, 30_000);

  test('keeps rows together', async () => {
    const rows = someRows(3_000).map((row, index) => ({ ...row, n: index, c: `c${String(index)}` }));
    const found = await profileRows(rows, { sampleSize: 500 });
    const { n } = sampleRows(found, ['n']);
    expect(n).toHaveLength(500);
    expect(found.sample.categorical['c']).toEqual([...n].map((value) => `c${String(value)}`));
    expect(() => sampleRows(found, ['c'])).toThrow('no numeric column "c"');
  });

  test('is full even when a few keys repeat over and over', async () => {
    const rows = someRows(5_000).map((row, index) => ({ ...row, id: `user-${String(index % 7)}` }));
    const found = await profileRows(rows, { sampleSize: 1_000 });
    expect(found.sample.hashes).toHaveLength(1_000);
    expect(serializeProfile(found)).toEqual(serializeProfile(await profileRows(rows.reverse(), { sampleSize: 1_000 })));
  });
});

test('the same rows give the same bytes in any order and on one or two threads', async () => {
  const random = sequence(17);
  const rows = someRows(20_000);
  const expected = serializeProfile(await profileRows(rows, { threads: 1 }));
  const shuffled = rows.map((row) => ({ row, place: random() })).sort((a, b) => a.place - b.place);
  for (const threads of [1, 2]) {
    const found = serializeProfile(
      await profileRows(
        shuffled.map(({ row }) => row),
        { threads },
      ),
    );
    expect(Buffer.compare(found, expected)).toBe(0);
  }
});

test('no rows have a profile too', async () => {
  const found = await profileRows([]);
  expect(found).toMatchObject({ rows: 0, fromMs: null, toMs: null });
  expect(missingShare(numeric(found))).toBeNull();
  expect(categorical(found)).toMatchObject({ count: 0, heavy: [], heavyError: 0 });
});

test("a snapshot's columns are profiled with ids of 0 as missing", async () => {
  const db = await openDuckDb();
  await db.run(`CREATE TABLE snapshot AS SELECT * FROM (VALUES
      ('a', 'u1', 'i1', 1650000000000, 1650000000500, 1, 3, 'stable', 0.9, 0.25, 1, 7, 0.5),
      ('b', 'u1', 'i2', 1650003600000, 1650003600700, 2, 3, 'canary', 0.9, 0.75, 0, 0, NULL))
    AS t(impression_id, user_id, item_id, event_time_ms, arrived_at_ms, position, version, arm, propensity, score, label, topic, age)`);
  const columns = profileColumns([
    { kind: 'categorical', name: 'topic', from: 'candidate', buckets: 10, dim: 2 },
    { kind: 'numeric', name: 'age', from: 'candidate', transform: 'none' },
  ]);
  const found = await profileRelation(db, {
    relation: '(SELECT * FROM snapshot)',
    columns,
    keyColumn: 'impression_id',
    timeColumn: 'event_time_ms',
    sampleSize: 10,
  });
  db.close();
  expect(found).toMatchObject({ rows: 2, fromMs: 1_650_000_000_000, toMs: 1_650_003_600_000 });
  expect(found.columns).toMatchObject({
    topic: { kind: 'categorical', missing: 1, heavy: [['7', 1]] },
    age: { kind: 'numeric', missing: 1, mean: 0.5 },
    arrival_lag_ms: { min: 500, max: 700 },
    hour_of_day: {
      heavy: [
        ['5', 1],
        ['6', 1],
      ],
    },
    user_id: { heavy: [['u1', 2]] },
    label: { mean: 0.5 },
    version: { heavy: [['3', 2]] },
  });
  expect(Object.keys(found.columns)).toHaveLength(12);
});

test('a column given twice is refused', async () => {
  const db = await openDuckDb();
  const twice = profile(db, 10, [
    { name: 'n', kind: 'numeric' },
    { name: 'n', kind: 'categorical' },
  ]);
  await expect(twice).rejects.toThrow('column "n" is to be profiled twice');
  db.close();
});
