import { z } from 'zod';
import { openDuckDb, sqlText } from '../duckdb.ts';
import { parquetSource } from './holdout.ts';

/**
 * Writes the rows of a share of the users to a Parquet file at `path`, in the order of the files, where they have more than
 * `maxRows` together: about that many. Whole users, by a hash of their id, so that the bootstrap still resamples users and the
 * same users are kept each time; rows without a user go by their request.
 *
 * @returns how many rows there were and how many were kept; null where all fit, then there is no file.
 */
export async function sampleUsers(input: {
  paths: readonly string[];
  maxRows: number;
  path: string;
}): Promise<{ rows: number; kept: number } | null> {
  const { paths, maxRows, path } = input;
  if (paths.length === 0) return null;
  const duck = await openDuckDb();
  const count = (source: string): Promise<{ rows: number }> =>
    duck.row(`SELECT count(*) AS rows FROM ${source}`, z.object({ rows: z.number() }));
  try {
    const source = parquetSource(paths);
    const { rows } = await count(source);
    if (rows <= maxRows) return null;
    const key = "coalesce(CAST(user_id AS VARCHAR), 'request ' || request_id, '')";
    const limit = ((BigInt(maxRows) << 64n) / BigInt(rows)).toString();
    await duck.run(
      `COPY (FROM ${source} WHERE md5_number_upper(${key}) < ${limit}) TO ${sqlText(path)} (FORMAT parquet)`,
    );
    return { rows, kept: (await count(parquetSource([path]))).rows };
  } finally {
    duck.close();
  }
}
