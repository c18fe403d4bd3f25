import { z } from 'zod';
import type { Feature, LineConfig } from '../config/schema.ts';
import { sqlName, sqlText, type Duck } from './duckdb.ts';
import { loggedValue } from './snapshot-columns.ts';
import type { JoinedFeature } from './snapshot-joins.ts';
import type { DataSource } from './sources/data-source.ts';

/** The times that decide which row goes where; Unix ms of event time. */
export interface SnapshotTimes {
  eventNowMs: number;
  cutoffMs: number;
  windowStartMs: number;
  /** No row before this is fresh or late. */
  oldestMs: number;
  /** Where reading starts: history for the replay and for the comparison with one season back. */
  reachMs: number;
  /** Rows of before the window that arrived from here on are late; null when nothing was trained before. */
  parentTakenAtMs: number | null;
}

/** SQL that is true for a row the source could not give whole. */
export const MALFORMED =
  '(impression_id IS NULL OR line IS NULL OR user_id IS NULL OR item_id IS NULL OR event_time_ms IS NULL OR arrived_at_ms IS NULL)';

const KEY = 'user_id, item_id, event_time_ms';

/** Decides between rows that repeat each other: the first to arrive, and below that by content, never by file order. */
const FIRST =
  'arrived_at_ms, event_time_ms, impression_id, request_id, user_id, item_id, position, version, arm, propensity, score, features';

/**
 * Reads the source once into tables `source_rows` and `source_feedback`; all that follows reads these.
 */
export async function loadSource(
  db: Duck,
  input: { source: DataSource; config: LineConfig; times: SnapshotTimes },
): Promise<void> {
  const { source, config, times } = input;
  const range = { line: config.line, fromMs: times.reachMs, toMs: times.eventNowMs };
  const names = config.features.map(({ name }) => name);
  await db.run(
    `CREATE TABLE source_rows AS SELECT row_number() OVER () AS row, * FROM ${await source.impressions(range, names)}`,
  );
  await db.run(`CREATE TABLE source_feedback AS SELECT * FROM ${await source.feedback(range)}`);
}

/**
 * Table `unique_rows`: the line's rows that had arrived, each once, with its label from the feedback that had arrived. A
 * row is the same by impression id, and by user, item and time; feedback on either copy counts.
 */
export async function removeDuplicates(db: Duck, input: { config: LineConfig; times: SnapshotTimes }): Promise<void> {
  const { line, label } = input.config;
  const here = `line = ${sqlText(line)} AND arrived_at_ms < ${String(input.times.eventNowMs)}`;
  const positive =
    label.event === 'click' ? `event = 'click'` : `event = 'dwell' AND value >= ${String(label.minDwell)}`;
  await db.run(`
    CREATE TABLE positive_ids AS SELECT DISTINCT impression_id FROM source_feedback WHERE ${here} AND ${positive}`);
  await db.run(`CREATE TABLE arrived AS SELECT * FROM source_rows WHERE NOT ${MALFORMED} AND ${here}`);
  await db.run(`DELETE FROM arrived WHERE row IN (${repeats('impression_id')})`);
  await db.run(`
    CREATE TABLE positive_keys AS SELECT DISTINCT ${KEY} FROM arrived WHERE impression_id IN (FROM positive_ids)`);
  await db.run(`DELETE FROM arrived WHERE row IN (${repeats(KEY)})`);
  await db.run(`
    CREATE TABLE unique_rows AS
    SELECT arrived.* EXCLUDE (request_id), coalesce(request_id, impression_id) AS request_id,
      CAST(positive_keys.user_id IS NOT NULL AS TINYINT) AS label
    FROM arrived LEFT JOIN positive_keys USING (${KEY})`);
}

/** SQL of the `row` of every row of `arrived` that repeats another. Only rows that have a double are sorted: they are few. */
function repeats(key: string): string {
  return `
    SELECT row FROM (
      SELECT row, row_number() OVER (PARTITION BY ${key} ORDER BY ${FIRST}) AS copy
      FROM arrived SEMI JOIN (SELECT ${key} FROM arrived GROUP BY ${key} HAVING count(*) > 1) USING (${key})
    ) WHERE copy > 1`;
}

