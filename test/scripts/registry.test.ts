import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { lineConfigSchema } from '../../config/schema.ts';
import { COMPARED_METRICS, EVALUATION_METRICS, type Evaluation } from '../../policy/evaluation.ts';
import { closeCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { recordDecision } from '../../store/decisions.ts';
import { currentRoute, routeHistory } from '../../store/routes.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import { taintSnapshot } from '../../store/taints.ts';
import type { Lineage } from '../../store/types.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { runFreshet as freshet } from '../rig/freshet.ts';
import {
  canary,
  claim,
  LINE,
  lineConfig,
  lineWithStable,
  move,
  moved,
  promoteCandidate,
  register,
  shadow,
} from '../store/stage.ts';

const EARLY_MS = Date.UTC(2026, 0, 31, 8);
const HOUR_MS = 3_600_000;
let database: TestDatabase;

/**
 * Version 1 from nothing; 2 was promoted over it; 3 was rejected, and has an evaluation of an older build; 4 descends from
 * 2 and is the canary. The snapshot of 3 is tainted.
 */
beforeAll(async () => {
  database = await createTestDatabase();
  const { db } = database;
  await lineWithStable(db);
  await trained(db, { cycleId: 'c2', parent: 1, rate: 0.01, evaluation: evaluation(1) });
  const { epoch } = await currentRoute(db, LINE);
  const shadowed = moved(await move(db, { cycleId: 'c2', next: shadow(1, 2), expectedEpoch: epoch, why: 'shadow' }));
  const ramped = moved(await move(db, { cycleId: 'c2', next: canary(1, 2, 0.05), expectedEpoch: shadowed.epoch }));
  const more = moved(await move(db, { cycleId: 'c2', next: canary(1, 2, 0.9), expectedEpoch: ramped.epoch }));
  const decision = {
    line: LINE,
    version: 2,
    cycleId: 'c2',
    kind: 'approved',
    who: 'ann',
    why: 'looked at the slices',
  } as const;
  await recordDecision(db, decision);
  const promoted = moved(await promoteCandidate(db, { cycleId: 'c2', version: 2, expectedEpoch: more.epoch }));
  const interval = { estimate: 0.7, lower: 0.69, upper: 0.71 };
  const older = {
    rows: 900,
    positives: 90,
    users: 80,
    champion: 2,
    challengerMetrics: { auc: interval },
    championMetrics: { auc: interval },
    gain: interval,
  };
  await trained(db, { cycleId: 'c3', parent: 2, rate: 0.01, evaluation: older });
  await closeCycle(db, { cycleId: 'c3', outcome: 'rejected', reasons: [{ code: 'gate', message: 'AUC fell' }] });
  await taintSnapshot(db, { snapshotId: snapshotOf('c3'), who: 'bob', reason: 'half loaded' });
  await trained(db, { cycleId: 'c4', parent: 2, rate: 0.02, evaluation: { nonsense: true } });
  moved(await move(db, { cycleId: 'c4', next: canary(2, 4), expectedEpoch: promoted.epoch }));
});
afterAll(() => database.drop());
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', database.url);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test('versions lists them as before, with their aliases and pins', async () => {
  await freshet('alias', 'set', LINE, 'baseline', '1', '--reason', 'the autumn test', '--who', 'ann');
  await freshet('versions', 'pin', LINE, 'baseline', '--reason', 'the autumn test');
  const { code, out } = await freshet('versions', LINE);
  expect(code).toBe(0);
  expect(out).toMatch(/^4 +canary +2 /m);
  expect(out).toMatch(/^1 +archived +- .* baseline \(pinned\)$/m);
  const { versions, aliases, pins } = JSON.parse((await freshet('versions', LINE, '--json')).out) as Record<
    string,
    { version: number }[]
  >;
  expect(versions?.map(({ version }) => version)).toEqual([4, 3, 2, 1, 0]);
  expect([aliases, pins]).toMatchObject([[{ alias: 'baseline', version: 1 }], [{ version: 1 }]]);
  expect((await freshet('versions', LINE, '--limit', '2')).out).toMatch(/^4 .*\n3 .*\n3 older; see --limit$/m);
  expect((await freshet('versions', 'unpin', LINE, '1', '--reason', 'over')).out).toContain('pinned no more');
});

