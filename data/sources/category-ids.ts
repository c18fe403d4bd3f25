import { BIGINT, DuckDBDataChunk, VARCHAR } from '@duckdb/node-api';
import { loadFeatureHash } from '../../features/feature-id.ts';
import type { Duck } from '../duckdb.ts';
import { kindOf, textOf, type Value } from './column-sql.ts';

const PAGE = 100_000;
/** Rows of a data chunk at most. */
const CHUNK = 2_048;

/**
 * Makes table `name` with the distinct texts of a value and their 64-bit ids (`freshet_text` VARCHAR, `freshet_id` BIGINT), by the code
 * that the gateway runs. Each distinct value is hashed once. A float counts as the number that a request would carry:
 * 5.0 is `5`; a FLOAT is its shortest decimal.
 */
export async function makeCategoryIds(db: Duck, input: { name: string; value: Value; from: string }): Promise<void> {
  const { name, value, from } = input;
  const hash = await loadFeatureHash();
  const isNumber = kindOf(value.type) === 'float';
  await db.run(`
    CREATE TABLE ${name}_texts AS
    SELECT row_number() OVER () AS n, text
    FROM (SELECT DISTINCT ${textOf(value)} AS text FROM ${from}) WHERE text IS NOT NULL`);
  await db.run(`CREATE TABLE ${name} (freshet_text VARCHAR, freshet_id BIGINT)`);
  for (let first = 1; ; first += PAGE) {
    const page = `n BETWEEN ${String(first)} AND ${String(first + PAGE - 1)}`;
    const found = await db.connection.runAndReadAll(`SELECT text FROM ${name}_texts WHERE ${page}`);
    const texts = (found.getColumnsJS()[0] ?? []).map(String);
    if (texts.length === 0) break;
    await append(db, name, [texts, texts.map((text) => hash(isNumber ? Number(text) : text))]);
  }
  await db.run(`DROP TABLE ${name}_texts`);
}

async function append(db: Duck, table: string, [texts, ids]: [string[], bigint[]]): Promise<void> {
  const appender = await db.connection.createAppender(table);
  for (let first = 0; first < texts.length; first += CHUNK) {
    const chunk = DuckDBDataChunk.create([VARCHAR, BIGINT]);
    chunk.setColumns([texts.slice(first, first + CHUNK), ids.slice(first, first + CHUNK)]);
    appender.appendDataChunk(chunk);
  }
  appender.closeSync();
}
