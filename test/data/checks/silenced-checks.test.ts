import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { Feed, feedConfig, HOUR, resultOf, START, temporaryFolder } from '../feed.ts';

test('a joined feature that is brilliant offline and absent live is stopped by three checks, unless they are silenced', async () => {
  const table = join(await temporaryFolder(), 'ratios.parquet');
  const feature = {
    kind: 'numeric' as const,
    name: 'ratio',
    joined: {
      path: '{log}',
      column: 'ratio',
      on: { userId: 'user', itemId: 'item', eventTimeMs: 'at' },
      parity: 'unverified' as const,
    },
  };
  const feed = await Feed.open(feedConfig({ features: [{ kind: 'categorical', name: 'topic' }, feature] }));
  await feed.playTo(START + 8 * HOUR);
  const db = await openDuckDb();
  await db.run(`
    COPY (SELECT userId AS user, itemId AS item, eventTimeMs AS "at",
            CAST(regexp_extract(impressionId, 'token([0-9]+)', 1) AS INT) % 3 = 0 AS clicked, CAST(clicked AS INT) AS ratio
          FROM read_json(${sqlText(`${feed.root}/impressions/*/*/*.ndjson`)}))
    TO ${sqlText(table)} (FORMAT parquet)`);
  db.close();

  const { manifest } = await feed.snapshot({ tables: { log: table } });
  const guarded = await feed.check(manifest);
  const guards = ['feature-parity', 'leakage', 'leakage.time'] as const;
  const silences = guards.map((guard) => ({
    guard,
    until: '2026-02-01T00:00:00Z',
    reason: 'shows what the guard is for',
  }));
  const silenced = await feed.check(manifest, { config: { ...feed.config, silences } });

  expect(guarded.results.filter(({ status }) => status === 'block').map(({ check }) => check)).toEqual([...guards]);
  expect(silenced.verdict).toBe('pass');
  expect(resultOf(silenced, 'leakage')).toMatchObject({
    status: 'silenced',
    wouldBe: 'block',
    severity: 'warning',
    silence: { until: '2026-02-01T00:00:00Z', reason: 'shows what the guard is for' },
  });
});

test('a silence is told also of a check that passes', async () => {
  const feed = await Feed.open();
  await feed.playTo(START + 8 * HOUR);
  const silences = [{ guard: 'label' as const, until: '2026-02-01T00:00:00Z', reason: 'labels are being moved' }];
  const report = await feed.check((await feed.snapshot()).manifest, { config: { ...feed.config, silences } });
  expect(resultOf(report, 'label')).toMatchObject({ status: 'pass', silence: { reason: 'labels are being moved' } });
});
