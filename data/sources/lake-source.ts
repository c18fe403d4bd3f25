import { z } from 'zod';
import type { LakeSourceConfig } from '../../config/source-section.ts';
import { DataError } from '../data-error.ts';
import { sqlName, sqlText, type Duck } from '../duckdb.ts';
import { kindOf, timeMsOf } from './column-sql.ts';
import { readCsvFiles } from './csv-files.ts';
import type { DataSource, SourceRange, SourceReading } from './data-source.ts';
import { listLakeFiles, isHiveLayout, type LakeFiles } from './lake-files.ts';
import { mapFeedback, mapRows } from './map-rows.ts';
import {
  feedbackWanted,
  findColumns,
  impressionsWanted,
  selectList,
  sortedByName,
  type Column,
  type FoundColumns,
  type Wanted,
} from './source-columns.ts';

type Table = Pick<LakeSourceConfig, 'path' | 'format' | 'delimiter'>;

/** A table of the lake that was read, its columns once. */
interface ReadTable {
  where: string;
  found: FoundColumns;
  /** By the footers of Parquet files, or a count of records of its own. */
  rows: number;
  /** As the newest file has them. */
  columns: Column[];
}

/**
 * Parquet or CSV files. Of Hive folders only those near the range are read. Parquet rows from before the range are left out;
 * the rest of what was read is kept, whenever it is dated. The own count is that of the files' footers (of the lists'
 * elements where rows are candidates), without the rows left out; of CSV files a count of their records.
 */
export function lakeSource(config: LakeSourceConfig, env: { data: string | undefined }): DataSource {
  return {
    async load(db, range, features): Promise<SourceReading> {
      const path = placedPath(config.path, env.data);
      const { columns, partitions, feedback } = config;
      const line = range.line;
      const table = { ...config, path };
      const files = await listLakeFiles(db, { path, partitions, ...range });
      const wanted = impressionsWanted(columns, features, range.dropped);
      const read = await readTable(db, { name: 'source_raw', table, files, wanted, only: { config, range } });
      const raw = { relation: 'source_raw', line, where: read.where, found: read.found, times: config };
      await mapRows(db, { ...raw, columns, features });
      await db.run('DROP TABLE source_raw');
      if (feedback !== undefined) await loadFeedback(db, { config, feedback, range, data: env.data });
      return { kind: 'lake', location: path, rows: read.rows, columns: sortedByName(read.columns) };
    },
  };
}

async function loadFeedback(
  db: Duck,
  input: {
    config: LakeSourceConfig;
    feedback: NonNullable<LakeSourceConfig['feedback']>;
    range: SourceRange;
    data: string | undefined;
  },
): Promise<void> {
  const { config, feedback, range } = input;
  const table = { ...feedback, path: placedPath(feedback.path, input.data) };
  const files = await listLakeFiles(db, { path: table.path, partitions: config.partitions, ...range });
  const wanted = feedbackWanted(feedback.columns);
  const { found, where } = await readTable(db, { name: 'feedback_raw', table, files, wanted, only: null });
  const { columns } = feedback;
  await mapFeedback(db, { relation: 'feedback_raw', line: range.line, where, found, times: config, columns });
  await db.run('DROP TABLE feedback_raw');
}

function placedPath(path: string, data: string | undefined): string {
  if (!path.includes('{data}')) return path;
  if (data !== undefined && data !== '') return path.replaceAll('{data}', data);
  throw new DataError(
    `the source reads "${path}", but nothing says where {data} is: set FRESHET_DATA for the data worker, or write the whole path`,
  );
}

interface TableToRead {
  /** Of the table that is made. */
  name: string;
  table: Table;
  files: LakeFiles;
  wanted: Wanted[];
  /** Leave out the rows of before this range. */
  only: { config: LakeSourceConfig; range: SourceRange } | null;
}

async function readTable(db: Duck, input: TableToRead): Promise<ReadTable> {
  const where = `lake ${input.table.path}`;
  try {
    if (input.table.format === 'parquet') return await readParquet(db, { ...input, where });
    const { delimiter } = input.table;
    return { where, ...(await readCsvFiles(db, { ...input, where, delimiter })) };
  } catch (error) {
    throw explained(error, input.table);
  }
}

