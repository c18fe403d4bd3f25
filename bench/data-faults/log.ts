import { join } from 'node:path';
import { z } from 'zod';
import { openDuckDb, sqlText, type Duck } from '../../data/duckdb.ts';
import { DataError } from '../../data/data-error.ts';
import { trainScorer, type Scorer } from './scorer.ts';

const HOUR_MS = 3_600_000;

/** The log as a lake would hold it: what was served and what came of it, one row each. */
export interface FeedLog {
  /** Table `log`. */
  db: Duck;
  /** When whoever uses `db` is done. */
  idle: Promise<void>;
  /** Event times of its first and last row, Unix ms. */
  fromMs: number;
  toMs: number;
  /** Version 1, whose scores the log carries. */
  scorer: Scorer;
}

/**
 * Loads KuaiRand with its side tables. Rows arrive seconds after their event; a click is known when its video was left,
 * as in the replayer. Each row keeps an id of its own, so that the log's repeated rows repeat by user, video and time.
 * One request in fifty was exploration.
 *
 * @throws DataError when the folder does not hold the log.
 */
export async function openFeedLog(folder: string): Promise<FeedLog> {
  const db = await openDuckDb({ threads: 2 });
  try {
    await loadLog(db, folder);
    const { fromMs, toMs } = await db.row(
      'SELECT min(time_ms) AS fromMs, max(time_ms) AS toMs FROM log',
      z.object({ fromMs: z.number(), toMs: z.number() }),
    );
    const scorer = await trainScorer(db, { untilMs: fromMs + 24 * HOUR_MS });
    await scorer.scoreLog(db);
    return { db, idle: Promise.resolve(), fromMs, toMs, scorer };
  } catch (error) {
    db.close();
    throw error;
  }
}

async function loadLog(db: Duck, folder: string): Promise<void> {
  const file = (name: string): string => sqlText(join(folder, name));
  const hashed = (salt: string, buckets: number): string =>
    `CAST(md5_number_lower('${salt}' || impression_id) % ${String(buckets)} AS BIGINT)`;
  try {
    await db.run(`
      CREATE TABLE log AS
      SELECT impression_id, 'r' || substr(impression_id, 2) AS request_id, impressions.*, user_active_degree, upload_type,
        time_ms + 2000 + ${hashed('arrival', 6_000)} AS arrived_at_ms,
        time_ms + play_time_ms + 200 + ${hashed('click', 1_800)} AS known_at_ms,
        CAST(0 AS INTEGER) AS position, CAST(1 AS INTEGER) AS version,
        CASE WHEN ${hashed('arm', 50)} = 0 THEN 'exploration' ELSE 'stable' END AS arm,
        CAST(1 AS DOUBLE) AS propensity, CAST(NULL AS DOUBLE) AS score
      FROM (SELECT 'k' || file_row_number AS impression_id, * EXCLUDE (file_row_number)
            FROM read_parquet(${file('impressions.parquet')}, file_row_number = true)) AS impressions
        LEFT JOIN (SELECT user_id, user_active_degree FROM read_csv(${file('user_features_pure.csv')})) USING (user_id)
        LEFT JOIN (SELECT video_id, upload_type FROM read_csv(${file('video_features_basic_pure.csv')})) USING (video_id)
      ORDER BY time_ms, impression_id`);
  } catch (error) {
    const cause = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    throw new DataError(`${folder} does not hold KuaiRand: ${cause}. Say where it is with --log FOLDER`, {
      cause: error,
    });
  }
}

/** Writes rows of a query as the lake's only file. */
export async function writeLake(db: Duck, input: { query: string; path: string }): Promise<void> {
  await db.run(`COPY (${input.query}) TO ${sqlText(input.path)} (FORMAT parquet, COMPRESSION snappy)`);
}
