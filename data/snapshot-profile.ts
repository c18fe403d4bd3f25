import { z } from 'zod';
import type { Feature, LineConfig } from '../config/schema.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import { sqlName, type Duck } from './duckdb.ts';
import { profileColumns, profileRelation, serializeProfile } from './profile/index.ts';
import { loggedValue } from './snapshot-columns.ts';
import { joinOf } from './snapshot-joins.ts';
import { ARRIVAL_AGES_MS, type SnapshotManifest } from './snapshot-manifest.ts';
import type { SnapshotTimes } from './snapshot-times.ts';
import type { SourceReading } from './sources/data-source.ts';

const HOUR_MS = 3_600_000;
const int = z.number().int();
const FRESH = `"#file" IN ('train', 'holdout')`;

/** Profiles the fresh rows and the unlabelled ones, and stores the profiles. */
export async function storeProfiles(
  db: Duck,
  input: { config: LineConfig; artifacts: Pick<ArtifactStore, 'put'> },
): Promise<SnapshotManifest['profiles']> {
  const { config, artifacts } = input;
  const profileOf = async (name: string, condition: string): Promise<SnapshotManifest['profiles']['fresh']> => {
    await db.run(`CREATE VIEW ${name} AS SELECT * FROM snapshot_rows WHERE ${condition}`);
    const profile = await profileRelation(db, {
      relation: name,
      columns: profileColumns(config.features),
      keyColumn: 'impression_id',
      timeColumn: 'event_time_ms',
      sampleSize: config.snapshot.profileSample,
    });
    return profile.rows === 0 ? null : artifacts.put(serializeProfile(profile));
  };
  return {
    fresh: await profileOf('fresh_rows', FRESH),
    unlabelled: await profileOf('unlabelled_rows', `"#file" = 'unlabelled'`),
  };
}

/** How often each feature is missing in the fresh rows: as trained on, and as it was when served. */
export async function profileFeatures(db: Duck, features: readonly Feature[]): Promise<SnapshotManifest['features']> {
  const profiles: SnapshotManifest['features'] = [];
  for (const feature of features) {
    const column = sqlName(feature.name);
    const logged = loggedValue(feature).replaceAll('features.', '"#logged".');
    const none = feature.kind === 'categorical' ? ' = 0' : ' IS NULL';
    const served = feature.kind === 'categorical' ? `coalesce(${logged}, 0)` : `(${logged})`;
    const joined = joinOf(feature) !== null;
    const saysWhen = feature.knownAt !== undefined && !joined;
    const shares = await db.row(
      `SELECT avg(CAST(${column}${none} AS DOUBLE)) AS missingTrained, avg(CAST(${served}${none} AS DOUBLE)) AS missingServed,
         count(*) FILTER ("#logged".${column} IS NOT NULL AND (${logged}) IS NULL) AS invalid,
         ${saysWhen ? `count(*) FILTER ("#known_at_ms".${column} > event_time_ms)` : 'NULL'} AS knownAfter
       FROM snapshot_rows WHERE ${FRESH}`,
      z.object({
        missingTrained: z.number().nullable(),
        missingServed: z.number().nullable(),
        invalid: int,
        knownAfter: int.nullable(),
      }),
    );
    profiles.push({ name: feature.name, kind: feature.kind, joined, ...shares });
  }
  return profiles;
}

/** The source as it was: its volume over time, for freshness and for comparisons with one season and one week back. */
export async function profileSource(
  db: Duck,
  input: { config: LineConfig; times: SnapshotTimes; reading: SourceReading },
): Promise<SnapshotManifest['source']> {
  const { config, times, reading } = input;
  const { cutoffMs, reachMs } = times;
  const { season } = config.snapshot;
  const { recentWindow } = config.checks.freshness;
  const within = (endMs: number): string =>
    `event_time_ms > ${String(endMs - recentWindow)} AND event_time_ms <= ${String(endMs)}`;
  const summary = await db.row(
    `SELECT min(event_time_ms) FILTER (event_time_ms > ${String(reachMs)}) AS firstEventMs, max(event_time_ms) AS newestEventMs,
       max(arrived_at_ms) AS newestArrivalMs,
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
  const repeats = await db.row(
    `SELECT count(*) FILTER (repeated = 'id') AS byId, count(*) FILTER (repeated = 'key') AS byKey FROM repeats`,
    z.object({ byId: int, byKey: int }),
  );
  const { kind, location, rows, columns } = reading;
  const byName = columns.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { kind, location, rows, columns: byName, repeats, ...summary, hourly: await profileHours(db, times) };
}

/** Whole hours within the reach. */
async function profileHours(
  db: Duck,
  { cutoffMs, reachMs }: SnapshotTimes,
): Promise<SnapshotManifest['source']['hourly']> {
  const cutoff = String(cutoffMs);
  const hour = String(HOUR_MS);
  // (startMs, startMs + 1 h], counted from the cutoff backwards.
  const startMs = `${cutoff} - (CAST(floor((${cutoff} - event_time_ms) / ${hour}.0) AS BIGINT) + 1) * ${hour}`;
  const arrivals = ARRIVAL_AGES_MS.map(
    (ageMs) => `count(*) FILTER (arrived_at_ms <= start_ms + ${String(HOUR_MS + ageMs)})`,
  );
  const hourly = await db.rows(
    `WITH hours AS (
       SELECT start_ms, count(*) AS rows, sum(label) AS positives,
         count(*) FILTER (arrived_at_ms < event_time_ms) AS before_event,
         quantile_disc(arrived_at_ms - event_time_ms, 0.5) AS lag_p50, quantile_disc(arrived_at_ms - event_time_ms, 0.95) AS lag_p95,
         [${arrivals.join(', ')}] AS arrived_within
       FROM (SELECT *, ${startMs} AS start_ms FROM labelled_rows) GROUP BY start_ms
     ), removed AS (
       SELECT start_ms, count(*) AS duplicates FROM (SELECT ${startMs} AS start_ms FROM repeats) GROUP BY start_ms
     )
     SELECT start_ms AS startMs, coalesce(rows, 0) AS rows, coalesce(positives, 0) AS positives, coalesce(duplicates, 0) AS duplicates,
       coalesce(before_event, 0) AS beforeEvent, lag_p50 AS lagP50Ms, lag_p95 AS lagP95Ms, arrived_within AS arrivedWithin
     FROM hours FULL JOIN removed USING (start_ms) WHERE start_ms >= ${String(reachMs)} ORDER BY start_ms`,
    z.object({
      startMs: int,
      rows: int,
      positives: int,
      duplicates: int,
      beforeEvent: int,
      lagP50Ms: int.nullable(),
      lagP95Ms: int.nullable(),
      arrivedWithin: z.array(z.coerce.number()).nullable(),
    }),
  );
  return hourly.map(({ arrivedWithin, ...rest }) => ({
    ...rest,
    mature: rest.startMs < cutoffMs,
    arrivedWithin: arrivedWithin ?? ARRIVAL_AGES_MS.map(() => 0),
  }));
}