/**
 * Table `parts`: each unique row's part, one of `immature`, `train`, `holdout`, `replay` and `history`, and whether it is
 * late. A request's rows stay together. Returns the time that parts train from holdout.
 */
export async function assignParts(
  db: Duck,
  input: { config: LineConfig; times: SnapshotTimes },
): Promise<{ splitMs: number }> {
  const { cutoffMs, windowStartMs, oldestMs, parentTakenAtMs } = input.times;
  const { holdoutShare, replayShare } = input.config.snapshot;
  const late =
    parentTakenAtMs === null
      ? 'false'
      : `event_time_ms > ${String(oldestMs)} AND arrived_at_ms >= ${String(parentTakenAtMs)}`;
  await db.run(`
    CREATE TABLE ages AS
    SELECT row, impression_id,
      CASE WHEN event_time_ms > ${String(cutoffMs)} THEN 'immature'
           WHEN event_time_ms > ${String(windowStartMs)} THEN 'fresh'
           WHEN ${late} THEN 'late'
           ELSE 'history' END AS age,
      CASE WHEN age = 'fresh' THEN min(event_time_ms) OVER (PARTITION BY request_id, age) END AS request_ms
    FROM unique_rows`);
  // The holdout begins after a time, not after a row: what shares a time, such as a slate, is never torn.
  const { split } = await db.row(
    `SELECT (SELECT request_ms FROM ages WHERE age = 'fresh' ORDER BY request_ms
       LIMIT 1 OFFSET (SELECT greatest(0, ceil(count(*) * ${String(1 - holdoutShare)}) - 1) FROM ages WHERE age = 'fresh')) AS split`,
    z.object({ split: z.number().nullable() }),
  );
  const splitMs = split ?? windowStartMs;
  await db.run(`
    CREATE TABLE parts AS
    SELECT row, age = 'late' AS late,
      CASE age WHEN 'fresh' THEN CASE WHEN request_ms <= ${String(splitMs)} THEN 'train' ELSE 'holdout' END
               WHEN 'late' THEN 'train' ELSE age END AS part
    FROM ages`);
  const salt = sqlText(`${String(input.config.training.seed)}:${String(cutoffMs)}:`);
  await db.run(`
    UPDATE parts SET part = 'replay' WHERE row IN (
      SELECT row FROM ages WHERE age = 'history' ORDER BY md5(${salt} || impression_id), impression_id
      LIMIT (SELECT CAST(floor(count(*) * ${String(replayShare / (1 - replayShare))}) AS BIGINT) FROM parts WHERE part = 'train')
    )`);
  return { splitMs };
}

/** Table `snapshot_rows`: the rows of train, holdout and replay with the snapshot's columns, and what was logged. */
export async function addFeatures(
  db: Duck,
  input: { features: readonly Feature[]; joined: readonly JoinedFeature[] },
): Promise<void> {
  const tables = new Map(input.joined.map(({ name, table }) => [name, table]));
  const values = input.features.map((feature) => {
    const table = tables.get(feature.name);
    const logged = loggedValue(feature);
    const finite =
      table === undefined ? '' : `CASE WHEN isfinite(${table}.value) THEN TRY_CAST(${table}.value AS FLOAT) END`;
    const value = table === undefined ? (feature.kind === 'categorical' ? `coalesce(${logged}, 0)` : logged) : finite;
    return `${value} AS ${sqlName(feature.name)}`;
  });
  const joins = input.joined.map(({ table }) => `LEFT JOIN ${table} USING (user_id, item_id, event_time_ms)`);
  await db.run(`
    CREATE TABLE snapshot_rows AS
    SELECT part, late, impression_id, request_id, user_id, item_id, event_time_ms, arrived_at_ms, position, version, arm,
      propensity, score, label, features AS logged, ${values.join(', ')}
    FROM unique_rows JOIN parts USING (row) ${joins.join(' ')}
    WHERE part IN ('train', 'holdout', 'replay')`);
}
