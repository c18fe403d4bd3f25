import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EvaluationConfig } from '../../../config/schema.ts';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import type { SeenRows } from '../../../data/evaluation/evaluate.ts';
import { readSlices, type Slices } from '../../../data/evaluation/slices.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';
import { spec } from './holdout-rows.ts';

let folder: string;
let holdout: string[];
const ROWS = 1_000;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-slices-'));
  const hash = await loadFeatureHash();
  const ids = ['home', 'search', 'profile'].map((name) => String(hash(name)));
  // Surfaces in the ratio 5 : 3 : 2, one row in 100 without.
  const rows = `
    SELECT 'u' || (i % 50) AS user_id, 'i' || (i % 10) AS item_id, 'r' || (i // 5) AS request_id, i % 2 AS label,
      CAST(i % 20 AS INTEGER) AS position, CASE WHEN i % 4 = 0 THEN 'a' ELSE 'b' END AS arm,
      CASE WHEN i % 100 = 99 THEN 0 WHEN i % 10 < 5 THEN ${String(ids[0])} WHEN i % 10 < 8 THEN ${String(ids[1])}
        ELSE ${String(ids[2])} END::BIGINT AS cSurface,
      CASE WHEN i % 8 = 7 THEN NULL ELSE CAST((i % 3) / 10.0 AS FLOAT) END AS tenth, CAST(i / 7 AS FLOAT) AS wide,
      i % 3 = 0 AS third, CASE WHEN i % 5 = 0 THEN 'other' WHEN i % 5 = 1 THEN 'missing' ELSE 'x' || (i % 7) END AS odd
    FROM range(${String(ROWS)}) AS t(i)`;
  holdout = await writeParquet({ a: `${rows} WHERE i < 400`, b: `${rows} WHERE i >= 400` });
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function writeParquet(files: Record<string, string>): Promise<string[]> {
  const duck = await openDuckDb();
  const paths: string[] = [];
  for (const [name, query] of Object.entries(files)) {
    paths.push(join(folder, `${name}.parquet`));
    await duck.run(`COPY (${query}) TO ${sqlText(paths.at(-1) ?? '')} (FORMAT parquet)`);
  }
  duck.close();
  return paths;
}

async function read(
  slices: EvaluationConfig['slices'],
  { max = 12, seen }: { max?: number; seen?: SeenRows } = {},
): Promise<Slices> {
  return readSlices({
    holdout,
    rows: ROWS,
    config: { slices, sliceMaxValues: max },
    features: spec('cSurface', 'tenth', 'wide'),
    seen,
    checkpoint: () => undefined,
  });
}

/** Rows of each value. */
async function countsOf(...given: Parameters<typeof read>): Promise<Record<string, number>> {
  const { parts, notes } = await read(...given);
  expect(notes).toEqual([]);
  const all = parts.flatMap(({ rows }) => [...rows]).sort((a, b) => a - b);
  expect(all).toEqual([...Array(ROWS).keys()]);
  return Object.fromEntries(parts.map(({ value, rows }) => [value, rows.length]));
}

const messageOf = async (slice: EvaluationConfig['slices'][number], seen?: SeenRows): Promise<string> => {
  const { parts, notes } = await read([slice, { name: 'arms', column: 'arm' }], seen && { seen });
  expect(parts.map(({ slice: name }) => name)).toEqual(['arms', 'arms']);
  expect(notes).toHaveLength(1);
  expect(notes[0]?.numbers).toEqual({ slice: slice.name });
  return `${notes[0]?.code ?? ''}: ${notes[0]?.message ?? ''}`;
};

