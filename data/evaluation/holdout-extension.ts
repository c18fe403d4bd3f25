import { z } from 'zod';
import { openDuckDb, sqlText } from '../duckdb.ts';
import { parquetSource } from './holdout.ts';

/**
 * Writes the rows of later snapshots that a holdout can be extended by to a Parquet file at `path`, by event time: each once,
 * none that the holdout has already, none of before the split, and none of a request that was trained on.
 *
 * @param input local paths of Parquet files; `splitMs` parts the snapshot's train rows from its holdout.
 * @returns how many; without any there is no file.
 */
export async function addExtensions(input: {
  holdout: readonly string[];
  train: readonly string[];
  extensions: readonly string[];
  splitMs: number;
  path: string;
}): Promise<number> {
  const { holdout, train, extensions, splitMs, path } = input;
  if (extensions.length === 0) return 0;
  const duck = await openDuckDb();
  try {
    const without = (paths: readonly string[], column: string): string =>
      paths.length === 0 ? '' : `ANTI JOIN (SELECT ${column} FROM ${parquetSource(paths)}) USING (${column})`;
    await duck.run(`
      CREATE TABLE added AS
      SELECT later.* FROM ${parquetSource(extensions)} AS later
        ${without(holdout, 'impression_id')} ${without(train, 'request_id')}
      WHERE event_time_ms > ${String(splitMs)}
      QUALIFY row_number() OVER (PARTITION BY impression_id ORDER BY arrived_at_ms, event_time_ms) = 1`);
    const { rows } = await duck.row('SELECT count(*) AS rows FROM added', z.object({ rows: z.number() }));
    if (rows > 0)
      await duck.run(`COPY (FROM added ORDER BY event_time_ms, impression_id) TO ${sqlText(path)} (FORMAT parquet)`);
    return rows;
  } finally {
    duck.close();
  }
}
