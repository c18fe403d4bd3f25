import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { writeLabelledRows } from '../../bench/freshness/labelled-rows.ts';
import { figuresOf, reportSchema } from '../../bench/freshness/report.ts';
import { parseLineConfig } from '../../config/load.ts';
import { openDuckDb, sqlText, type Duck } from '../../data/duckdb.ts';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';
import { ensurePythonEnv } from '../../scripts/stack/python-env.ts';

const HOUR_MS = 3_600_000;
const START_MS = 1_750_000_000_000;

/** A day of a feed whose readers change their minds: after 12 h they like what they did not, and the reverse. */
const DRIFTING = `
  SELECT 'u' || hash(i, 1) % 60 AS reader, hash(i, 2) % 30 AS story, hash(hash(i, 2) % 30) % 4 AS section,
    ${String(START_MS)} + i * 24_000 AS shown_ms, 10.0 + hash(i, 4) % 50 AS seconds,
    CAST((hash(i, 3) % 1000) / 1000.0 < CASE WHEN (hash(story, 5) % 2 = 0) = (i < 1800) THEN 0.75 ELSE 0.2 END AS INTEGER) AS clicked
  FROM range(3600) AS rows(i)`;

const FEATURES = `
features:
  - { kind: categorical, name: reader, from: user, buckets: 997, dim: 4 }
  - { kind: categorical, name: story, buckets: 997, dim: 4 }
  - { kind: numeric, name: seconds, transform: log1p }
label: { maturity: 1h }
training: { tune: false, epochs: 1, learningRate: 0.01, batchSize: 64, hidden: [8] }
`;
const LAKE_LINE = `line: stories
source:
  kind: lake
  path: '{data}/log.parquet'
  columns: { user: reader, item: story, time: shown_ms, label: clicked }${FEATURES}`;
const REPLAYED_LINE = `line: stories
log: { user: reader, item: story, timeMs: shown_ms, label: clicked }${FEATURES}`;

let folder = '';
let db: Duck;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-freshness-test-'));
  db = await openDuckDb();
  await writeLog('log', DRIFTING);
  await writeFile(join(folder, 'line.yaml'), LAKE_LINE);
});
afterAll(async () => {
  db.close();
  await rm(folder, { recursive: true, force: true });
});

async function writeLog(name: string, query: string): Promise<string> {
  const path = join(folder, `${name}.parquet`);
  await db.run(`COPY (${query}) TO ${sqlText(path)} (FORMAT parquet)`);
  return path;
}

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const command = [...entryPoint('bench/run.ts'), 'freshness', '--line', join(folder, 'line.yaml'), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', cwd: projectRoot() });
  return { status, stdout, stderr };
}

