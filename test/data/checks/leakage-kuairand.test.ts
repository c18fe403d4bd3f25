import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { LineConfigInput } from '../../../config/schema.ts';
import type { Finding } from '../../../data/checks/check.ts';
import { checkLeakage } from '../../../data/checks/leakage.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from '../../../data/duckdb.ts';
import type { SnapshotManifest } from '../../../data/snapshot-manifest.ts';
import { contextOf, lineOf } from './comparison-rig.ts';

const LOG = join(import.meta.dirname, '../../../../shared/data/kuairand');
const HOUR = 3_600_000;

/** Written after the impression. */
const LEAKS = ['play_time_ms', 'watch_ratio', 'long_view', 'long_watch', 'finish', 'is_positive', 'comment_stay_time'];
const FLAGS = ['long_view', 'long_watch', 'finish', 'is_positive'];
const KNOWN = ['user_id', 'video_id', 'author_id', 'tag', 'tab', 'duration_ms', 'upload_dt', 'freshness_days'];

type FeatureInput = LineConfigInput['features'][number];

/** Features named `numeric_COLUMN` and `categorical_COLUMN`, and the SQL that makes them. */
class Columns {
  readonly features: FeatureInput[] = [];
  readonly sql: string[] = [];

  add(column: string, kind: 'numeric' | 'categorical', number = `CAST(${sqlName(column)} AS FLOAT)`): void {
    const name = `${kind}_${column}`;
    const text = `CAST(${sqlName(column)} AS VARCHAR)`;
    const id = `CASE WHEN ${text} IS NULL THEN 0 ELSE CAST(hash(${text}) >> 1 AS BIGINT) END`;
    this.features.push({ kind, name });
    this.sql.push(`${kind === 'numeric' ? number : id} AS ${sqlName(name)}`);
  }
}

describe.skipIf(!existsSync(join(LOG, 'impressions.parquet')))(
  'on KuaiRand (skipped where the log is not there)',
  () => {
    let db: Duck;
    let firstMs = 0;
    const leaking = new Columns();
    const known = new Columns();

    beforeAll(async () => {
      db = await openDuckDb();
      const file = (name: string): string => sqlText(join(LOG, name));
      await db.run(`
      CREATE TABLE log AS
      SELECT row_number() OVER () AS row, impressions.*, users.* EXCLUDE (user_id),
        COLUMNS(videos.* EXCLUDE (video_id)) AS 'video_\\0'
      FROM ${file('impressions.parquet')} AS impressions
      LEFT JOIN ${file('user_features_pure.csv')} AS users USING (user_id)
      LEFT JOIN ${file('video_features_basic_pure.csv')} AS videos USING (video_id)
      QUALIFY row_number() OVER (PARTITION BY user_id, impressions.video_id, time_ms ORDER BY play_time_ms) = 1`);
      const table = await db.describe('SELECT * FROM log');
      const after = table.findIndex(({ name }) => name === 'user_active_degree');
      for (const [index, { name, type }] of table.entries()) {
        if (!KNOWN.includes(name) && index < after) continue;
        known.add(name, 'categorical');
        if (/INT|DOUBLE|FLOAT/.test(type)) known.add(name, 'numeric');
        if (/upload_dt/.test(name))
          known.add(name, 'numeric', `CAST(epoch(CAST(${sqlName(name)} AS DATE)) / 86400 AS FLOAT)`);
      }
      for (const name of KNOWN) leaking.add(name, 'categorical');
      for (const name of LEAKS) leaking.add(name, 'numeric');
      for (const name of FLAGS) leaking.add(name, 'categorical');
      const columns = [...new Set([...known.sql, ...leaking.sql])];
      await db.run(
        `CREATE TABLE prepared AS SELECT 'impression-' || row AS impression_id, time_ms, CAST(is_click AS TINYINT) AS label, ${columns.join(', ')} FROM log`,
      );
      ({ firstMs } = await db.row('SELECT min(time_ms) AS firstMs FROM log', z.object({ firstMs: z.number() })));
    }, 60_000);
    afterAll(() => {
      db.close();
    });

    async function check({ features }: Columns, fromHour: number, hours: number): Promise<Finding> {
      const from = firstMs + fromHour * HOUR;
      await db.run(
        `CREATE OR REPLACE VIEW fresh AS FROM prepared WHERE time_ms >= ${String(from)} AND time_ms < ${String(from + hours * HOUR)}`,
      );
      const counts = await db.row(
        'SELECT count(*) AS train, 0 AS holdout, sum(label) AS positives FROM fresh',
        z.object({ train: z.number(), holdout: z.number(), positives: z.number() }),
      );
      const manifest = { counts } as unknown as SnapshotManifest;
      return checkLeakage(contextOf({ config: lineOf(features), manifest, db }));
    }

    const named = ({ numbers }: Finding): string[] =>
      Object.keys(numbers).flatMap((name) => (/^(auc|rate)\./.test(name) ? [name.replace(/^\w+\./, '')] : []));
    const all = [...LEAKS.map((name) => `numeric_${name}`), ...FLAGS.map((name) => `categorical_${name}`)].toSorted();

    test('nothing that is known before the impression gives the label away, on the whole log, a day and four hours', async () => {
      expect(known.features.length).toBe(89);
      for (const [fromHour, hours] of [
        [0, 146],
        [30, 24],
        [6, 4],
        [78, 4],
      ] as const) {
        const finding = await check(known, fromHour, hours);
        expect(finding, finding.message).toMatchObject({ status: 'pass' });
      }
    }, 60_000);

    test('everything that is written after it is found on the whole log and on a day, and nothing else', async () => {
      for (const [fromHour, hours] of [
        [0, 146],
        [30, 24],
        [100, 24],
      ] as const) {
        const finding = await check(leaking, fromHour, hours);
        expect(finding.status).toBe('block');
        expect([...new Set(named(finding))].toSorted()).toEqual(all);
      }
    }, 60_000);

    test.each(LEAKS)('%s alone blocks a day', async (leak) => {
      const columns = new Columns();
      for (const name of KNOWN) columns.add(name, 'categorical');
      columns.add(leak, 'numeric');
      const finding = await check(columns, 54, 24);
      expect(finding.status).toBe('block');
      expect(finding.message).toContain(`"numeric_${leak}"`);
    });

    test('says where, how much and of how many', async () => {
      const columns = new Columns();
      columns.add('comment_stay_time', 'numeric');
      expect((await check(columns, 0, 146)).message).toMatch(
        /^"numeric_comment_stay_time" gives the label away where it is anything but 0: 0\.97 of 3,\d+ rows \(0\.0\d+ of all\) are positive, 0\.45 overall: it was most likely written after/,
      );
    });
  },
);