describe('a slice by a column', () => {
  it('has the rows of each value, by their place in the files', async () => {
    const { parts } = await read([{ name: 'arms', column: 'arm' }]);
    expect(parts.map(({ slice, value }) => [slice, value])).toEqual([
      ['arms', 'a'],
      ['arms', 'b'],
    ]);
    expect([...(parts[0]?.rows ?? [])]).toEqual([...Array(ROWS).keys()].filter((row) => row % 4 === 0));
  });

  it('knows the ids of a categorical feature by the names that the config gives, in its order', async () => {
    const slice = { name: 'surface', column: 'cSurface', values: ['search', 'home', 'nowhere'] };
    expect(Object.entries(await countsOf([slice]))).toEqual([
      ['search', 300],
      ['home', 500],
      ['nowhere', 0],
      ['other', 190],
      ['missing', 10],
    ]);
  });

  it('prints ids that have no name as they are', async () => {
    const hash = await loadFeatureHash();
    const counts = await countsOf([{ name: 'surface', column: 'cSurface' }], { max: 2 });
    expect(counts).toEqual({ [String(hash('home'))]: 500, [String(hash('search'))]: 300, other: 190, missing: 10 });
  });

  it('keeps the most frequent values and puts the others together', async () => {
    expect(await countsOf([{ name: 'users', column: 'user_id' }], { max: 3 })).toEqual({
      ...{ u0: 20, u1: 20, u10: 20 },
      other: 940,
    });
  });

  it('does not confuse values with what it calls the rest', async () => {
    const counts = await countsOf([{ name: 'odd', column: 'odd' }], { max: 3 });
    expect(counts['missing']).toBe(200);
    expect(counts['other']).toBeGreaterThan(200);
    expect(Object.keys(counts)).toHaveLength(5 - 1);
  });

  it('has a number with few values by value, as it was written, and booleans', async () => {
    const counts = await countsOf([{ name: 'tenth', column: 'tenth' }]);
    expect(Object.keys(counts)).toEqual(['0', '0.1', '0.2', 'missing']);
    expect(counts['missing']).toBe(125);
    const asked = await countsOf([{ name: 'tenth', column: 'tenth', values: [0.1] }]);
    expect(asked).toEqual({ '0.1': counts['0.1'], other: (counts['0'] ?? 0) + (counts['0.2'] ?? 0), missing: 125 });
    expect(await countsOf([{ name: 'third', column: 'third', values: [true, false] }])).toEqual({
      true: 334,
      false: 666,
    });
  });

  it('has a number with many values by quartiles, named by their bounds', async () => {
    expect(await countsOf([{ name: 'position', column: 'position' }])).toEqual({
      ...{ '<= 4': 250, '(4, 9]': 250, '(9, 14]': 250, '> 14': 250 },
    });
    const wide = await countsOf([{ name: 'wide', column: 'wide' }]);
    expect(Object.keys(wide)).toEqual(['<= 35.6', '(35.6, 71.3]', '(71.3, 107]', '> 107']);
    for (const rows of Object.values(wide)) expect(Math.abs(rows - 250)).toBeLessThanOrEqual(2);
  });

  it('is a note when there is no such column', async () => {
    expect(await messageOf({ name: 'where', column: 'country' })).toBe(
      'evaluation.slice.column: slice where is left out: the snapshot has no column country',
    );
  });
});