test('on a log that drifts every way of keeping fresh beats the frozen model, and updates cost a part of trainings in full', async () => {
  const [json, plot] = [join(folder, 'figures.json'), join(folder, 'plot.svg')];
  const run = bench('--log', folder, '--quick', '--bootstrap', '8', '--json', json, '--plot', plot);
  expect(run.status, run.stderr).toBe(0);
  expect(run.stdout).toMatch(/^incremental@4h +0\.\d{4}/m);
  expect(run.stdout).toMatch(/^incremental minus full, lower 95 % bound +[+-]0\.\d{4} +>= -0\.0015 +(met|missed)$/m);

  const written = z
    .object({ figures: z.record(z.string(), z.unknown()) })
    .parse(JSON.parse(await readFile(json, 'utf8')));
  const { detail, ...figures } = written.figures;
  const found = z.record(z.string(), z.number()).parse(figures);
  expect(Object.keys(found).sort()).toEqual([
    'aucFrozen',
    'aucFull',
    'aucIncremental',
    'aucOnline',
    'aucWarm',
    'computeShareIncremental',
    'gainKeptAt4h',
    'incrementalMinusFloorLcb95',
    'incrementalMinusFrozenLastDayLcb95',
    'incrementalMinusFullLcb95',
  ]);
  expect(found['aucFrozen']).toBeLessThan(0.55);
  for (const better of ['aucFull', 'aucWarm', 'aucIncremental', 'aucOnline']) {
    expect(found[better], better).toBeGreaterThan(found['aucFrozen'] ?? 1);
  }
  expect(found['incrementalMinusFrozenLastDayLcb95']).toBeGreaterThan(0);
  expect(found['computeShareIncremental']).toBeLessThan(0.3);
  expect(found['gainKeptAt4h']).toBeGreaterThan(0);
  expect(found['gainKeptAt4h']).toBeLessThan(1);

  const report = reportSchema.parse(detail);
  expect(figuresOf(report)).toEqual(written.figures);
  // 16 h after the bootstrap: four blocks, of which the first three are trained on.
  expect(report.cycles.map(({ rows }) => rows)).toEqual([600, 600, 600, 600]);
  expect(report.costs['full@4h']?.examples).toBe(1_800 + 2_400 + 3_000);
  expect(report.costs['incremental@4h']?.examples).toBe(3 * (600 + 52));
  expect(report.costs['frozen']?.examples).toBe(0);
  expect(report.scoredRows).toBe(2_400);
  expect(await readFile(plot, 'utf8')).toMatch(/^<svg xmlns.*incremental@4h.*<\/svg>\n$/s);
}, 180_000);

test('a lake and a replayed log of the same rows, as Parquet and as CSV, give the same labelled rows', async () => {
  await db.run(`COPY (${DRIFTING} ORDER BY hash(i, 9)) TO ${sqlText(join(folder, 'log.csv'))} (FORMAT csv)`);
  const inputs = [
    { line: LAKE_LINE, log: folder },
    { line: LAKE_LINE, log: join(folder, 'log.csv') },
    { line: LAKE_LINE.replace('{data}', folder), log: null },
    { line: LAKE_LINE.replace('{data}/log.parquet', '/nowhere/at/all.parquet'), log: join(folder, 'log.csv') },
    { line: REPLAYED_LINE, log: join(folder, 'log.parquet') },
    { line: REPLAYED_LINE, log: join(folder, 'log.csv') },
  ];
  const digests: unknown[] = [];
  for (const { line, log } of inputs) digests.push(await digestOf(line, log));
  expect(digests[0]).toMatchObject({ rows: 3_600, readers: 60, stories: 30 });
  expect(digests).toEqual(inputs.map(() => digests[0]));
});

async function digestOf(line: string, log: string | null): Promise<unknown> {
  const into = await mkdtemp(join(folder, 'rows-'));
  const config = parseLineConfig(line, 'line.yaml');
  const { path } = await writeLabelledRows({ config, log, bootstrapMs: 8 * HOUR_MS, folder: into });
  const number = z.union([z.number(), z.bigint().transform(String)]);
  return db.row(
    `SELECT count(*) AS rows, count(DISTINCT reader) AS readers, count(DISTINCT story) AS stories,
       sum(hash(reader, story, seconds, label, event_time_ms, user_id)::HUGEINT) AS digest,
       bool_and(event_time_ms >= before) AS ordered
     FROM (SELECT *, lag(event_time_ms, 1, 0) OVER (ORDER BY file_row_number) AS before FROM read_parquet(${sqlText(path)}, file_row_number = true))`,
    z.object({ rows: number, readers: number, stories: number, digest: number, ordered: z.literal(true) }),
  );
}

