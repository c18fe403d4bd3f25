import { existsSync, readdirSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { columnOf, LogError, textOf, type Column, type LogMapping, type SideTable } from './log-columns.ts';

const EXPECTED =
  'expected a Parquet (.parquet) or CSV (.csv, .tsv, .csv.gz) file, a glob of such, or a folder with one Parquet file';

/**
 * The file that a path to a log means: itself, or the only Parquet file of a folder.
 *
 * @throws LogError when there is no such file.
 */
export function findLogFile(path: string): string {
  if (/[*?[]/.test(path)) return path;
  if (!existsSync(path)) throw new LogError(`the log ${path} does not exist: ${EXPECTED}`);
  if (!statSync(path).isDirectory()) return path;
  const files = readdirSync(path).filter((name) => name.endsWith('.parquet'));
  const [only] = files;
  if (only === undefined || files.length > 1) {
    throw new LogError(`the folder ${path} has ${files.length} Parquet files: name the one to replay`);
  }
  return join(path, only);
}

/** SQL that reads a file, with `filename` and `file_row_number`, from which the order of its rows can be restored. */
export function relation(file: string, what: string): string {
  if (/\.(parquet|pq)$/i.test(file)) return `read_parquet(${textOf(file)}, filename = true, file_row_number = true)`;
  if (/\.(csv|tsv)(\.gz)?$/i.test(file))
    return `(select *, row_number() over () as file_row_number from read_csv(${textOf(file)}, filename = true))`;
  throw new LogError(`the ${what} ${file} can not be read: ${EXPECTED}`);
}

/** The columns of a file. @throws LogError when it is no such file. */
export async function describe(connection: DuckDBConnection, file: string, what: string): Promise<Column[]> {
  const sql = `describe select * exclude (filename, file_row_number) from ${relation(file, what)}`;
  try {
    const rows = (await connection.runAndReadAll(sql)).getRowObjectsJS();
    return rows.map((row) => ({ name: asText(row['column_name']), type: asText(row['column_type']) }));
  } catch (error) {
    const problem = (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
    throw new LogError(`the ${what} ${file} can not be read (${problem}): ${EXPECTED}`);
  }
}

/** @throws LogError when the log has no row. */
export async function requireRows(connection: DuckDBConnection, file: string): Promise<void> {
  const first = await connection.runAndReadAll(`select 1 from ${relation(file, 'log')} limit 1`);
  if (first.currentRowCount === 0) throw new LogError(`the log ${file} is empty: it has columns, but no rows`);
}

/**
 * Loads the side tables into memory, as `side0`, `side1`, ...
 *
 * @throws LogError for a table that is missing, unreadable, or has not exactly one row a key.
 */
export async function loadSideTables({
  connection,
  mapping,
  folder,
}: {
  connection: DuckDBConnection;
  mapping: LogMapping;
  folder: string;
}): Promise<SideTable[]> {
  const tables: SideTable[] = [];
  for (const [index, { path, key, as }] of mapping.tables.entries()) {
    const file = isAbsolute(path) ? path : join(folder, path);
    const what = `${as} table`;
    if (!existsSync(file))
      throw new LogError(
        `the ${what} ${file} (log.tables.${index}) does not exist: paths are relative to the log's folder`,
      );
    const columns = await describe(connection, file, what);
    if (!columns.some((column) => column.name === key)) {
      throw new LogError(
        `the ${what} ${file} lacks its key column "${key}"; it has: ${columns.map(({ name }) => name).join(', ')}`,
      );
    }
    const alias = `side${index}`;
    await connection.run(
      `create table ${alias} as select * exclude (filename, file_row_number) from ${relation(file, what)}`,
    );
    const keyColumn = columnOf(alias, key);
    const repeated = await connection.runAndReadAll(
      `select cast(${keyColumn} as varchar) from ${alias} where ${keyColumn} is not null group by ${keyColumn} having count(*) > 1 limit 3`,
    );
    const keys = repeated.getRowsJS().map((row) => asText(row[0]));
    if (keys.length > 0) {
      throw new LogError(
        `the ${what} ${file} has several rows for ${key} = ${keys.join(', ')}: a side table must have one row a key`,
      );
    }
    tables.push({ alias, path: file, key, as, columns });
  }
  return tables;
}

/** A value that the SQL has cast to text. */
export function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
