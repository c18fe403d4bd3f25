import { z } from 'zod';
import type { LineConfig } from '../config/schema.ts';
import { sqlText, type Duck } from './duckdb.ts';
import type { SnapshotManifest } from './snapshot-manifest.ts';
import { parentTrueCutoff, type ParentSnapshot, type SnapshotTimes, type TaintedWindow } from './snapshot-times.ts';

/** Enough for the estimate of an AUC to be right to 0.003, and few enough to keep with every snapshot. */
const MAX_UNLABELLED = 50_000;

/** A share of the training rows from history, or all of history. */
export type Replay = NonNullable<SnapshotManifest['replay']>;

interface PartsInput {
  config: LineConfig;
  times: SnapshotTimes;
  taintedWindows: readonly TaintedWindow[];
  /** Whether the fixed historical holdout is to be frozen from the reserved rows, if there are enough. */
  freezeHistorical: boolean;
  /** The holdout begins no earlier; null: no limit. Unix ms of event time. */
  championCutoffMs: number | null;
  /** All fresh rows are held out, but those of requests that began by `splitMs`; null for a snapshot to train on. */
  testsOnly: { splitMs: number } | null;
  replay: Replay;
}

/**
 * Table `parts`, one row for each unique row: its part, one of `immature`, `tainted`, `reserved`, `sampledOut`, `history`,
 * `train`, `holdout` and `replay`; whether it is `late` or `corrected`; and the file it goes to, NULL for none. Rows of a
 * request never lie in both train and holdout. Returns the time that parts train from holdout; with `testsOnly` the
 * window's start.
 */
export async function assignParts(db: Duck, input: PartsInput): Promise<{ splitMs: number }> {
  await groupRequests(db, input);
  await assignAges(db, input);
  await sampleOut(db, input.config.snapshot.maxTrainRows);
  const { splitMs, seenMs } = await splitOf(db, input);
  const seen = input.testsOnly === null ? 'train' : 'history';
  await db.run(`
    CREATE TABLE parts AS
    SELECT row, age = 'late' AS late, age = 'corrected' AS corrected,
      CASE WHEN age = 'fresh' AND first_ms > ${String(seenMs)} THEN 'holdout'
           WHEN age IN ('fresh', 'late', 'corrected') THEN '${seen}' ELSE age END AS part,
      CASE WHEN part IN ('train', 'holdout') THEN part END AS file
    FROM ages`);
  await (input.replay === 'all' ? replayAll(db, input) : drawReplay(db, input));
  if (input.freezeHistorical) await freezeHistorical(db, input);
  await db.run(`
    UPDATE parts SET file = 'unlabelled' WHERE row IN (
      SELECT row FROM ages WHERE age = 'immature'
      ORDER BY ${hashOf('unlabelled', 'impression_id')}, impression_id LIMIT ${String(MAX_UNLABELLED)})`);
  return { splitMs };
}

/** SQL of a UBIGINT that depends on the value alone, uniform, and independent of the hashes of other names. */
function hashOf(name: string, column: string): string {
  return `md5_number_lower(${sqlText(`${name}:`)} || ${column})`;
}

/**
 * Table `requests`: when each request began, as far as is known now and as far as the parent knew, and whether it is kept
 * for the historical holdout.
 */
async function groupRequests(db: Duck, { config, times }: PartsInput): Promise<void> {
  const { historicalShare, historicalRows } = config.snapshot;
  const seen = times.parent === null ? 'false' : `arrived_at_ms < ${String(times.parent.eventNowMs)}`;
  const reservedBelow = historicalRows === 0 ? 0n : BigInt(Math.floor(historicalShare * 2 ** 64));
  await db.run(`
    CREATE TABLE requests AS
    SELECT request_id, min(event_time_ms) AS first_ms, min(event_time_ms) FILTER (${seen}) AS seen_ms,
      ${hashOf('historical', 'request_id')} < ${String(reservedBelow)}::UBIGINT AS reserved
    FROM unique_rows GROUP BY request_id`);
}

/**
 * Table `ages`: what each row is before the parts are chosen: `immature`, `tainted`, `reserved`, `fresh`, `late`,
 * `corrected` or `history`.
 */
