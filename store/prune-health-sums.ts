import { setTimeout as wait } from 'node:timers/promises';
import type { LineConfig } from '../config/schema.ts';
import type { Database, Queryable } from './database.ts';
import { readClocks, type ClockReading } from './event-clock.ts';
import { HEALTH_RETENTION_MS } from './health-sums.ts';
import { readLine } from './lines.ts';
import { newestSnapshot, stableSince } from './triggers.ts';

/** A stretch of operating time, Unix milliseconds. */
export interface Stretch {
  fromMs: number;
  toMs: number;
}

const DAY_MS = 86_400_000;
/** Beyond what is read: a config that is about to change, a look back by hand. */
const MARGIN_MS = DAY_MS;
/** Rows that one statement removes; it holds locks on rows that nobody writes any more, for milliseconds. */
const BATCH = 2_000;
const BETWEEN_BATCHES_MS = 50;

/**
 * Which health sums of a line something may still read: those from `fromMs` on, and those of `first`, the first hours of the
 * stable version, which the performance trigger compares with for as long as it serves.
 */
export async function healthSumsInUse(db: Queryable, config: LineConfig): Promise<{ fromMs: number; first: Stretch }> {
  const { line, health, triggers } = config;
  const clocks = await readClocks(db, line);
  const snapshot = await newestSnapshot(db, line);
  const { rows } = await db.query<{ startedAt: Date }>(
    'select started_at as "startedAt" from cycles where line = $1 and closed_at is null',
    [line],
  );
  const maturityMs = Math.max(config.label.maturity, snapshot?.maturityMs ?? 0);
  const backMs = Math.max(
    health.sequential.history,
    triggers.window + Math.max(health.feedbackDelay, HEALTH_RETENTION_MS),
    examplesBackMs(clocks, maturityMs + config.snapshot.maxWindow),
  );
  const openSinceMs = Math.min(...rows.map(({ startedAt }) => startedAt.getTime()));
  const { at } = await stableSince(db, line);
  const sinceMs = at.getTime();
  return {
    // The history of a ramp is of before it: an open cycle's is read from its beginning back.
    fromMs: Math.min(clocks.operatingMs, openSinceMs) - backMs - MARGIN_MS,
    first: { fromMs: sinceMs - health.bucket, toMs: sinceMs + triggers.performance.reference + MARGIN_MS },
  };
}

/** How far back in operating time the newest examples reach in event time. Of a clock that stands still none are counted. */
function examplesBackMs({ rate }: ClockReading, eventMs: number): number {
  return rate > 0 ? eventMs / rate : 0;
}

/**
 * Removes health sums that nothing reads any more, in small batches. Several processes may do it at once: none waits for
 * rows that another one removes.
 *
 * @returns the number of rows that were removed, and why the rows of some lines stay.
 */
export async function pruneHealthSums(
  db: Database,
  { signal, batch = BATCH }: { signal?: AbortSignal; batch?: number } = {},
): Promise<{ removed: number; problems: string[] }> {
  const { rows } = await db.query<{ line: string }>('select line from lines order by line');
  const problems: string[] = [];
  let removed = 0;
  for (const { line } of rows) {
    try {
      removed += await pruneLine(db, { line, signal, batch });
    } catch (error) {
      problems.push(`${line}: ${(error as Error).message}`);
    }
  }
  return { removed, problems };
}

async function pruneLine(
  db: Database,
  { line, signal, batch }: { line: string; signal: AbortSignal | undefined; batch: number },
): Promise<number> {
  const { config } = await readLine(db, line);
  const { fromMs, first } = await healthSumsInUse(db, config);
  let removed = 0;
  while (signal?.aborted !== true) {
    const { rowCount } = await db.query(
      `delete from health_sums where ctid = any (array(
         select ctid from health_sums
         where line = $1 and bucket_at < to_timestamp($2::float8 / 1000)
           and not (bucket_at >= to_timestamp($3::float8 / 1000) and bucket_at < to_timestamp($4::float8 / 1000))
         limit $5 for update skip locked))`,
      [line, fromMs, first.fromMs, first.toMs, batch],
    );
    removed += rowCount ?? 0;
    if (rowCount !== batch) break;
    await wait(BETWEEN_BATCHES_MS, undefined, { signal }).catch(() => undefined);
  }
  return removed;
}