describe('a slice by an expression', () => {
  it.each<[string, Record<string, number>]>([
    ['position > 14', { false: 750, true: 250 }],
    ['floor(position / 10)', { 0: 500, 1: 500 }],
    ["CASE WHEN arm = 'a' THEN 'first' END", { first: 250, missing: 750 }],
    ["arm IN ('a') AND position BETWEEN 0 AND 3 -- the top", { false: 950, true: 50 }],
    ['list_sum(list_transform([position], lambda p: p % 2))', { 0: 500, 1: 500 }],
    ["list_sum([position, 1]) > 10 OR arm LIKE 'c%'", { false: 500, true: 500 }],
    ['try_cast(substring(user_id, 2) AS INTEGER) % 2', { 0: 500, 1: 500 }],
    ['position / 0', { missing: ROWS }],
    [
      "CASE WHEN arm = 'a' THEN 'top' || chr(0) || 'ic' || chr(27) || chr(10) ELSE chr(0) END",
      { topic: 250, missing: 750 },
    ],
  ])('%s', async (expression, expected) => {
    expect(await countsOf([{ name: 'made', expression }])).toEqual(expected);
  });

  it.each<[string, RegExp]>([
    ['duration_ms > 60000', /Referenced column "duration_ms" not found/],
    ['position >', /syntax error/],
    ['CAST(arm AS INTEGER)', /Could not convert string '.' to INT32/],
    ["(SELECT count(*) FROM read_csv('/etc/passwd'))", /subquery is not allowed/],
    ["EXISTS (FROM read_text('/etc/passwd'))", /subquery is not allowed/],
    ['count(*)', /function count_star is not allowed/],
    ['avg(position) OVER ()', /window is not allowed/],
    ['unnest([1, 2])', /function unnest is not allowed/],
    ['random()', /function random is not allowed/],
    ['now()', /function now is not allowed/],
    ['current_localtimestamp()', /function current_localtimestamp is not allowed/],
    ['current_date', /current_date is not allowed/],
    [
      "len(list_transform([1], current_date -> 1)) > 0 AND current_date > DATE '2026-01-01'",
      /current_date is not allowed/,
    ],
    ["current_setting('temp_directory')", /function current_setting is not allowed/],
    ["getenv('HOME')", /Scalar Function with name getenv does not exist/],
    ["write_log('x')", /function write_log is not allowed/],
    ['pg_sleep(1)', /function pg_sleep is not allowed/],
    ['position), (arm', /more than one expression is not allowed/],
    ["position) FROM read_csv('/etc/passwd') --", /syntax error/],
    ["position) FROM read_csv('/etc/passwd') WHERE (true", /syntax error/],
    ['1) UNION ALL SELECT (2', /more than one expression is not allowed/],
    ["1) FROM holdout; COPY holdout TO '/tmp/stolen.csv'; SELECT (1", /syntax error|Only SELECT|not allowed/],
    ['*', /star is not allowed/],
    ['?', /parameter is not allowed/],
  ])('is a note with the reason, and the others stand: %s', async (expression, why) => {
    const message = await messageOf({ name: 'made', expression });
    expect(message).toMatch(
      /^evaluation\.slice\.expression: slice made is left out: its expression ".+" can not be used: /,
    );
    expect(message).toMatch(why);
  });

  it('is shortened in its note', async () => {
    const message = await messageOf({ name: 'made', expression: `position > ${'1 + '.repeat(100)} nothing` });
    expect(message).toMatch(/"position > 1 \+ .+\.\.\." can not be used: .*"nothing" not found/);
    expect(message.length).toBeLessThan(600);
  });

  it('can neither read nor write files, whatever it says', async () => {
    const secret = join(folder, 'secret.csv');
    await writeFile(secret, 'a\n1\n');
    for (const expression of [
      `(SELECT a FROM read_csv('${secret}'))`,
      `(SELECT content FROM read_text('${secret}'))`,
      `(SELECT * FROM '${secret}')`,
      `query_table('${secret}')`,
    ]) {
      expect(await messageOf({ name: 'made', expression })).toMatch(/not allowed|does not exist/);
    }
    expect(await readFile(secret, 'utf8')).toBe('a\n1\n');
  });
});

describe('a slice by novelty', () => {
  const user = { name: 'users', novelty: 'user' } as const;

  it('has as new what is in none of the files that were trained on', async () => {
    const paths = await writeParquet({
      train: `SELECT 'u' || (i % 30) AS user_id, 'i7' AS item_id FROM range(5000) AS t(i)`,
      replay: `SELECT 'u49' AS user_id, 'i8' AS item_id, 1 AS another`,
    });
    const seen = { kind: 'files', paths } as const;
    const { parts, notes } = await read([user, { name: 'items', novelty: 'item' }], { seen });
    expect(notes).toEqual([]);
    expect(parts.map(({ slice, value, rows }) => [slice, value, rows.length])).toEqual([
      ['users', 'known', 620],
      ['users', 'new', 380],
      ['items', 'known', 200],
      ['items', 'new', 800],
    ]);
    const known = new Set([...Array(30).keys(), 49]);
    expect([...(parts[0]?.rows ?? [])]).toEqual([...Array(ROWS).keys()].filter((row) => known.has(row % 50)));
    expect(await countsOf([user], { seen: { kind: 'files', paths: [] } })).toEqual({ new: ROWS });
  });

  it('is a note when the rows that were trained on are not all there', async () => {
    expect(await messageOf(user, { kind: 'lacking', why: 'artifact abc is missing' })).toBe(
      'evaluation.slice.novelty: slice users is left out: artifact abc is missing',
    );
    expect(await messageOf(user)).toMatch(/what was trained on is not known/);
    const damaged = join(folder, 'damaged.parquet');
    await writeFile(damaged, 'damaged');
    expect(await messageOf(user, { kind: 'files', paths: [damaged] })).toMatch(/can not be read: .*damaged\.parquet/);
  });
});