async function assignAges(db: Duck, { config, times, taintedWindows }: PartsInput): Promise<void> {
  const { cutoffMs, trueCutoffMs, windowStartMs, oldestMs, parent } = times;
  const { proxy } = config.label;
  const corrected =
    proxy === undefined || parent === null
      ? 'false'
      : `event_time_ms > ${String(parentTrueCutoff(parent))} AND event_time_ms <= ${String(trueCutoffMs)} AND ${proxyWasWrong(parent, proxy.maturity)}`;
  const tainted = taintedWindows.map(
    ({ fromMs, toMs }) => `(event_time_ms > ${String(fromMs)} AND event_time_ms <= ${String(toMs)})`,
  );
  await db.run(`
    CREATE TABLE ages AS
    SELECT row, impression_id, request_id, event_time_ms, first_ms,
      CASE WHEN ${trainedBefore(times)} THEN CASE WHEN ${corrected} THEN 'corrected' ELSE 'history' END
           WHEN event_time_ms > ${String(Math.max(cutoffMs, windowStartMs))} THEN 'immature'
           WHEN event_time_ms > ${String(windowStartMs)} THEN 'fresh'
           WHEN ${String(parent !== null)} AND event_time_ms > ${String(oldestMs)} THEN 'late'
           ELSE 'history' END AS placed,
      CASE WHEN placed = 'immature' THEN placed
           WHEN ${['false', ...tainted].join(' OR ')} THEN 'tainted'
           WHEN reserved THEN 'reserved'
           ELSE placed END AS age
    FROM unique_rows JOIN requests USING (request_id)`);
}

/**
 * SQL that is true where the proxy that a row trained with is not its true label: the proxy as it was then, not what came
 * after. The rows of the parent's window trained when its snapshot was taken; older ones at a time between the proxy's
 * maturity and then, so that a proxy that came meanwhile may have been there or not: one more training is the lesser harm.
 */
function proxyWasWrong(parent: ParentSnapshot, maturityMs: number): string {
  const wrong = (beforeMs: string): string =>
    `(coalesce(proxied_at_ms < ${beforeMs}, false) <> (labelled_at_ms IS NOT NULL))`;
  return `(${wrong(String(parent.eventNowMs))}
    OR (event_time_ms <= ${String(parent.windowStartMs)} AND ${wrong(`event_time_ms + ${String(maturityMs)}`)}))`;
}

/**
 * SQL that is true for a row that the parent or one of its ancestors could train on: it had arrived and lies before the
 * parent's split, or it belongs to a request that began before it.
 */
function trainedBefore({ sinceMs, parent }: SnapshotTimes): string {
  if (sinceMs === null) return 'false';
  const since = String(sinceMs);
  if (parent === null) return `event_time_ms <= ${since}`;
  return `arrived_at_ms < ${String(parent.eventNowMs)}
    AND (event_time_ms <= ${since} OR (event_time_ms <= ${String(parent.cutoffMs)} AND seen_ms <= ${since}))`;
}

/** Leaves out whole requests by the hash of their id until at most `maxRows` rows are left to train and to hold out. */
async function sampleOut(db: Duck, maxRows: number | undefined): Promise<void> {
  if (maxRows === undefined) return;
  const fresh = `age IN ('fresh', 'late', 'corrected')`;
  await db.run(`
    UPDATE ages SET age = 'sampledOut' WHERE ${fresh} AND request_id NOT IN (
      ${requestsUpTo(maxRows, 'sample', `ages WHERE ${fresh}`)})`);
}

/** SQL of the requests with the smallest hashes that have at most so many rows together. */
function requestsUpTo(rows: number, name: string, from: string): string {
  return `
    SELECT request_id FROM (
      SELECT request_id, sum(count(*)) OVER (ORDER BY ${hashOf(name, 'request_id')}, request_id) AS upto FROM ${from}
      GROUP BY request_id
    ) WHERE upto <= ${String(rows)}`;
}

/**
 * The holdout begins after a time, not after a row: what shares a time, such as a slate, is never torn. It does not begin
 * before the champion's cutoff: on rows that it was trained on the champion would look better than it is. `seenMs`: a
 * request that began by then has rows that a model may have been trained on.
 */