test('versions show tells everything of one version', async () => {
  const { out } = await freshet('versions', 'show', LINE, 'stable');
  for (const expected of [
    'version 2 of news-feed: stable',
    'parent      version 1',
    'c2, started 20',
    'promoted',
    `snapshot ${snapshotOf('c2').slice(0, 12)}: trained on 2026-01-31 08:00:00 UTC to 2026-01-31 12:00:00 UTC, tested up to 2026-01-31 13:00:00 UTC`,
    'training.learningRate: 0.0001 -> 0.01',
    'features: dwell was added',
    'AUC',
    'holdout: 12,345 rows of 678 users',
    'gate: pass',
    'nonInferior.auc',
    'ann',
    'looked at the slices',
  ])
    expect(out).toContain(expected);
  expect(out).toMatch(/canary -> stable/);
  expect(out).toMatch(/^canary +90 % .* 5 +test/m);
  expect(out).toMatch(/^stable +at least 90 % .* now +6-7 /m);
  const parsed = JSON.parse((await freshet('versions', 'show', LINE, '2', '--json')).out) as object;
  expect(parsed).toMatchObject({
    version: { version: 2 },
    decisions: [{ who: 'ann' }],
    changes: { features: { added: ['dwell'] } },
  });
  expect((await freshet('versions', 'show', LINE, '3')).out).toMatch(
    /TAINTED +was trained on snapshot .* half loaded[^]*of an older build/,
  );
  expect((await freshet('versions', 'show', LINE, '4')).out).toContain(
    'its evaluation is of an older build and can not be shown',
  );
  expect((await freshet('versions', 'show', LINE, '0')).out).toContain("keeps the input's order");
});

test('lineage goes from the version to the cold start', async () => {
  const { out } = await freshet('lineage', LINE, 'canary');
  expect(out).toContain('lineage of version 4 of news-feed: 4 <- 2 <- 1');
  expect(out.match(/^version \d of/gm)).toEqual(['version 4 of', 'version 2 of', 'version 1 of']);
  expect(out).toContain('training.learningRate: 0.01 -> 0.02');
  expect(out).toContain('none: trained from scratch');
  expect(out).toContain('looked at the slices');
  const short = await freshet('lineage', LINE, '4', '--last', '1');
  expect(short.out).toContain('2 older ones are left out');
  const { chain } = JSON.parse((await freshet('lineage', LINE, '4', '--json')).out) as {
    chain: { version: { version: number } }[];
  };
  expect(chain.map(({ version }) => version.version)).toEqual([4, 2, 1]);
});

test('diff names what differs, how they are related, and compares what was measured on the same rows', async () => {
  const { out } = await freshet('diff', LINE, '1', 'stable');
  expect(out).toMatch(/version 2 descends from version 1:\n {2}2 +stable +incremental/);
  expect(out).toContain('training.learningRate: 0.0001 -> 0.01');
  expect(out).toContain('torch: (none) -> "2.2"');
  expect(out).toContain('both on the same holdout: 12,345 rows of 678 users');
  expect(out).toMatch(/AUC +0\.7\d* .*\+0\.01/);
  expect((await freshet('diff', LINE, '2', '1')).out).toContain('gain of version 2');
  const siblings = (await freshet('diff', LINE, '3', '4')).out;
  expect(siblings).toContain('both descend from version 2');
  expect(siblings).toContain('version 3 and version 4 have none that this build can compare');
  expect((await freshet('diff', LINE, '2', '2')).out).toContain('they are the same version');
  expect(JSON.parse((await freshet('diff', LINE, '1', '4', '--json')).out)).toMatchObject({
    relation: { kind: 'descends', path: [{}, {}, {}] },
  });
});

test('route history and route at say what served', async () => {
  const { db } = database;
  const history = await freshet('route', 'history', LINE, '--limit', '2');
  expect(history.out).toMatch(/^7 .* 4 at 10 % +10 %/m);
  expect(history.out).toContain('5 older; see --limit');
  const routes = (await routeHistory(db, { line: LINE })).reverse();
  const [first, , third] = routes;
  for (const time of [third?.at.toISOString() ?? '', String(third?.at.getTime())]) {
    const at = await freshet('route', 'at', LINE, time);
    expect(at.out).toContain('version 1; shadow 2 on 100 % (epoch 3)');
    expect(at.out).toContain('by test: shadow');
  }
  const early = await freshet('route', 'at', LINE, '2020-01-01T00:00:00+01:00', '--json');
  expect(JSON.parse(early.out)).toMatchObject({ at: '2019-12-31T23:00:00.000Z', route: null });
  const before = await freshet('route', 'at', LINE, '2020-01-01T00:00:00Z');
  expect(before.out).toContain(
    `nothing of news-feed served at 2020-01-01 00:00:00 UTC: its first route is of ${first?.at.toISOString().slice(0, 10) ?? ''}`,
  );
});

