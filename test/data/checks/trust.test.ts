import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CheckReport, Reference, Rescore } from '../../../data/checks/check.ts';
import { checkFeedbackLoop } from '../../../data/checks/feedback-loop.ts';
import { checkLeakageOverlap } from '../../../data/checks/leakage-overlap.ts';
import { checkLeakageTime } from '../../../data/checks/leakage-time.ts';
import { checkScoreParity } from '../../../data/checks/score-parity.ts';
import { openDuckDb, type Duck } from '../../../data/duckdb.ts';
import type { Profile } from '../../../data/profile/index.ts';
import type { SnapshotManifest } from '../../../data/snapshot-manifest.ts';
import { contextOf, lineOf, NO_REFERENCES } from './comparison-rig.ts';

const HOUR = 3_600_000;
const PARTS = ['train', 'holdout', 'replay', 'historical'] as const;
const feed = lineOf([
  { kind: 'categorical', name: 'topic' },
  { kind: 'numeric', name: 'length' },
]);

let db: Duck;
beforeAll(async () => {
  db = await openDuckDb();
});
afterAll(() => {
  db.close();
});

/** Only what these checks read. */
function manifestWith(rows: number, changes: object = {}): SnapshotManifest {
  const one = [{ sha256: 'x', bytes: 1, rows: 1 }];
  const manifest = {
    counts: { train: rows * 0.8, holdout: rows * 0.2 },
    cutoffMs: 100 * HOUR,
    files: { train: one, holdout: one, replay: one, historical: one, unlabelled: [] },
    features: [],
    source: { kind: 'eventLog', firstEventMs: 0 },
    ...changes,
  };
  return manifest as unknown as SnapshotManifest;
}

/** 1,000 rows, five a request, the last 200 of them the holdout; replay and historical holdout lie before. */
async function writeParts(): Promise<void> {
  const rows = ([from, to]: readonly [number, number]) => `
    SELECT 'impression-' || i AS impression_id, 'request-' || i // 5 AS request_id, 'user-' || i % 97 AS user_id,
      'item-' || floor(50 * pow((hash(i) % 1000) / 1000, 2)) AS item_id, i * 1000 AS event_time_ms,
      CASE WHEN i % 50 = 0 THEN 0 WHEN i % 100 < 50 THEN 1 ELSE 2 END AS version,
      CASE WHEN i // 5 % 20 = 7 THEN 'exploration' ELSE 'stable' END AS arm,
      CAST(hash(i) % 1000 / 1000 AS DOUBLE) AS score, CAST(hash(i + 7) % 1000 < hash(i) % 1000 AS TINYINT) AS label,
      CAST(i % 7 + 1 AS BIGINT) AS topic, CAST(i % 30 AS FLOAT) AS length
    FROM range(${String(from)}, ${String(to)}) AS r(i)`;
  const spans = { historical: [0, 100], replay: [100, 200], train: [1_000, 1_800], holdout: [1_800, 2_000] } as const;
  for (const part of PARTS) await db.run(`CREATE OR REPLACE TABLE ${part} AS ${rows(spans[part])}`);
  await db.run('CREATE OR REPLACE VIEW fresh AS FROM train UNION ALL FROM holdout');
}

