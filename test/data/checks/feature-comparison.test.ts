import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CheckContext, Finding } from '../../../data/checks/check.ts';
import { riseInErrors } from '../../../data/checks/feature-comparison.ts';
import { checkMissing } from '../../../data/checks/missing.ts';
import type { Duck } from '../../../data/duckdb.ts';
import { contextOf, lineOf, manifestOf, NO_REFERENCES, openRig, profileOf, referenceOf } from './comparison-rig.ts';

const config = lineOf([
  { kind: 'categorical', name: 'topic' },
  { kind: 'numeric', name: 'age' },
]);
const USUAL = { topic: '1 + i % 12', age: 'i % 7' };

let db: Duck;
beforeAll(async () => {
  db = await openRig();
});
afterAll(() => {
  db.close();
});

test('a rise is counted in standard errors, also from and to nothing', () => {
  // (26/102 - 11/102) / sqrt(26/102 * 76/102 / 102 + 11/102 * 91/102 / 102), by hand.
  expect(riseInErrors({ hits: 25, rows: 100 }, { hits: 10, rows: 100 })).toBeCloseTo(2.7765, 4);
  expect(riseInErrors({ hits: 0, rows: 50 }, { hits: 0, rows: 50 })).toBe(0);
  expect(riseInErrors({ hits: 50, rows: 50 }, { hits: 0, rows: 50 })).toBeGreaterThan(10);
});

describe('the reference', () => {
  const profiles = async (): Promise<[usual: CheckContext['profile'], missing: CheckContext['profile']]> => [
    await profileOf(db, config, { values: USUAL, rows: 500, from: 0 }),
    await profileOf(db, config, { values: { ...USUAL, topic: 'NULL' }, rows: 500, from: 0 }),
  ];

  test('is the season before, then what the champion was trained on, then the newest snapshot that passed', async () => {
    const [usual, missing] = await profiles();
    const good = referenceOf(usual, manifestOf(config));
    const other = referenceOf(missing, manifestOf(config));
    const find = (references: Partial<CheckContext['references']>): Finding =>
      checkMissing(
        contextOf({
          config,
          profile: usual,
          references: { ...NO_REFERENCES, ...references },
        }),
      );

    expect(find({ season: good, training: other, recent: [other] })).toMatchObject({ status: 'pass' });
    expect(find({ training: good, recent: [other] }).message).toContain('the data that the champion was trained on');
    expect(find({ recent: [good, other] }).message).toContain('the newest snapshot that passed');
    expect(find({ recent: [other] })).toMatchObject({ status: 'warn' });
  });

  test('that does not know a feature leaves it unjudged, and says so', async () => {
    const [usual] = await profiles();
    const { topic: _, ...columns } = usual?.columns ?? {};
    const earlier = referenceOf({ ...usual, columns } as NonNullable<typeof usual>, manifestOf(config));
    const references = { ...NO_REFERENCES, season: earlier };
    const finding = checkMissing(contextOf({ config, profile: usual, references }));
    expect(finding).toMatchObject({ status: 'pass', numbers: { features: 1, unjudged: 1 } });
    expect(finding.message).toContain('none before: "topic"');
  });

  test('a feature that the fresh profile lacks blocks', async () => {
    const [usual] = await profiles();
    const { topic: _, ...columns } = usual?.columns ?? {};
    const references = {
      training: null,
      season: referenceOf(usual, manifestOf(config)),
      earlierSeason: null,
      week: null,
      recent: [],
    };
    const profile = { ...usual, columns } as NonNullable<typeof usual>;
    const finding = checkMissing(contextOf({ config, profile, references }));
    expect(finding.status).toBe('block');
    expect(finding.message).toContain('lacks "topic"');
  });
});