test.each<[string[], string]>([
  [['versions', 'show', LINE, '9'], 'line "news-feed" has no version 9'],
  [['versions', 'show', LINE, 'nobody'], 'expected a number, an alias, stable, canary, shadow or latest'],
  [['versions', 'nowhere'], 'no model line "nowhere"'],
  [['lineage', LINE, 'shadow'], 'line "news-feed" has no shadow now'],
  [['diff', 'nowhere', '1', '2'], 'no model line "nowhere"'],
  [['alias', 'set', LINE, 'stable', '1', '--reason', 'x'], '"stable" can not be an alias'],
  [['alias', 'remove', LINE, 'nobody', '--reason', 'x'], 'has no alias "nobody"'],
  [['versions', 'unpin', LINE, '2', '--reason', 'x'], 'version 2 of line "news-feed" is not pinned'],
  [['route', 'at', LINE, '2999-01-01T00:00:00Z'], 'has not come yet'],
  ...['2026-01-31', '2026-01-31T12:00:00', '2026-02-30T12:00:00Z', 'yesterday'].map((text): [string[], string] => [
    ['route', 'at', LINE, text],
    `"${text}" is no time: expected one with its offset, such as 2026-01-31T12:00:00Z`,
  ]),
  [['route', 'at', LINE, '1769860800'], 'Unix milliseconds have 13 digits, it has 10'],
  [['route', 'history', 'nowhere'], 'no model line "nowhere"'],
])('freshet %j is refused with one message and code 1', async (args, message) => {
  const { code, err } = await freshet(...args);
  expect(code).toBe(1);
  expect(err).toContain(message);
  expect(err).not.toMatch(/\n\s+at /);
});

test('an alias says what it was before, and is listed', async () => {
  await freshet('alias', 'set', LINE, 'good', '1', '--reason', 'first');
  const moved = await freshet('alias', 'set', LINE, 'good', 'stable', '--reason', 'better', '--who', 'bob');
  expect(moved.out).toBe('good of news-feed is version 2 (it was version 1)');
  expect((await freshet('alias', 'set', LINE, 'good', '2', '--reason', 'x')).out).toContain('is version 2 already');
  expect((await freshet('alias', 'list', LINE)).out).toMatch(/good +2 .* bob +better/);
  expect((await freshet('alias', 'remove', LINE, 'good', '--reason', 'over')).out).toContain('it was version 2');
});

function snapshotOf(cycleId: string): string {
  return cycleId.replace('c', '').padStart(2, '0').padEnd(64, 'ab');
}

async function trained(
  db: Database,
  { cycleId, parent, rate, evaluation: found }: { cycleId: string; parent: number; rate: number; evaluation: unknown },
): Promise<void> {
  const base = lineConfig();
  const features = [...base.features, { kind: 'numeric' as const, name: 'dwell' }];
  const config = lineConfigSchema.parse({ line: LINE, features, training: { learningRate: rate } });
  const [fromMs, splitMs, cutoffMs] = [EARLY_MS, EARLY_MS + 4 * HOUR_MS, EARLY_MS + 5 * HOUR_MS];
  await claim(db, cycleId);
  const snapshotId = snapshotOf(cycleId);
  // Each on data of its own, or one taint would be of all.
  const late = Number(cycleId.slice(1)) - 2;
  const [windowStartMs, split, cutoff] = [fromMs, splitMs, cutoffMs].map((ms) => ms + late * 5 * HOUR_MS);
  await saveSnapshot(db, {
    snapshotId,
    line: LINE,
    cycleId,
    manifest: { windowStartMs, splitMs: split, cutoffMs: cutoff },
  });
  const rule = { rule: 'nonInferior.auc', kind: 'pass', reason: { code: 'g', message: 'AUC is not worse' } };
  const metrics = {
    ...{
      training: { loss: 0.5 },
      examples: 1_000,
      parity: { rows: 10, maxDelta: 1e-7, meanDelta: 1e-8 },
      warnings: [],
    },
    ...{ evaluation: found, gate: { kind: 'pass', reasons: [{ code: 'g', message: 'not worse' }], rules: [rule] } },
  };
  const lineage: Partial<Lineage> = {
    strategy: 'incremental',
    snapshotId,
    config,
    features: config.features,
    environment: { torch: '2.2' },
  };
  await register(db, cycleId, parent, { ...lineage, metrics });
}

function evaluation(champion: number): Evaluation {
  const estimate = (value: number): Evaluation['overall']['challenger']['auc'] => ({
    estimate: value,
    lower: value - 0.01,
    upper: value + 0.01,
    standardError: 0.006,
  });
  const all = <T extends string>(names: readonly T[], value: number) =>
    Object.fromEntries(names.map((name) => [name, estimate(value)])) as Record<T, ReturnType<typeof estimate>>;
  return {
    champion,
    overall: {
      ...{ rows: 12_345, positives: 1_234, users: 678, groups: 900, groupsWithoutPositive: 100 },
      challenger: all(EVALUATION_METRICS, 0.72),
      champion: all(EVALUATION_METRICS, 0.71),
      gain: all(COMPARED_METRICS, 0.01),
    },
    ...{ slices: [], gaps: [], notes: [], calibrationCurve: { challenger: [], champion: null }, maxScoreChange: 0.1 },
    ...{
      championMissing: [],
      historical: null,
      latency: [],
      modelBytes: 12_000,
      championBytes: 12_000,
      k: 10,
      replicates: 1_000,
      seed: 1,
    },
  };
}
