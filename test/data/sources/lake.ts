import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { lineConfigSchema, type LineConfigInput } from '../../../config/schema.ts';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { sourceOf } from '../../../data/sources/index.ts';
import { featuresOf, HOUR, START } from './loaded.ts';

export type LakeInput = Extract<NonNullable<LineConfigInput['source']>, { kind: 'lake' }>;

export const features = featuresOf([
  { kind: 'categorical', name: 'topic' },
  { kind: 'numeric', name: 'length' },
]);
export const range = { line: 'feed', fromMs: START, toMs: START + 6 * HOUR };
export const columns = { user: 'u', item: 'i', time: 't', label: 'clicked' };

export function lake(input: Partial<LakeInput> & Pick<LakeInput, 'path'>, data?: string) {
  const { source } = lineConfigSchema.parse({
    line: 'feed',
    features: [{ kind: 'numeric', name: 'x' }],
    source: { kind: 'lake', columns, ...input },
  });
  return sourceOf({ source }, { logRoot: '', processEnv: data === undefined ? {} : { FRESHET_DATA: data } });
}

/** Writes the rows of a query as a file of the lake. */
export async function write(path: string, sql: string, options = 'FORMAT parquet'): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  const db = await openDuckDb();
  await db.run(`COPY (${sql}) TO ${sqlText(path)} (${options})`);
  db.close();
  return path;
}

/** SQL of n rows, a minute apart. */
export function rowsSql(n: number, overrides: { from?: number; time?: string; more?: string } = {}): string {
  const { from = START, time = `${String(from)} + n * 60000`, more = '' } = overrides;
  return `SELECT 'u' || n AS u, 100 + n AS i, ${time} AS t, n % 2 AS clicked, 'news' AS topic, n * 1.5 AS length ${more} FROM range(${String(n)}) AS r(n)`;
}