describe('leakage.time', () => {
  const joined = {
    path: 'a.parquet',
    column: 'a',
    on: { userId: 'u', itemId: 'i', eventTimeMs: 't' },
    parity: 'unverified' as const,
  };
  const priced = lineOf([{ kind: 'numeric', name: 'price', knownAt: 'priced_at' }]);
  const count = (knownAfter: number | null) => manifestWith(1_000, { features: [{ name: 'price', knownAfter }] });

  test('features that were logged are known when served', () => {
    expect(checkLeakageTime(contextOf({ config: feed, manifest: manifestWith(1_000) }))).toMatchObject({
      status: 'pass',
      numbers: { joined: 0 },
    });
  });

  test('a joined feature that does not say when it was known blocks, one that does passes', () => {
    const without = lineOf([{ kind: 'numeric', name: 'read_ratio', joined }]);
    const finding = checkLeakageTime(contextOf({ config: without, manifest: manifestWith(1_000) }));
    expect(finding.status).toBe('block');
    expect(finding.message).toMatch(
      /^"read_ratio" is joined after the fact .* name the column that does in "joined.knownAt"/,
    );
    const { eventTimeMs: _eventTimeMs, ...on } = joined.on;
    const withTime = lineOf([{ kind: 'numeric', name: 'read_ratio', joined: { ...joined, on, knownAt: 'at' } }]);
    expect(checkLeakageTime(contextOf({ config: withTime, manifest: manifestWith(1_000) })).status).toBe('pass');
  });

  test.each([
    [0, 'pass', /1 features say when they became known/],
    [1, 'pass', /before their impressions/],
    [2, 'block', /in 2 of 1,000 fresh rows: 0\.002 of them, at most 0\.001 expected/],
    [null, 'block', /nobody counted/],
  ] as const)('%s of 1,000 values known after the impression: %s', (late, status, says) => {
    const finding = checkLeakageTime(contextOf({ config: priced, manifest: count(late) }));
    expect(finding).toMatchObject({ status, message: expect.stringMatching(says) as string });
  });

  test('no fresh rows show nothing', () => {
    const manifest = { ...count(0), counts: { train: 0, holdout: 0 } } as unknown as SnapshotManifest;
    expect(checkLeakageTime(contextOf({ config: priced, manifest })).status).toBe('block');
  });
});

describe('leakage.overlap', () => {
  beforeEach(writeParts);
  const check = (manifest = manifestWith(1_000)) => checkLeakageOverlap(contextOf({ config: feed, manifest, db }));

  test('parts that have nothing in common pass', async () => {
    expect(await check()).toMatchObject({
      status: 'pass',
      numbers: { 'train.holdout.requests': 0, holdoutBeforeTrainEnds: 0 },
    });
  });

  const moved = (from: string, to: string, columns: string) =>
    `INSERT INTO ${to} SELECT * REPLACE (${columns}) FROM ${from} ORDER BY event_time_ms DESC LIMIT 3`;
  const OTHERS = {
    impressions: `request_id || 'x' AS request_id, user_id || 'x' AS user_id`,
    keys: `impression_id || 'x' AS impression_id, request_id || 'x' AS request_id`,
    requests: `impression_id || 'x' AS impression_id, user_id || 'x' AS user_id`,
  };
  test.each(
    [
      ['train', 'holdout'],
      ['replay', 'holdout'],
      ['historical', 'train'],
      ['historical', 'replay'],
    ].flatMap(([one, other]) =>
      Object.keys(OTHERS).map((what) => [one ?? '', other ?? '', what as keyof typeof OTHERS] as const),
    ),
  )('%s and %s share %s', async (one, other, what) => {
    await db.run(moved(one, other, OTHERS[what]));
    const finding = await check();
    expect(finding.status).toBe('block');
    expect(finding.numbers[`${one}.${other}.${what}`]).toBe(3);
    expect(finding.message).toContain(
      `${one} and ${other} share the ${{ impressions: 'impression', keys: 'user, item and time', requests: 'request' }[what]} of 3 rows`,
    );
  });

  test('a holdout whose request began before train ended is not later, by its first row', async () => {
    await db.run(`UPDATE holdout SET event_time_ms = 1790000 WHERE impression_id = 'impression-1990'`);
    const finding = await check();
    expect(finding).toMatchObject({ status: 'block', numbers: { holdoutBeforeTrainEnds: 5 } });
    expect(finding.message).toContain(
      '5 rows of the holdout belong to requests that do not begin after the last of train',
    );
  });

  test('parts without files are left alone', async () => {
    const files = { train: [1], holdout: [], replay: [], historical: [] };
    expect((await check(manifestWith(1_000, { files }))).message).toBe('there are no two parts that could overlap');
  });
});

