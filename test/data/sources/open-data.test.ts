import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { loadLineConfig } from '../../../config/load.ts';
import { openDuckDb, type Duck } from '../../../data/duckdb.ts';
import { sourceOf, type SourceReading } from '../../../data/sources/index.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';

const ROOT = join(import.meta.dirname, '../../..');
const DATA = join(ROOT, '../shared/data');
const whole = z.number();

/** Loads a shipped line's source from the open data. */
async function load(name: string, folder: string, fromMs: number): Promise<{ db: Duck; reading: SourceReading }> {
  const config = await loadLineConfig(join(ROOT, 'config', `${name}.yaml`));
  const db = await openDuckDb();
  onTestFinished(() => {
    db.close();
  });
  const source = sourceOf(config, { logRoot: '', processEnv: { FRESHET_DATA: folder } });
  const range = { line: config.line, fromMs, toMs: fromMs + 30 * 86_400_000 };
  return { db, reading: await source.load(db, range, config.features) };
}

describe('EB-NeRD', () => {
  const folder = join(DATA, 'ebnerd');
  test.skipIf(!existsSync(folder))('has 10,848 candidates of 1,046 impressions, 1,047 of them clicked', async () => {
    const { db, reading } = await load('ebnerd', folder, Date.UTC(2023, 1, 1));

    expect(reading.rows).toBe(10_848);
    const seen = await db.row(
      `SELECT count(*) AS rows, count(DISTINCT request_id) AS impressions, count(DISTINCT impression_id) AS ids,
         min(event_time_ms) AS first, max(position) AS last, count(*) FILTER (features.gender = '0') AS genderless
       FROM source_rows`,
      z.object({ rows: whole, impressions: whole, ids: whole, first: whole, last: whole, genderless: whole }),
    );
    expect(seen).toMatchObject({ rows: 10_848, impressions: 1_046, ids: 10_848 });
    expect(seen.first).toBe(Date.UTC(2023, 1, 23, 7, 45, 40));
    expect(seen.genderless).toBe(2_565);
    const clicks = await db.row(
      'SELECT count(*) AS clicks, count(DISTINCT request_id) AS impressions FROM source_feedback JOIN source_rows USING (impression_id)',
      z.object({ clicks: whole, impressions: whole }),
    );
    expect(clicks).toEqual({ clicks: 1_047, impressions: 1_046 });
    const hash = await loadFeatureHash();
    const first = await db.row(
      `SELECT item_id, features.article AS article, features.is_subscriber AS subscriber FROM source_rows WHERE request_id = '9' AND position = 2`,
      z.object({ item_id: z.string(), article: z.string(), subscriber: z.string() }),
    );
    expect(first).toEqual({ item_id: '9651983', article: String(hash(9651983)), subscriber: String(hash(true)) });
  });
});

describe('KuaiRand', () => {
  const folder = join(DATA, 'kuairand');
  test.skipIf(!existsSync(folder))('has 94,784 rows, 43.8 % of them clicked', async () => {
    const { db, reading } = await load('kuairand-lake', folder, Date.UTC(2022, 3, 24));

    expect(reading.rows).toBe(94_784);
    const seen = await db.row(
      `SELECT count(*) AS rows, count(impression_id) AS readable, count(DISTINCT impression_id) AS ids,
         (SELECT count(DISTINCT impression_id) FROM source_feedback WHERE event = 'click') AS clicked,
         (SELECT count(*) FROM source_feedback WHERE event = 'click') AS clicks
       FROM source_rows`,
      z.object({ rows: whole, readable: whole, ids: whole, clicked: whole, clicks: whole }),
    );
    expect(seen).toMatchObject({ rows: 94_784, readable: 94_784 });
    expect(seen.clicks / seen.rows).toBeCloseTo(0.438, 3);
    // 3.1 % of the rows repeat a user, video and time: the same impression.
    expect(1 - seen.ids / seen.rows).toBeCloseTo(0.031, 3);
  });

  test.skipIf(!existsSync(folder))('read from a day on is short of exactly the rows of before', async () => {
    const fromMs = Date.UTC(2022, 3, 28);
    const { db, reading } = await load('kuairand-lake', folder, fromMs);
    const { rows } = await db.row(
      `SELECT count(*) AS rows FROM '${join(folder, 'impressions.parquet')}' WHERE time_ms >= ${String(fromMs)}`,
      z.object({ rows: whole }),
    );
    expect(reading.rows).toBe(rows);
  });
});
