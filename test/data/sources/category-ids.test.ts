import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { openDuckDb } from '../../../data/duckdb.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';
import { createFeaturizer } from '../../../features/featurizer.ts';
import { lake, range, rowsSql, write } from './lake.ts';
import { featuresOf, loaded, START, temporaryFolder } from './loaded.ts';

describe('categorical values', () => {
  const values: { raw: unknown; sql: string }[] = [
    { raw: 'news', sql: `'news'` },
    { raw: 'æøå "quoted", 1', sql: `'æøå "quoted", 1'` },
    { raw: '', sql: `''` },
    { raw: null, sql: 'NULL::VARCHAR' },
    { raw: 42, sql: '42' },
    { raw: -3, sql: '(-3)::TINYINT' },
    { raw: 9007199254740991, sql: '9007199254740991' },
    { raw: '12345678901234567890', sql: '12345678901234567890::UBIGINT' },
    { raw: true, sql: 'true' },
    { raw: false, sql: 'false' },
    { raw: 5.0, sql: '5.0::DOUBLE' },
    { raw: 0.1, sql: '0.1::FLOAT' },
    { raw: 0.1, sql: '0.1::DECIMAL(9,3)' },
    { raw: 0.1 + 0.2, sql: '0.1::DOUBLE + 0.2::DOUBLE' },
    { raw: 1e21, sql: '1e21::DOUBLE' },
    { raw: -0, sql: `'-0'::DOUBLE` },
    { raw: NaN, sql: `'nan'::DOUBLE` },
  ];

  test.each(values)('get the id that the featurizer logs for a request: $sql', async ({ raw, sql }) => {
    const declared = featuresOf([{ kind: 'categorical', name: 'value', field: 'raw_value_' }]);
    const featurizer = createFeaturizer(declared, await loadFeatureHash());
    const candidate = { id: '1', features: { raw_value_: raw } };
    const logged = featurizer.loggedFeatures(
      featurizer.featurize({ user: {}, context: {}, candidates: [candidate] }),
      0,
    );
    const path = await write(
      join(await temporaryFolder(), 'rows.parquet'),
      rowsSql(2, { more: `, ${sql} AS raw_value_` }),
    );

    const { rows } = await loaded(lake({ path }), { range, features: declared });

    expect(rows.map((row) => row.features)).toEqual([logged, logged]);
  });

  test('are hashed once each, also when there are many', async () => {
    const path = await write(
      join(await temporaryFolder(), 'rows.parquet'),
      rowsSql(120_000, { time: String(START), more: `, 'v' || n AS v` }),
    );
    const declared = featuresOf([{ kind: 'categorical', name: 'v' }]);
    const db = await openDuckDb();
    onTestFinished(() => {
      db.close();
    });
    await lake({ path }).load(db, range, declared);
    const seen = await db.row(
      'SELECT count(*) AS rows, count(DISTINCT features.v) AS ids FROM source_rows',
      z.object({ rows: z.number(), ids: z.number() }),
    );
    expect(seen).toEqual({ rows: 120_000, ids: 120_000 });
    const last = await db.row(
      `SELECT features.v AS id FROM source_rows WHERE user_id = 'u119999'`,
      z.object({ id: z.string() }),
    );
    expect(last.id).toBe(String((await loadFeatureHash())('v119999')));
  });
});
