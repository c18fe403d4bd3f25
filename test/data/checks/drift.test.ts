import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CheckContext, Finding, Reference, References } from '../../../data/checks/check.ts';
import { checkDriftConcept } from '../../../data/checks/drift-concept.ts';
import { checkDriftFeatures } from '../../../data/checks/drift-features.ts';
import { checkDriftLabel } from '../../../data/checks/drift-label.ts';
import { checkDriftPredictions } from '../../../data/checks/drift-predictions.ts';
import { checkEstimatedPerformance } from '../../../data/checks/estimated-performance.ts';
import { openDuckDb, type Duck } from '../../../data/duckdb.ts';
import { profileRelation, type Profile, type ProfileColumn } from '../../../data/profile/index.ts';
import type { SnapshotManifest } from '../../../data/snapshot.ts';
import { feedConfig, HOUR } from '../feed.ts';

const ROWS = 4_000;
const NONE: References = { training: null, season: null, earlierSeason: null, week: null, recent: [] };
const COLUMNS: ProfileColumn[] = [
  ...['topic', 'version'].map((name) => ({ name, kind: 'categorical' as const })),
  ...['length', 'label', 'score'].map((name) => ({ name, kind: 'numeric' as const })),
];

let db: Duck;
beforeAll(async () => {
  db = await openDuckDb();
});
afterAll(() => {
  db.close();
});

/** Rows whose label depends on the topic, scored well by version 1; each part can be replaced by another expression. */
async function rows(
  seed: number,
  given: { topic?: string; length?: string; rate?: string; label?: string; score?: string; version?: string } = {},
): Promise<Profile> {
  const draw = (name: string): string => `((hash(id, ${String(seed)}, '${name}') % 1000000) / 1000000.0)`;
  const topic = given.topic ?? `floor(5 * ${draw('topic')})`;
  const rate = given.rate ?? '0.1 + 0.12 * topic';
  const label = given.label ?? `${draw('label')} < rate`;
  const relation = `(
    SELECT id, time, CAST(topic AS VARCHAR) AS topic, length, CAST(${label} AS INTEGER) AS label,
      ${given.score ?? 'rate'} + 0.02 * (${draw('score')} - 0.5) AS score, '${given.version ?? '1'}' AS version
    FROM (SELECT *, ${rate} AS rate FROM (
      SELECT CAST(range AS VARCHAR) AS id, range AS time, ${topic} AS topic,
        ${given.length ?? `100 + 30 * sqrt(-2 * ln(${draw('a')} + 1e-9)) * cos(6.2832 * ${draw('b')})`} AS length
      FROM range(${String(ROWS)})
    ))
  )`;
  return profileRelation(db, {
    ...{ relation, columns: COLUMNS, keyColumn: 'id', timeColumn: 'time' },
    sampleSize: 10_000,
  });
}

const reference = (id: string, day: number, profile: Profile): Reference => ({
  ...{ snapshotIds: [id], fromMs: (day - 1) * 24 * HOUR, toMs: day * 24 * HOUR, profile, report: null },
  manifest: {} as SnapshotManifest,
});

/** Yesterday, last week and what the champion was trained on: clean unless said. */
async function references(given: Partial<Record<'season' | 'week' | 'training', Profile>> = {}): Promise<References> {
  const season = reference('season', 7, given.season ?? (await rows(1)));
  const week = reference('week', 1, given.week ?? (await rows(2)));
  const training = reference('training', 7, given.training ?? (await rows(3)));
  const earlierSeason = reference('earlier', 6, await rows(4));
  return { season, earlierSeason, week, training, recent: [season] };
}

function context(profile: Profile | null, of: Partial<CheckContext> = {}): CheckContext {
  const { manifest } = { manifest: {} as SnapshotManifest };
  return {
    ...{ config: feedConfig(), manifest, db, profile, unlabelledProfile: null, rescore: null, references: NONE },
    ...of,
  };
}

const CHECKS = { checkDriftFeatures, checkDriftLabel, checkDriftPredictions, checkDriftConcept };
const all = (given: CheckContext): Record<keyof typeof CHECKS, Finding> =>
  Object.fromEntries(Object.entries(CHECKS).map(([name, check]) => [name, check(given)])) as never;

test('clean rows pass every drift check', async () => {
  const found = all(context(await rows(9), { references: await references() }));
  expect(Object.values(found).map(({ status }) => status)).toEqual(['pass', 'pass', 'pass', 'pass']);
});

test('without rows every check blocks, without an earlier snapshot none applies', async () => {
  for (const check of Object.values(CHECKS)) {
    expect(check(context(null, { references: await references() })).status).toBe('block');
    expect(check(context(await rows(9))).status).toBe('notApplicable');
  }
});

