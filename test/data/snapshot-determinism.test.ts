import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { DataSource } from '../../data/sources/data-source.ts';
import { eventLogSource } from '../../data/sources/event-log-source.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

describe('a snapshot is the same bytes', () => {
  test('in whatever order the source gives its rows', async () => {
    const feed = await Feed.open(
      feedConfig({ snapshot: { historicalShare: 0.05, historicalRows: 10, maxTrainRows: 400, replayShare: 0.2 } }),
    );
    const shown = Array.from({ length: 900 }, (_, n) => impression(n, { requestId: `request-${String(n >> 2)}` }));
    const twins = shown.slice(0, 50).map((row) => ({ ...row, score: 0.5 }));
    await feed.write(
      [...shown, ...twins],
      shown.filter((_, n) => n % 3 === 0).map((row) => clickOn(row)),
    );
    const parent = (await feed.snapshot({ eventNowMs: START + 10 * HOUR })).manifest;
    const take = async (source: DataSource): Promise<string> =>
      (await feed.snapshot({ eventNowMs: START + 15 * HOUR, parent, source })).snapshotId;

    const log = eventLogSource({ root: feed.root });
    const expected = await take(log);

    for (const seed of [1, 2, 3]) expect(await take(shuffled(log, seed))).toBe(expected);
  });

  // More than one row group of DuckDB (122,880 rows), so that threads share the work.
  test('with 1, 2 or 4 threads', { timeout: 60_000 }, async () => {
    const feed = await Feed.open(feedConfig({ snapshot: { maxTrainRows: 125_000 } }));
    const take = async (threads: number): Promise<string> => {
      const { snapshotId, manifest } = await feed.snapshot({
        eventNowMs: START + 24 * HOUR,
        source: generated(160_000),
        threads,
      });
      expect(manifest.counts.train).toBe(100_000);
      return snapshotId;
    };

    const expected = await take(1);

    expect(await take(2)).toBe(expected);
    expect(await take(4)).toBe(expected);
  });
});

/** The same rows in another order, numbered anew. */
function shuffled(source: DataSource, seed: number): DataSource {
  return {
    async load(db, ...rest) {
      const reading = await source.load(db, ...rest);
      const order = (column: string): string =>
        `ORDER BY md5(concat_ws(' ', impression_id, ${column}, '${String(seed)}'))`;
      await db.run(`
        CREATE OR REPLACE TABLE source_rows AS
        SELECT row_number() OVER () AS row, * FROM (SELECT * EXCLUDE (row) FROM source_rows ${order('score')})`);
      await db.run(`CREATE OR REPLACE TABLE source_feedback AS FROM source_feedback ${order('event')}`);
      return reading;
    },
  };
}

/** Rows over a day, every fifth clicked, some of them twice. */
function generated(rows: number): DataSource {
  const at = `(${String(START)} + CAST(i AS BIGINT) * ${String(24 * HOUR - 40 * MINUTE)} // ${String(rows)})`;
  return {
    async load(db) {
      await db.run(`
        CREATE TABLE source_rows AS
        SELECT row_number() OVER () AS row, 'i' || i AS impression_id, 'r' || i // 5 AS request_id, 'feed' AS line,
          'u' || i % 9973 AS user_id, 'v' || i % 1009 AS item_id, ${at} AS event_time_ms, ${at} + i % 5000 AS arrived_at_ms,
          CAST(i % 5 AS INTEGER) AS position, CAST(1 AS INTEGER) AS version, 'stable' AS arm, 1.0::DOUBLE AS propensity,
          1 / (1.5 + sin(i)) AS score, struct_pack(topic := CAST(i % 97 + 1 AS VARCHAR), length := CAST(cos(i) AS VARCHAR)) AS features,
          NULL AS known_at_ms
        FROM (SELECT i FROM range(${String(rows)}) r(i) UNION ALL SELECT i FROM range(0, ${String(rows)}, 1000) r(i))`);
      await db.run(`
        CREATE TABLE source_feedback AS
        SELECT 'i' || i AS impression_id, 'feed' AS line, 'click' AS event, NULL::DOUBLE AS value, ${at} AS event_time_ms,
          ${at} + 60000 AS arrived_at_ms
        FROM range(0, ${String(rows)}, 5) r(i)`);
      const { read } = await db.row('SELECT count(*) AS read FROM source_rows', z.object({ read: z.number() }));
      return { kind: 'lake', location: 'generated', rows: read, columns: [] };
    },
  };
}