async function readParquet(db: Duck, input: TableToRead & { where: string }): Promise<ReadTable> {
  const { name, files, wanted, where, only } = input;
  const some = files.wanted.length > 0;
  const relation = parquetOf(some ? files.wanted : [files.newest]);
  const found = findColumns({ where, columns: await db.describe(`FROM ${relation}`) }, wanted);
  const list = listOf(only?.config.columns.candidates, { found, where });
  const before = only === null || !some ? 'false' : beforeRange(only, found);
  await db.run(
    `CREATE TABLE ${name} AS SELECT ${selectList(found)} FROM ${relation} WHERE ${some ? `(${before}) IS NOT TRUE` : 'false'}`,
  );
  const rows = some ? await countByFooters(db, { files: files.wanted, relation, before, list }) : 0;
  return { where, found, rows, columns: await db.describe(`FROM ${parquetOf([files.newest])}`) };
}

function listOf(candidates: string | undefined, table: Pick<ReadTable, 'found' | 'where'>): string | undefined {
  const column = candidates === undefined ? undefined : table.found.get(candidates);
  if (column === undefined || kindOf(column.type) === 'list') return column?.name;
  throw new DataError(
    `column "${column.name}" (source.columns.candidates) of the ${table.where} is ${column.type}, expected a list; a column with one item is "item"`,
  );
}

function parquetOf(files: readonly string[]): string {
  const hive = isHiveLayout(files)
    ? 'hive_partitioning = true, hive_types_autocast = false'
    : 'hive_partitioning = false';
  return `read_parquet([${files.map(sqlText).join(', ')}], union_by_name = true, ${hive})`;
}

function beforeRange({ config, range }: { config: LakeSourceConfig; range: SourceRange }, found: FoundColumns): string {
  const time = found.get(config.columns.time);
  if (time === undefined) return 'false';
  return `${timeMsOf({ sql: sqlName(time.name), type: time.type }, config)} < ${String(range.fromMs)}`;
}

/**
 * Rows that the footers of Parquet files say there are, less those of before the range. With a list of candidates its
 * elements: in Parquet an empty list has one value too, as it is one row here.
 */
async function countByFooters(
  db: Duck,
  input: { files: readonly string[]; relation: string; before: string; list: string | undefined },
): Promise<number> {
  const { list } = input;
  const files = `[${input.files.map(sqlText).join(', ')}]`;
  const weight = list === undefined ? '1' : `greatest(coalesce(len(${sqlName(list)}), 0), 1)`;
  const elements =
    list === undefined
      ? 'SELECT NULL AS file_name, NULL AS values WHERE false'
      : `SELECT file_name, sum(num_values) AS values FROM parquet_metadata(${files})
         WHERE starts_with(lower(path_in_schema), ${sqlText(`${list.toLowerCase()}, `)}) GROUP BY file_name`;
  const { rows } = await db.row(
    `SELECT CAST((
       SELECT coalesce(sum(coalesce(elements.values, footers.num_rows)), 0)
       FROM parquet_file_metadata(${files}) AS footers LEFT JOIN (${elements}) AS elements USING (file_name)
     ) - (SELECT coalesce(sum(${weight}), 0) FROM ${input.relation} WHERE ${input.before}) AS BIGINT) AS rows`,
    z.object({ rows: z.number() }),
  );
  return rows;
}

/** What can pass by itself stays an Error, so that it is tried again. */
function explained(error: unknown, table: Table): unknown {
  if (error instanceof DataError || !(error instanceof Error)) return error;
  const cause = error.message.split('\n')[0] ?? '';
  if (/^IO Error|magic bytes|footer/i.test(cause)) {
    return new Error(
      `the lake ${table.path} can not be read now: ${cause}. A file that is being written is read at the next try (write under another name and rename); else mend or remove it`,
      { cause: error },
    );
  }
  return new DataError(`the lake ${table.path} can not be read as ${table.format}: ${cause}`, { cause: error });
}
