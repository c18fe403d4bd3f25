import { z } from 'zod';
import type { Feature, LineConfig } from '../config/schema.ts';
import { sqlName, sqlText, type Duck } from './duckdb.ts';
import { loggedValue } from './snapshot-columns.ts';
import type { JoinedFeature } from './snapshot-joins.ts';
import { feedbackIs } from './snapshot-labels.ts';
import type { SnapshotReach } from './snapshot-times.ts';
import type { DataSource, SourceReading } from './sources/data-source.ts';

/** SQL that is true for a row the source could not give whole. */
export const MALFORMED =
  '(impression_id IS NULL OR line IS NULL OR user_id IS NULL OR item_id IS NULL OR event_time_ms IS NULL OR arrived_at_ms IS NULL)';

const KEY = 'user_id, item_id, event_time_ms';

/** Decides between rows that repeat each other: the first to arrive, and below that by content, never by file order. */
const FIRST =
  'arrived_at_ms, event_time_ms, impression_id, request_id, user_id, item_id, position, version, arm, propensity, score, features, known_at_ms';

/**
 * Reads the source once into tables `source_rows` and `source_feedback`; all that follows reads these.
 *
 * @throws Error when the source gave another number of rows than it says it holds: it may have changed meanwhile.
 */
export async function loadSource(
  db: Duck,
  input: { source: DataSource; config: LineConfig; reach: SnapshotReach; dropped: readonly string[] },
): Promise<SourceReading> {
  const { source, config, reach, dropped } = input;
  const range = { line: config.line, fromMs: reach.reachMs, toMs: reach.eventNowMs, dropped };
  const reading = await source.load(db, range, config.features);
  const { read } = await db.row('SELECT count(*) AS read FROM source_rows', z.object({ read: z.number() }));
  if (read !== reading.rows) {
    throw new Error(
      `${reading.location} says it holds ${String(reading.rows)} impressions, but ${String(read)} were read: it changed while it was read, or a file is damaged; take the snapshot again, and look at the source if it happens twice`,
    );
  }
  return reading;
}

/**
 * Table `unique_rows`: the line's rows that had arrived, each once. A row is the same by impression id, and by user, item
 * and time; feedback on either copy counts: `labelled_at_ms` is when the first positive feedback arrived, NULL without
 * any, and `proxied_at_ms` the same of the proxy's. Table `repeats`: the rows that were removed, and by what they repeat.
 * Drops `source_rows` and `source_feedback`, so that no more than two copies of the rows are there at a time.
 */
export async function removeDuplicates(db: Duck, input: { config: LineConfig; reach: SnapshotReach }): Promise<void> {
  const { line, label } = input.config;
  const eventNowMs = String(input.reach.eventNowMs);
  const here = `line = ${sqlText(line)} AND arrived_at_ms < ${eventNowMs}`;
  const isProxy = label.proxy === undefined ? 'false' : feedbackIs(label.proxy);
  await db.run(`
    CREATE TABLE answered_ids AS
    SELECT impression_id, min(arrived_at_ms) FILTER (${feedbackIs(label)}) AS labelled_at_ms, min(arrived_at_ms) FILTER (${isProxy}) AS proxied_at_ms
    FROM source_feedback WHERE ${here} AND impression_id IS NOT NULL AND (${feedbackIs(label)} OR ${isProxy})
    GROUP BY impression_id`);
  await db.run(`
    CREATE TABLE arrived AS
    SELECT * FROM source_rows WHERE NOT ${MALFORMED} AND ${here} AND event_time_ms <= ${eventNowMs}`);
  await db.run('DROP TABLE source_rows; DROP TABLE source_feedback');
  await db.run(`CREATE TABLE repeats AS ${repeats('impression_id', 'id')}`);
  await db.run('DELETE FROM arrived WHERE row IN (SELECT row FROM repeats)');
  await db.run(`
    CREATE TABLE answered_keys AS
    SELECT ${KEY}, min(labelled_at_ms) AS labelled_at_ms, min(proxied_at_ms) AS proxied_at_ms
    FROM arrived JOIN answered_ids USING (impression_id) GROUP BY ${KEY}`);
  await db.run(`INSERT INTO repeats ${repeats(KEY, 'key')}`);
  await db.run('DELETE FROM arrived WHERE row IN (SELECT row FROM repeats)');
  await db.run(`
    CREATE TABLE unique_rows AS
    SELECT arrived.* EXCLUDE (request_id), coalesce(request_id, impression_id) AS request_id, labelled_at_ms, proxied_at_ms
    FROM arrived LEFT JOIN answered_keys USING (${KEY})`);
  await db.run('DROP TABLE arrived');
}

/** SQL of the rows of `arrived` that repeat another. Only rows that have a double are sorted: they are few. */
function repeats(key: string, by: 'id' | 'key'): string {
  return `
    SELECT row, event_time_ms, '${by}' AS repeated FROM (
      SELECT row, event_time_ms, row_number() OVER (PARTITION BY ${key} ORDER BY ${FIRST}) AS copy
      FROM arrived SEMI JOIN (SELECT ${key} FROM arrived GROUP BY ${key} HAVING count(*) > 1) USING (${key})
    ) WHERE copy > 1`;
}

/**
 * Table `snapshot_rows`: the rows that go to a file, with the snapshot's columns. Besides, under names that no feature can
 * have: the file, whether the label is a proxy, and what the source said of the features.
 */
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
    SELECT file AS "#file", by_proxy AS "#by_proxy", features AS "#logged", known_at_ms AS "#known_at_ms", impression_id, request_id,
      user_id, item_id, event_time_ms, arrived_at_ms, position, version, arm, propensity, score,
      CASE WHEN file <> 'unlabelled' THEN label END AS label, ${values.join(', ')}
    FROM labelled_rows JOIN parts USING (row) ${joins.join(' ')}
    WHERE file IS NOT NULL`);
}