describe('score-parity', () => {
  beforeAll(writeParts);
  const check = (rescore: Rescore | null, config = feed) =>
    checkScoreParity(contextOf({ config, manifest: manifestWith(1_000), db, rescore }));
  /** Scores that were logged, changed by row; the columns of what was asked for are kept. */
  let asked: string[] = [];
  const rescoring =
    (change: (score: number, row: number, version: number) => number): Rescore =>
    async ({ version, sql }) => {
      asked = (await db.describe(sql)).map(({ name }) => name);
      const scores = await db.connection.runAndReadAll(sql.replace(/^SELECT .*? FROM/, 'SELECT score FROM'));
      return Float64Array.from(scores.getRows(), ([score], row) => change(Number(score), row, version));
    };

  test('scores that come out again pass, in the order asked for', async () => {
    const finding = await check(rescoring((score) => score + 5e-5));
    expect(finding).toMatchObject({
      status: 'pass',
      numbers: { versions: 2, compared: 980, different: 0, notRescored: 0 },
    });
    expect(asked).toEqual(['topic', 'length']);
  });

  test.each([
    ['differ', (score: number) => score + 2e-4],
    ['are not numbers', () => Number.NaN],
    ['are partly not numbers', (score: number, row: number) => (row === 3 ? Number.NaN : score + 2e-4)],
  ])('scores of one version that %s block', async (_, change) => {
    const finding = await check(rescoring((score, row, version) => (version === 2 ? change(score, row) : score)));
    expect(finding.status).toBe('block');
    expect(finding.message).toMatch(/^490 of 490 logged scores of version 2 differ/);
    expect(finding.numbers['differentShare.1']).toBe(0);
    expect(finding.message.includes('some of which are no number')).toBe(Number.isNaN(change(0, 3)));
  });

  test('a version that can not be scored again is said, and the others still count', async () => {
    const gone: Rescore = (input) =>
      input.version === 1
        ? Promise.resolve({ impossible: 'version 1 has no model' })
        : rescoring((score) => score)(input);
    const finding = await check(gone);
    expect(finding).toMatchObject({ status: 'warn', numbers: { compared: 490, notRescored: 490 } });
    expect(finding.message).toContain('490 rows of version 1 could not be scored again (version 1 has no model)');
    const worse = await check(async (input) => {
      return input.version === 1 ? { impossible: 'gone' } : rescoring(() => 2)(input);
    });
    expect(worse.status).toBe('block');
  });

  test('a joined feature is never taken for a logged one', async () => {
    const on = { userId: 'u', itemId: 'i', eventTimeMs: 't' };
    const joined = { path: 'a.parquet', column: 'a', on, parity: 'unverified' as const };
    await check(
      rescoring((score) => score),
      lineOf([
        { kind: 'categorical', name: 'topic' },
        { kind: 'numeric', name: 'length', joined },
      ]),
    );
    expect(asked).toEqual(['topic']);
  });

  test('looks at a sample of each version', async () => {
    const sampled = lineOf([{ kind: 'numeric', name: 'length' }], { checks: { scoreParity: { sampleRows: 100 } } });
    expect(
      (
        await check(
          rescoring((score) => score),
          sampled,
        )
      ).numbers['compared'],
    ).toBe(200);
  });

  test('says why there is nothing to compare', async () => {
    expect(await check(null)).toMatchObject({
      status: 'notApplicable',
      message: expect.stringContaining('nothing to score') as string,
    });
    await db.run('CREATE OR REPLACE VIEW fresh AS SELECT * REPLACE (0 AS version) FROM train');
    const unscored = await check(rescoring((score) => score));
    await writeParts();
    expect(unscored).toMatchObject({
      status: 'notApplicable',
      message: expect.stringContaining('no fresh row carries') as string,
    });
  });
});

