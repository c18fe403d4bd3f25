import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { SNAPSHOT_COLUMNS } from '../../config/fields.ts';
import type { Feature, LineConfigInput } from '../../config/schema.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from '../../data/duckdb.ts';
import { snapshotColumns } from '../../data/snapshot-columns.ts';

/** Two kinds of ids, one with more of them than its table may have rows, and two numbers with missing values. */
export const FEATURES = [
  { kind: 'categorical', name: 'topic', buckets: 1_000, dim: 4 },
  { kind: 'categorical', name: 'author', buckets: 200, dim: 4 },
  { kind: 'numeric', name: 'length' },
  { kind: 'numeric', name: 'age_hours', transform: 'log1p' },
] as const satisfies LineConfigInput['features'];

/** Ids that are the same number to a program that makes a double of them. Their click rates are far apart. */
export const NEIGHBOUR_IDS = [4_611_686_018_427_387_905n, 4_611_686_018_427_387_906n] as const;

/** Newest event time that may be in the train part, Unix ms. */
export const CUTOFF_MS = 1_767_268_800_000;

const EVERY_MS = 10_000;
const MISSING_COLUMN = 'length';
/** Rows by part, in time order. The train part comes in two files. */
const PARTS = { replay: 500, train: [1_800, 1_200], holdout: 600 } as const;

/** Local paths of a tiny snapshot, and of train files that a trainer has to refuse. */
export interface CheckSnapshot {
  train: string[];
  replay: string[];
  holdout: string[];
  /** No rows. */
  empty: string;
  missingColumn: { path: string; column: string };
  /** A label that is neither 0 nor 1. */
  badLabel: string;
}

/** Writes a snapshot whose clicks depend on all its features. The same bytes each time. */
export async function writeCheckSnapshot(folder: string, features: readonly Feature[]): Promise<CheckSnapshot> {
  await mkdir(folder, { recursive: true });
  const path = (name: string): string => join(folder, `${name}.parquet`);
  const duck = await openDuckDb();
  try {
    await createRows(duck, features);
    const bounds = [PARTS.replay, ...PARTS.train, PARTS.holdout].reduce<number[]>(
      (ends, rows) => [...ends, (ends.at(-1) ?? 0) + rows],
      [0],
    );
    const names = ['replay', 'train-0', 'train-1', 'holdout'];
    for (const [index, name] of names.entries()) {
      const [from = 0, to = 0] = bounds.slice(index);
      await copy(
        duck,
        `SELECT * EXCLUDE (i) FROM rows WHERE i >= ${String(from)} AND i < ${String(to)} ORDER BY i`,
        path(name),
      );
    }
    const train = `SELECT * FROM read_parquet(${sqlText(path('train-0'))})`;
    await copy(duck, `${train} LIMIT 0`, path('empty'));
    await copy(duck, `SELECT * EXCLUDE (${MISSING_COLUMN}) FROM (${train})`, path('missing-column'));
    await copy(
      duck,
      `SELECT * REPLACE (CAST(CASE WHEN impression_id = (SELECT max(impression_id) FROM (${train})) THEN 2 ELSE label END AS TINYINT) AS label) FROM (${train})`,
      path('bad-label'),
    );
  } finally {
    duck.close();
  }
  return {
    train: [path('train-0'), path('train-1')],
    replay: [path('replay')],
    holdout: [path('holdout')],
    empty: path('empty'),
    missingColumn: { path: path('missing-column'), column: MISSING_COLUMN },
    badLabel: path('bad-label'),
  };
}

async function createRows(duck: Duck, features: readonly Feature[]): Promise<void> {
  const rows = PARTS.replay + PARTS.train[0] + PARTS.train[1] + PARTS.holdout;
  const newest = PARTS.replay + PARTS.train[0] + PARTS.train[1];
  const started = CUTOFF_MS - newest * EVERY_MS;
  const chance = (salt: string): string => `((hash(i, ${sqlText(salt)}) % 1000003) / 1000003.0)`;
  const id = (of: string): string => `CAST(CAST(hash(${of}) AS HUGEINT) - 9223372036854775808 AS BIGINT)`;
  const columns = snapshotColumns(features).map(({ name, type }) => `CAST(${name} AS ${type}) AS ${sqlName(name)}`);
  const own: Record<keyof typeof SNAPSHOT_COLUMNS, string> = {
    impression_id: `'impression-' || i`,
    request_id: `'request-' || (i // 4)`,
    user_id: `'user-' || (hash(i // 4) % 200)`,
    item_id: `'item-' || i`,
    event_time_ms: `${String(started)} + (i + 1) * ${String(EVERY_MS)}`,
    arrived_at_ms: `${String(started)} + (i + 2) * ${String(EVERY_MS)}`,
    position: 'i % 4',
    version: '0',
    arm: `'stable'`,
    propensity: '1',
    score: 'NULL',
    label: `${chance('label')} < 1 / (1 + exp(-logit))`,
  };
  await duck.run(`
    CREATE TABLE rows AS
    WITH drawn AS (
      SELECT i, CAST(floor(${chance('topic')} * 30) AS INTEGER) AS t, CAST(floor(${chance('author')} * 300) AS INTEGER) AS a,
        CASE WHEN ${chance('no length')} > 0.2 THEN ${chance('length')} * 60 END AS length,
        CASE WHEN ${chance('no age')} > 0.05 THEN 48 * ${chance('age')} END AS age_hours
      FROM range(${String(rows)}) AS numbers(i)
    ), featured AS (
      SELECT *, CASE t WHEN 0 THEN ${String(NEIGHBOUR_IDS[0])} WHEN 1 THEN ${String(NEIGHBOUR_IDS[1])} WHEN 2 THEN 0
        ELSE ${id(`t, 'topic'`)} END AS topic, ${id(`a, 'author'`)} AS author,
        CASE WHEN t = 0 THEN 2.5 WHEN t = 1 THEN -2.5 ELSE 2 * sin(2.3 * t) END
        + sin(1.7 * a) + coalesce(length / 20 - 1.5, 0.8) - coalesce(age_hours, 24) / 24 AS logit
      FROM drawn
    ), whole AS (
      SELECT ${Object.entries(own)
        .map(([name, sql]) => `${sql} AS ${name}`)
        .join(', ')}, ${features.map(({ name }) => name).join(', ')}, i FROM featured
    )
    SELECT ${columns.join(', ')}, i FROM whole`);
}

async function copy(duck: Duck, query: string, path: string): Promise<void> {
  await duck.run(`COPY (${query}) TO ${sqlText(path)} (FORMAT parquet)`);
}
