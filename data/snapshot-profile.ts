import { z } from 'zod';
import type { Feature, LineConfig } from '../config/schema.ts';
import { sqlName, sqlText, type Duck } from './duckdb.ts';
import { loggedValue } from './snapshot-columns.ts';
import { joinOf } from './snapshot-joins.ts';
import type { SnapshotManifest } from './snapshot-manifest.ts';
import { MALFORMED, type SnapshotTimes } from './snapshot-rows.ts';

const HOUR_MS = 3_600_000;
const int = z.number().int();

/**
 * Counts of every row that was read, by where it went.
 *
 * @throws Error when they do not add up: a row was lost or counted twice, and the snapshot must not be used.
 */
export async function countRows(
  db: Duck,
  input: { line: string; eventNowMs: number },
): Promise<SnapshotManifest['counts']> {
  const line = sqlText(input.line);
  const source = await db.row(
    `SELECT count(*) AS read,
       count(*) FILTER (${MALFORMED}) AS malformed,
       count(*) FILTER (NOT ${MALFORMED} AND line <> ${line}) AS otherLine,
       count(*) FILTER (NOT ${MALFORMED} AND line = ${line} AND arrived_at_ms >= ${String(input.eventNowMs)}) AS notArrived
     FROM source_rows`,
    z.object({ read: int, malformed: int, otherLine: int, notArrived: int }),
  );
  const { unique } = await db.row('SELECT count(*) AS "unique" FROM unique_rows', z.object({ unique: int }));
  const parts = await db.row(
    `SELECT count(*) FILTER (part = 'immature') AS immature, count(*) FILTER (part = 'history') AS history FROM parts`,
    z.object({ immature: int, history: int }),
  );
  const written = await db.row(
    `SELECT count(*) FILTER (part = 'train') AS train, count(*) FILTER (part = 'holdout') AS holdout,
       count(*) FILTER (part = 'replay') AS replay, count(*) FILTER (late) AS lateIncluded,
       count(*) FILTER (part <> 'replay' AND label = 1) AS positives
     FROM snapshot_rows`,
    z.object({ train: int, holdout: int, replay: int, lateIncluded: int, positives: int }),
  );
  const arrived = source.read - source.malformed - source.otherLine - source.notArrived;
  const counts = { ...source, duplicates: arrived - unique, ...parts, ...written };
  const placed = parts.immature + parts.history + written.train + written.holdout + written.replay;
  if (placed !== unique || counts.duplicates < 0) {
    throw new Error(
      `the snapshot's rows do not add up: ${String(unique)} rows to place, ${String(placed)} placed; it must not be used`,
    );
  }
  return counts;
}

/** Of the feedback that had arrived: how much there is, and how much has no impression. */
export async function countFeedback(
  db: Duck,
  input: { line: string; eventNowMs: number },
): Promise<SnapshotManifest['feedback']> {
  return db.row(
    `SELECT count(*) AS read, count(*) FILTER (impression_id IS NULL) AS malformed,
       count(*) FILTER (impression_id IS NOT NULL AND impression_id NOT IN (SELECT impression_id FROM source_rows WHERE impression_id IS NOT NULL)) AS orphans
     FROM source_feedback
     WHERE impression_id IS NULL OR (line = ${sqlText(input.line)} AND arrived_at_ms < ${String(input.eventNowMs)})`,
    z.object({ read: int, malformed: int, orphans: int }),
  );
}

/** How often each feature is missing in the fresh rows: as trained on, and as it was when served. */
export async function profileFeatures(db: Duck, features: readonly Feature[]): Promise<SnapshotManifest['features']> {
  const profiles: SnapshotManifest['features'] = [];
  for (const feature of features) {
    const column = sqlName(feature.name);
    const logged = loggedValue(feature).replaceAll('features.', 'logged.');
    const none = feature.kind === 'categorical' ? ' = 0' : ' IS NULL';
    const served = feature.kind === 'categorical' ? `coalesce(${logged}, 0)` : `(${logged})`;
    const shares = await db.row(
      `SELECT avg(CAST(${column}${none} AS DOUBLE)) AS missingTrained, avg(CAST(${served}${none} AS DOUBLE)) AS missingServed,
         count(*) FILTER (logged.${column} IS NOT NULL AND (${logged}) IS NULL) AS invalid
       FROM snapshot_rows WHERE part <> 'replay'`,
      z.object({ missingTrained: z.number().nullable(), missingServed: z.number().nullable(), invalid: int }),
    );
    profiles.push({ name: feature.name, kind: feature.kind, joined: joinOf(feature) !== null, ...shares });
  }
  return profiles;
}

/** The source's volume over time, for freshness and for the comparison with one season back. */
export async function profileSource(
  db: Duck,
  input: { config: LineConfig; times: SnapshotTimes },
): Promise<SnapshotManifest['source']> {
  const { cutoffMs } = input.times;
  const { season } = input.config.snapshot;
  const { recentWindow } = input.config.checks.freshness;
  const within = (endMs: number): string =>
    `event_time_ms > ${String(endMs - recentWindow)} AND event_time_ms <= ${String(endMs)}`;
  const summary = await db.row(
    `SELECT min(event_time_ms) AS firstEventMs, max(event_time_ms) AS newestEventMs, max(arrived_at_ms) AS newestArrivalMs,
       count(*) FILTER (${within(cutoffMs)}) AS recent, count(*) FILTER (${within(cutoffMs - season)}) AS recentSeasonBack
     FROM unique_rows`,
    z.object({
      firstEventMs: int.nullable(),
      newestEventMs: int.nullable(),
      newestArrivalMs: int.nullable(),
      recent: int,
      recentSeasonBack: int,
    }),
  );
  const hourly = await db.rows(
    `SELECT ${String(cutoffMs)} - (CAST(floor((${String(cutoffMs)} - event_time_ms) / ${String(HOUR_MS)}.0) AS BIGINT) + 1) * ${String(HOUR_MS)} AS startMs,
       count(*) AS rows, sum(label) AS positives
     FROM unique_rows GROUP BY startMs ORDER BY startMs`,
    z.object({ startMs: int, rows: int, positives: int }),
  );
  return { ...summary, hourly: hourly.map((hour) => ({ ...hour, mature: hour.startMs < cutoffMs })) };
}