test('rows repeated in the log count once, and those too young for labels that come apart not at all', async () => {
  const twice = await writeLog('twice', `FROM (${DRIFTING}) UNION ALL FROM (${DRIFTING}) WHERE clicked = 1`);
  const config = parseLineConfig(LAKE_LINE, 'line.yaml');
  const input = { bootstrapMs: 8 * HOUR_MS, folder: await mkdtemp(join(folder, 'rows-')) };
  const read = await writeLabelledRows({
    ...input,
    config: parseLineConfig(LAKE_LINE.replace('{data}/log', '/x'), 'l'),
    log: twice,
  });
  expect(read).toMatchObject({ rows: 3_600, immature: 0 });
  expect(read.repeated).toBeGreaterThan(1_000);

  const clicks = await writeLog(
    'clicks',
    `SELECT hash(i) AS request, story, shown_ms + 1000 AS at_ms FROM (${DRIFTING.replace('SELECT', 'SELECT i,')}) WHERE clicked = 1`,
  );
  const shown = await writeLog(
    'shown',
    `SELECT hash(i) AS request, * EXCLUDE (i, clicked) FROM (${DRIFTING.replace('SELECT', 'SELECT i,')})`,
  );
  if (config.source.kind !== 'lake') throw new Error('the line has a lake');
  const apart = LAKE_LINE.replace('{data}/log.parquet', shown).replace(
    'label: clicked }',
    `requestId: request }\n  feedback: { path: ${clicks}, columns: { requestId: request, item: story, time: at_ms } }`,
  );
  // The last hour is as long as the maturity: 150 rows of 24 s, the first of them old enough.
  expect(await writeLabelledRows({ ...input, config: parseLineConfig(apart, 'l'), log: null })).toMatchObject({
    rows: 3_450,
    immature: 150,
    repeated: 0,
  });
});

const UNUSABLE: { what: string; query: string; bootstrap?: string; says: RegExp }[] = [
  {
    what: 'shorter than the bootstrap',
    query: DRIFTING,
    bootstrap: '72',
    says: /lasts 24\.0 h, so no row comes after a bootstrap of 72 h.*--bootstrap/,
  },
  {
    what: 'without a click after the bootstrap',
    query: `SELECT * REPLACE (CAST(clicked = 1 AND shown_ms < ${String(START_MS + 8 * HOUR_MS)} AS INTEGER) AS clicked) FROM (${DRIFTING})`,
    says: /all 2400 rows of the time after the first 8 h have the label 0/,
  },
  { what: 'of one reader', query: `SELECT * REPLACE ('me' AS reader) FROM (${DRIFTING})`, says: /are of one user/ },
  { what: 'without rows', query: `FROM (${DRIFTING}) LIMIT 0`, says: /no row with a label/ },
  {
    what: 'without the label',
    query: `SELECT * EXCLUDE (clicked) FROM (${DRIFTING})`,
    says: /has no column "clicked"/,
  },
];

test.each(UNUSABLE)('a log $what is refused in words', async ({ query, bootstrap, says }) => {
  const log = await writeLog('unusable', query);
  const config = parseLineConfig(LAKE_LINE.replace('{data}/log.parquet', log), 'line.yaml');
  const input = { config, log: null, bootstrapMs: Number(bootstrap ?? 8) * HOUR_MS, folder };
  await expect(writeLabelledRows(input)).rejects.toThrow(says);
});

test('what can not be found or read is said in one line', () => {
  const missing = bench('--log', join(folder, 'nothing.parquet'));
  expect(missing.status).toBe(1);
  expect(missing.stderr.trim()).toMatch(/^the log \S+nothing\.parquet does not exist: expected .*$/);
  const strange = bench('--seeds', '0');
  expect(strange.status).not.toBe(0);
  expect(strange.stderr).toMatch(/--seeds.*expected a whole number of at least 1/);
});

test('chains, floor, replay, measures and intervals are what they say (pytest)', async () => {
  const { path: python } = await ensurePythonEnv({ say: () => undefined });
  const paths = [join(projectRoot(), 'bench', 'freshness'), join(projectRoot(), 'trainer')].join(delimiter);
  const args = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', join(import.meta.dirname, 'freshness')];
  const env = { ...process.env, PYTHONPATH: paths, PYTHONDONTWRITEBYTECODE: '1' };
  const { status, stdout, stderr } = spawnSync(python, args, { encoding: 'utf8', env });
  expect(status, stdout + stderr).toBe(0);
}, 180_000);
