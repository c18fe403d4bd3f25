import { z } from 'zod';
import type { LakeSourceConfig } from '../../config/source-section.ts';
import { DataError } from '../data-error.ts';
import { sqlText, type Duck } from '../duckdb.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export interface LakeFiles {
  /** The files whose partition overlaps the range and its margin, and those without a partition; sorted. */
  wanted: string[];
  /** The newest of all, for the columns. */
  newest: string;
}

/**
 * The files of a path or glob, listed once. Like other readers of lakes it leaves out what lies in or is named with a
 * leading `_` or `.` below the fixed part of the path.
 *
 * @throws DataError when nothing matches.
 */
export async function listLakeFiles(
  db: Duck,
  input: { path: string; partitions: LakeSourceConfig['partitions']; fromMs: number; toMs: number },
): Promise<LakeFiles> {
  const { path, partitions } = input;
  const found = await db.rows(`SELECT file FROM glob(${sqlText(path)})`, z.object({ file: z.string() }));
  const fixed = path.slice(0, path.search(/[*?[{]|$/)).split('/').length - 1;
  const files = found
    .map(({ file }) => file)
    .filter((file) =>
      file
        .split('/')
        .slice(fixed)
        .every((part) => !/^[_.]/.test(part)),
    )
    .map((file) => ({ file, span: partitionOf(file, partitions) }))
    .sort((a, b) => (a.span?.fromMs ?? 0) - (b.span?.fromMs ?? 0) || (a.file < b.file ? -1 : 1));
  const newest = files.at(-1);
  if (newest === undefined) {
    throw new DataError(
      `no file matches ${path}: expected the path of a file or a glob, such as /lake/impressions/**/*.parquet (a folder alone names no file)`,
    );
  }
  const from = input.fromMs - partitions.margin;
  const to = input.toMs + partitions.margin;
  const wanted = files.filter(({ span }) => span === null || (span.fromMs <= to && span.toMs > from));
  return { wanted: wanted.map(({ file }) => file), newest: newest.file };
}

/** Whether folders of the Hive layout (`name=value`) lead to every one of the files: then they are columns too. */
export function isHiveLayout(files: readonly string[]): boolean {
  return files.every((file) => /\/[^/=]+=[^/]*\//.test(file));
}

/** The time that a file's folders name, as UTC; null where they name none. */
function partitionOf(
  file: string,
  { day, hour }: { day: string; hour: string },
): { fromMs: number; toMs: number } | null {
  const valueOf = (name: string): string | undefined =>
    file
      .split('/')
      .slice(0, -1)
      .findLast((part) => part.startsWith(`${name}=`))
      ?.slice(name.length + 1);
  const date = /^(\d{4})-?(\d\d)-?(\d\d)$/.exec(valueOf(day) ?? '');
  if (date === null) return null;
  const fromMs = Date.UTC(Number(date[1]), Number(date[2]) - 1, Number(date[3]));
  const hourOfDay = /^\d{1,2}$/.exec(valueOf(hour) ?? '');
  if (hourOfDay === null) return { fromMs, toMs: fromMs + DAY_MS };
  const start = fromMs + Number(hourOfDay[0]) * HOUR_MS;
  return { fromMs: start, toMs: start + HOUR_MS };
}
