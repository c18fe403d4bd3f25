import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { LineConfig } from '../../config/schema.ts';
import { lineConfigSchema, type LineConfigInput } from '../../config/schema.ts';

/** Noon of 1 March 2025, UTC. */
export const NOON_MS = Date.UTC(2025, 2, 1, 12);
export const HOUR_MS = 3_600_000;

export interface LogRow {
  user?: string | number | null;
  item?: string | number | null;
  at?: number | null;
  clicked?: number | null;
  watchedMs?: number | null;
  topic?: string | null;
}

/** Writes a log with the columns `user, item, at, clicked, watched_ms, topic` in the order given. */
export async function writeLog(folder: string, rows: readonly LogRow[], name = 'log.csv'): Promise<string> {
  const lines = rows.map(({ user = 'u1', item = 'i1', at = NOON_MS, clicked = 0, watchedMs = null, topic = 'news' }) =>
    [user, item, at, clicked, watchedMs, topic].map((value) => value ?? '').join(','),
  );
  const csv = join(folder, 'log.csv');
  await writeFile(csv, `${['user,item,at,clicked,watched_ms,topic', ...lines].join('\n')}\n`);
  if (name.endsWith('.csv')) return csv;
  const parquet = join(folder, name);
  await runSql(`copy (select * from read_csv('${csv}')) to '${parquet}' (format parquet)`);
  return parquet;
}

export async function runSql(sql: string): Promise<unknown[][]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = (await connection.runAndReadAll(sql)).getRowsJS();
  connection.closeSync();
  instance.closeSync();
  return rows;
}

/** A line over that log. */
export function lineOver(overrides: Partial<LineConfigInput> = {}): LineConfig {
  return lineConfigSchema.parse({
    line: 'replayed',
    clock: 'replay',
    features: [{ kind: 'categorical', name: 'topic' }],
    log: { user: 'user', item: 'item', timeMs: 'at', label: 'clicked', dwellMs: 'watched_ms' },
    ...overrides,
  });
}