describe('a fault is found by the check that knows it', () => {
  test.each([
    [
      'a feature far from where it was',
      { length: '200 + (hash(id) % 60)' },
      'checkDriftFeatures',
      /"length" drifted \(sudden\) from the same phase a day before/,
    ],
    [
      'categories in other shares',
      { topic: 'least(4, hash(id) % 9)', rate: '0.34' },
      'checkDriftFeatures',
      /"topic" drifted/,
    ],
    [
      'half of the labels lost',
      { label: "(hash(id, 'label') % 1000) / 1000.0 < rate / 2" },
      'checkDriftLabel',
      /by a factor of/,
    ],
    ['no label at all', { label: 'false' }, 'checkDriftLabel', /0\.00 of 4,000 rows are positive/],
    [
      'labels inverted',
      { label: "(hash(id, 'label') % 1000) / 1000.0 >= rate" },
      'checkDriftConcept',
      /by "(topic|score)" the label rate moved/,
    ],
    [
      'labels of other rows',
      { label: "(hash(id, 'label') % 1000) / 1000.0 < 0.34" },
      'checkDriftConcept',
      /joined to the wrong rows/,
    ],
    ['a model that answers otherwise', { score: '0.9 - rate' }, 'checkDriftPredictions', /scores of version 1/],
  ] as const)('%s', async (_what, given, name, says) => {
    const finding = all(context(await rows(9, given), { references: await references() }))[name];
    expect(finding.status, finding.message).toBe('block');
    expect(finding.message).toMatch(says);
  });
});

describe('sudden, gradual and seasonal are told apart', () => {
  const moved = { length: '200 + (hash(id) % 60)' };
  test('what already was so yesterday is gradual, and warns', async () => {
    const finding = checkDriftFeatures(
      context(await rows(9, moved), { references: await references({ season: await rows(1, moved) }) }),
    );
    expect(finding).toMatchObject({ status: 'warn' });
    expect(finding.message).toContain('(gradual)');
  });

  test('what was so a week ago is seasonal, and warns', async () => {
    const finding = checkDriftFeatures(
      context(await rows(9, moved), { references: await references({ week: await rows(2, moved) }) }),
    );
    expect(finding).toMatchObject({ status: 'warn' });
    expect(finding.message).toContain('(seasonal)');
  });

  test('what always moves as much passes: the age of a catalogue grows', async () => {
    const age = (day: number): Promise<Profile> => rows(day, { length: `${String(day)} * 40 + (hash(id) % 30)` });
    const earlierSeason = reference('day1', 1, await age(1));
    const season = reference('day2', 2, await age(2));
    const finding = checkDriftFeatures(context(await age(3), { references: { ...NONE, season, earlierSeason } }));
    expect(finding).toMatchObject({ status: 'pass', numbers: { steady: 1, moved: 0 } });
    expect(finding.message).toContain('between earlier snapshots');
  });

  test('one season of history does not tell how much a feature moves in one: warns', async () => {
    const { season } = await references();
    const given = { references: { ...NONE, season } };
    expect(checkDriftFeatures(context(await rows(9, moved), given))).toMatchObject({ status: 'warn' });
  });
});

test('a single outlier on either side decides nothing', async () => {
  const outlier = { length: "CASE WHEN id = '7' THEN 1e30 ELSE 100 + (hash(id, 5) % 60) END" };
  const clean = { length: '100 + (hash(id, 6) % 60)' };
  for (const [now, before] of [
    [outlier, clean],
    [clean, outlier],
  ] as const) {
    const season = await rows(1, before);
    const given = { references: await references({ season, week: season, training: season }) };
    expect(checkDriftFeatures(context(await rows(9, now), given)).status).toBe('pass');
  }
});

test('scores are compared within a version only', async () => {
  const other = await rows(9, { score: '0.9 - rate', version: '2' });
  const finding = checkDriftPredictions(context(other, { references: await references() }));
  expect(finding).toMatchObject({ status: 'pass', numbers: { compared: 0 } });
});

describe('performance before the labels are in', () => {
  const estimate = async (unlabelled: Profile | null): Promise<Finding> =>
    checkEstimatedPerformance(context(await rows(9), { unlabelledProfile: unlabelled }));

  test('like traffic is expected to go as well', async () => {
    const finding = await estimate(await rows(10));
    expect(finding.status).toBe('pass');
    const { expectedAuc, measuredAuc } = finding.numbers;
    expect(expectedAuc).toBeCloseTo(Number(measuredAuc), 1);
  });

  test('traffic that the model can not tell apart is told', async () => {
    const finding = await estimate(await rows(10, { topic: '2 + (hash(id) % 2)' }));
    expect(finding.status).toBe('block');
    expect(finding.message).toContain('harder for it');
  });

  test.each([
    ['no unlabelled rows', null],
    ['another version', { version: '2' }],
  ])('%s: says so, and estimates nothing', async (_what, given) => {
    const finding = await estimate(given === null ? null : await rows(10, given));
    expect(finding).toMatchObject({ status: 'pass' });
    expect(finding.numbers['expectedAuc']).toBeUndefined();
  });
});