async function splitOf(
  db: Duck,
  { config, times, championCutoffMs, testsOnly }: PartsInput,
): Promise<{ splitMs: number; seenMs: number }> {
  const { windowStartMs, cutoffMs } = times;
  // What lies after the cutoff is the next snapshot's, wherever the champion's own ended.
  const championMs = Math.min(championCutoffMs ?? windowStartMs, Math.max(cutoffMs, windowStartMs));
  if (testsOnly !== null) return { splitMs: windowStartMs, seenMs: Math.max(testsOnly.splitMs, championMs) };
  const share = String(1 - config.snapshot.holdoutShare);
  const { split } = await db.row(
    `SELECT (SELECT first_ms FROM ages WHERE age = 'fresh' ORDER BY first_ms
       LIMIT 1 OFFSET (SELECT greatest(0, ceil(count(*) * ${share}) - 1) FROM ages WHERE age = 'fresh')) AS split`,
    z.object({ split: z.number().nullable() }),
  );
  const splitMs = Math.max(split ?? windowStartMs, windowStartMs, championMs);
  return { splitMs, seenMs: splitMs };
}

/**
 * Takes the history within the maximal window, with the labels of now, or of more than `maxTrainRows` that many. What has a
 * proxy for a label is in it: without the newest history a training in full would be behind the champion.
 */
async function replayAll(db: Duck, { config, times }: PartsInput): Promise<void> {
  const { maxTrainRows } = config.snapshot;
  const pool = `ages WHERE age = 'history' AND event_time_ms > ${String(times.oldestMs)} AND event_time_ms <= ${String(times.cutoffMs)}`;
  const kept =
    maxTrainRows === undefined
      ? ''
      : `AND request_id IN (${requestsUpTo(maxTrainRows, replayName(config, times), pool)})`;
  await db.run(`UPDATE parts SET part = 'replay', file = 'replay' WHERE row IN (SELECT row FROM ${pool} ${kept})`);
}

/** Other rows are drawn in the next snapshot. */
function replayName({ training }: LineConfig, { cutoffMs }: SnapshotTimes): string {
  return `replay:${String(training.seed)}:${String(cutoffMs)}`;
}

/** Rows up to here have their true label. */
function labelledUntil({ cutoffMs, trueCutoffMs }: SnapshotTimes): number {
  return Math.min(cutoffMs, trueCutoffMs);
}

/**
 * Draws the replay from the history that has its true label: equal shares of equal slices of time, about a season each,
 * by hash of the request within a slice. A slice that has too little leaves its share to the others.
 */
async function drawReplay(db: Duck, { config, times }: PartsInput): Promise<void> {
  const { replayShare, season } = config.snapshot;
  const name = replayName(config, times);
  await db.run(`
    UPDATE parts SET part = 'replay', file = 'replay' WHERE row IN (
      WITH pool AS (
        FROM ages WHERE age = 'history' AND event_time_ms > ${String(times.reachMs)} AND event_time_ms <= ${String(labelledUntil(times))}
      ), span AS (
        SELECT min(event_time_ms) AS from_ms, max(event_time_ms) - from_ms + 1 AS span_ms,
          greatest(1, CAST(round(span_ms / ${String(season)}) AS BIGINT)) AS slices
        FROM pool
      ), hashed AS (
        SELECT row, impression_id, (event_time_ms - from_ms) * slices // span_ms AS slice,
          ${hashOf(name, 'request_id')} AS hash
        FROM pool CROSS JOIN span
      ), ranked AS (
        SELECT row, impression_id, hash, row_number() OVER (PARTITION BY slice ORDER BY hash, impression_id) AS place
        FROM hashed
      )
      SELECT row FROM ranked ORDER BY place, hash, impression_id
      LIMIT (SELECT CAST(floor(count(*) * ${String(replayShare / (1 - replayShare))}) AS BIGINT) FROM parts WHERE part = 'train')
    )`);
}

/** Freezes the historical holdout once the reserved rows with their true label, within the reach, are as many as it takes. */
async function freezeHistorical(db: Duck, { config, times }: PartsInput): Promise<void> {
  const { historicalRows } = config.snapshot;
  const pool = `ages WHERE age = 'reserved' AND event_time_ms > ${String(times.reachMs)} AND event_time_ms <= ${String(labelledUntil(times))}`;
  await db.run(`
    UPDATE parts SET file = 'historical'
    WHERE (SELECT count(*) FROM ${pool}) >= ${String(historicalRows)}
      AND row IN (SELECT row FROM ${pool} AND request_id IN (${requestsUpTo(historicalRows, 'frozen', pool)}))`);
}