describe('feedback-loop', () => {
  beforeAll(writeParts);
  const manifest = manifestWith(1_000);
  const earlier = (numbers: Record<string, number | null>, times = 3): Reference[] =>
    Array.from({ length: times }, () => {
      const report = { verdict: 'pass', results: [{ check: 'feedback-loop', numbers }] } as unknown as CheckReport;
      return {
        snapshotIds: [],
        fromMs: 0,
        toMs: 0,
        profile: { columns: {} },
        manifest,
        report,
      } as unknown as Reference;
    });
  const check = (recent: Reference[], changes = manifest) =>
    checkFeedbackLoop(contextOf({ config: feed, manifest: changes, db, references: { ...NO_REFERENCES, recent } }));

  test('counts what the model chose, and what exploration did', async () => {
    const { numbers, status, message } = await check([]);
    expect(status).toBe('pass');
    expect(numbers).toMatchObject({ labels: 800, exploration: 40, explorationShare: 0.05, unknownArm: 0 });
    // 16 of 800 rows kept the input's order.
    expect(numbers['policyShare']).toBeCloseTo((800 - 40 - 16 + 0) / 800, 2);
    expect(numbers['policy.auc']).toBeGreaterThan(0.75);
    expect(numbers['exploration.aucLower']).toBeLessThan(Number(numbers['exploration.auc']));
    expect(message).toContain('a trend is seen from 3 earlier snapshots on, there are 0');
  });

  test('measures concentration whatever the number of rows', async () => {
    await db.run(
      `CREATE OR REPLACE VIEW fresh AS SELECT * REPLACE ('item-' || hash(impression_id) % 40 AS item_id) FROM train`,
    );
    const many = (await check([])).numbers;
    await db.run(
      `CREATE OR REPLACE VIEW fresh AS SELECT * REPLACE ('item-' || hash(impression_id) % 40 AS item_id) FROM holdout`,
    );
    const few = (await check([])).numbers;
    await db.run(
      `CREATE OR REPLACE VIEW fresh AS SELECT * REPLACE (CASE WHEN event_time_ms = 1000000 THEN 'rare' ELSE 'hit' END AS item_id) FROM train`,
    );
    const one = (await check([])).numbers;
    await writeParts();
    expect(Math.abs(Number(many['effectiveItems']) - 40)).toBeLessThan(4);
    expect(Math.abs(Number(few['effectiveItems']) - 40)).toBeLessThan(8);
    expect(many['gini']).toBeLessThan(0.25);
    expect(one['effectiveItems']).toBeCloseTo(1, 1);
    expect(one['gini']).toBeGreaterThan(0.99);
    expect(one['topShare']).toBeGreaterThan(0.99);
  });

  test('warns when numbers fall against the recent snapshots, and only then', async () => {
    const now = (await check([])).numbers;
    const effective = Number(now['effectiveItems']);
    expect((await check(earlier({ explorationShare: 0.05, effectiveItems: effective }))).status).toBe('pass');
    const less = await check(earlier({ explorationShare: 0.2, effectiveItems: effective * 3 }));
    expect(less.status).toBe('warn');
    expect(less.message).toMatch(
      /^the share of training labels that exploration chose fell from 0.20 \(median of 3 earlier snapshots\) to 0.05; the effective number/,
    );
    // Half of 0.11 is more than 0.05, but 40 of 800 do not prove it.
    expect((await check(earlier({ explorationShare: 0.11 }))).status).toBe('pass');
    expect((await check(earlier({ explorationShare: 0.2 }, 2))).status).toBe('pass');
  });

  test('coverage is not known where items were counted by another sketch', async () => {
    const column = {
      kind: 'categorical',
      count: 9,
      missing: 0,
      heavy: [['1', 9]],
      heavyError: 1,
      distinct: new Uint8Array(),
    };
    const profile = { hash: '', columns: { item_id: column } } as unknown as Profile;
    const recent = earlier({}, 1).map((reference) => ({ ...reference, profile }));
    const references = { ...NO_REFERENCES, recent };
    const { numbers, message } = await checkFeedbackLoop(
      contextOf({ config: feed, manifest, db, profile, references }),
    );
    expect(numbers).toMatchObject({ coverage: null, referenceItems: null });
    expect(message).not.toContain('NaN');
  });

  test('without exploration or scores it says so', async () => {
    await db.run(
      `CREATE OR REPLACE VIEW fresh AS SELECT * REPLACE ('stable' AS arm, CAST(NULL AS DOUBLE) AS score) FROM train`,
    );
    const { status, message, numbers } = await check([]);
    await writeParts();
    expect(status).toBe('pass');
    expect(message).toContain('no scored exploration traffic, no scored policy traffic');
    expect(numbers['exploration.auc']).toBeNull();
  });

  test('is not applicable only while the line is young', async () => {
    const young = manifestWith(1_000, { source: { firstEventMs: 99 * HOUR } });
    expect((await check([], young)).status).toBe('notApplicable');
    expect((await check(earlier({ explorationShare: 0.05 }), young)).status).toBe('pass');
  });
});
