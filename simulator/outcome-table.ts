import { mkdirSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

export interface Outcome {
  userId: string;
  articleId: string;
  eventTimeMs: number;
  clicked: boolean;
  readRatio: number;
}

/** A growing table of Parquet files. A file appears whole or not at all. */
export interface OutcomeTable {
  /** Buffers a row; it is on disk a few seconds later. */
  append(outcome: Outcome): void;
  /** Rows so far, on disk or not. */
  rows(): number;
  /** Writes what is buffered. @throws what kept an earlier file from being written. */
  close(): Promise<void>;
}

const FLUSH_EVERY_MS = 2_000;

/** Files `outcomes-<start>-<number>.parquet` in `folder` (made if missing), with `user_id, article_id, event_time_ms, clicked, read_ratio`. */
export async function openOutcomeTable(folder: string): Promise<OutcomeTable> {
  mkdirSync(folder, { recursive: true });
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  await connection.run(
    'create table outcomes (user_id varchar, article_id varchar, event_time_ms bigint, clicked tinyint, read_ratio float)',
  );
  const startedAt = Date.now();
  let buffered: Outcome[] = [];
  let files = 0;
  let total = 0;
  let lastFlush = Promise.resolve();

  const write = async (rows: readonly Outcome[]): Promise<void> => {
    if (rows.length === 0) return;
    const appender = await connection.createAppender('outcomes');
    for (const { userId, articleId, eventTimeMs, clicked, readRatio } of rows) {
      appender.appendVarchar(userId);
      appender.appendVarchar(articleId);
      appender.appendBigInt(BigInt(eventTimeMs));
      appender.appendTinyInt(Number(clicked));
      appender.appendFloat(readRatio);
      appender.endRow();
    }
    appender.closeSync();
    const file = join(folder, `outcomes-${startedAt}-${String(files++).padStart(6, '0')}.parquet`);
    await connection.run(`copy outcomes to '${`${file}.part`.replaceAll("'", "''")}' (format parquet)`);
    await connection.run('truncate outcomes');
    await rename(`${file}.part`, file);
  };
  const flush = (): Promise<void> => {
    const rows = buffered;
    buffered = [];
    lastFlush = lastFlush.then(() => write(rows));
    return lastFlush;
  };
  const timer = setInterval(() => {
    flush().catch(() => undefined); // close() throws it
  }, FLUSH_EVERY_MS);

  return {
    append(outcome) {
      buffered.push(outcome);
      total += 1;
    },
    rows: () => total,
    async close() {
      clearInterval(timer);
      try {
        await flush();
      } finally {
        connection.closeSync();
        instance.closeSync();
      }
    },
  };
}
