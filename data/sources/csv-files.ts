import { z } from 'zod';
import { sqlName, sqlText, type Duck } from '../duckdb.ts';
import { scanCsv, type CsvFile } from './csv-records.ts';
import { isHiveLayout, type LakeFiles } from './lake-files.ts';
import { findColumns, type Column, type FoundColumns, type Wanted } from './source-columns.ts';

/** Longest record. */
const MAX_LINE_BYTES = 16_777_216;

/**
 * Makes a table of the wanted columns of CSV files, all as text; files may have other columns or another order. A record
 * that is torn or has too few or too many values becomes a row of NULLs.
 *
 * @throws DataError when a file can not be told apart into records or a column is missing.
 */
export async function readCsvFiles(
  db: Duck,
  input: { name: string; files: LakeFiles; delimiter: string; wanted: Wanted[]; where: string },
): Promise<{ found: FoundColumns; rows: number; columns: Column[] }> {
  const { files, name, where } = input;
  const scanned: CsvFile[] = [];
  for (const path of files.wanted) scanned.push(await scanCsv(path, input.delimiter));
  const newest = scanned.find(({ path }) => path === files.newest) ?? (await scanCsv(files.newest, input.delimiter));
  const all = [...scanned.map(({ header }) => header), newest.header, partitionNames([...files.wanted, files.newest])];
  const names = [...new Map(all.flat().map((column) => [column.toLowerCase(), column])).values()];
  const found = findColumns({ where, columns: names.map(textColumn) }, input.wanted);
  const kept = [...new Set([...found.values()].map((column) => column.name))];
  await db.run(`CREATE TABLE ${name} (${kept.map((column) => `${sqlName(column)} VARCHAR`).join(', ')})`);
  for (const group of byHeader(scanned)) await readGroup(db, { name, kept, group, delimiter: input.delimiter });
  const rows = scanned.reduce((sum, { records }) => sum + records, 0);
  return { found, rows, columns: newest.header.map(textColumn) };
}

function textColumn(name: string): Column {
  return { name, type: 'VARCHAR' };
}

function byHeader(files: readonly CsvFile[]): CsvFile[][] {
  const groups = new Map<string, CsvFile[]>();
  for (const file of files) {
    if (file.header.length === 0) continue;
    const key = JSON.stringify([file.header, partitionNames([file.path])]);
    groups.set(key, [...(groups.get(key) ?? []), file]);
  }
  return [...groups.values()];
}

/** Columns that come from folders `name=value`. */
function partitionNames(paths: readonly string[]): string[] {
  if (!isHiveLayout(paths)) return [];
  const [first = ''] = paths;
  return first
    .split('/')
    .slice(0, -1)
    .filter((part) => part.includes('='))
    .map((part) => part.slice(0, part.indexOf('=')));
}

/** Reads files of one header. The dialect is given, never guessed. */
async function readGroup(
  db: Duck,
  input: { name: string; kept: readonly string[]; group: readonly CsvFile[]; delimiter: string },
): Promise<void> {
  const { name, group } = input;
  const header = group[0]?.header ?? [];
  const paths = group.map(({ path }) => path);
  const partitions = partitionNames(paths);
  const there = input.kept.filter((column) =>
    [...header, ...partitions].some((given) => given.toLowerCase() === column.toLowerCase()),
  );
  const selected = there.map(sqlName).join(', ');
  await db.run(`
    INSERT INTO ${name} (${selected}) SELECT ${selected} FROM read_csv([${paths.map(sqlText).join(', ')}],
      auto_detect = false, header = true, columns = {${header.map((column) => `${sqlText(column)}: 'VARCHAR'`).join(', ')}},
      delim = ${sqlText(input.delimiter)}, quote = '"', escape = '"', max_line_size = ${String(MAX_LINE_BYTES)},
      hive_partitioning = ${String(partitions.length > 0)}, hive_types_autocast = false, ignore_errors = true, store_rejects = true, rejects_limit = 0,
      rejects_table = 'csv_rejects', rejects_scan = 'csv_rejects_scan')`);
  const { torn } = await db.row(
    'SELECT count(*) AS torn FROM (SELECT DISTINCT file_id, line FROM csv_rejects)',
    z.object({ torn: z.number() }),
  );
  await db.run(
    `INSERT INTO ${name} (${selected}) SELECT ${there.map(() => 'NULL').join(', ')} FROM range(${String(torn)})`,
  );
  await db.run('DROP TABLE csv_rejects');
  await db.run('DROP TABLE csv_rejects_scan');
}
