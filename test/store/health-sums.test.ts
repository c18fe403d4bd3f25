import { afterEach, beforeEach, expect, it } from 'vitest';
import { readArmSums, readShadowSums, writeHealthSums, type HealthSumRow } from '../../store/health-sums.ts';
import { applyLine } from '../../store/lines.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LINE, lineConfig } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await applyLine(test.db, { config: lineConfig(), who: 'test' });
});
afterEach(() => test.drop());

const T0 = 1_700_000_000_000;
const BUCKET = 10_000;
const range = { line: LINE, version: 2, sinceEpoch: 5, fromMs: T0, toMs: T0 + 60_000, bucketMs: BUCKET };
const nothing = {
  requests: 0,
  errors: 0,
  impressions: 0,
  clicks: 0,
  scoreSum: 0,
  logLossSum: 0,
  logLossSquareSum: 0,
  latencyMsSum: 0,
};

function row(change: Partial<HealthSumRow>): HealthSumRow {
  return {
    line: LINE,
    processId: 'gateway-1',
    boot: 'b',
    bucketAtMs: T0,
    version: 2,
    arm: 'canary',
    epoch: 5,
    requests: 1,
    errors: 2,
    impressions: 3,
    clicks: 4,
    scoreSum: 5.5,
    logLossSum: 6.25,
    logLossSquareSum: 7.125,
    latencyMsSum: 8.5,
    latencyBuckets: [1, 0, 2 ** 40],
    scoreDifferenceSum: 0,
    stableLatencyMsSum: 0,
    dropped: 0,
    ...change,
  };
}

it('adds processes, boots and buckets up, and reads zeros where nothing was counted', async () => {
  const { db } = test;
  await writeHealthSums(db, [
    row({}),
    row({ processId: 'gateway-2' }),
    row({ boot: 'c' }),
    row({ bucketAtMs: T0 + BUCKET }),
    row({ epoch: 6 }),
  ]);
  const { canary, stable } = await readArmSums(db, range);
  expect(canary).toEqual({
    requests: 5,
    errors: 10,
    impressions: 15,
    clicks: 20,
    scoreSum: 27.5,
    logLossSum: 31.25,
    logLossSquareSum: 35.625,
    latencyMsSum: 42.5,
  });
  expect(stable).toEqual(nothing);
});

it('changes nothing when a row is written twice, and takes the later value', async () => {
  const { db } = test;
  await writeHealthSums(db, [row({})]);
  await writeHealthSums(db, [row({})]);
  expect((await readArmSums(db, range)).canary.requests).toBe(1);
  await writeHealthSums(db, [row({ requests: 9 })]);
  expect((await readArmSums(db, range)).canary.requests).toBe(9);
  const { rows } = await db.query('select latency_buckets from health_sums');
  expect(rows).toEqual([{ latency_buckets: [1, 0, 2 ** 40] }]);
  await writeHealthSums(db, []);
});

it('compares with the stable of the same time: stable and holdback, not explored traffic, not the candidate', async () => {
  const { db } = test;
  await writeHealthSums(db, [
    row({ arm: 'stable', version: 1, requests: 10 }),
    row({ arm: 'holdback', version: 1, requests: 100 }),
    row({ arm: 'exploration', version: 1, requests: 1_000 }),
    row({ arm: 'shadow', version: 2, requests: 1_000 }),
    row({ arm: 'stable', version: 2, requests: 1_000 }),
    row({ arm: 'canary', version: 3, requests: 1_000 }),
  ]);
  const { canary, stable } = await readArmSums(db, range);
  expect(stable.requests).toBe(110);
  expect(canary).toEqual(nothing);
});

it('reads only buckets that lie wholly in the range, of the step and later', async () => {
  const { db } = test;
  await writeHealthSums(db, [
    row({ bucketAtMs: T0 - 1, requests: 10 }),
    row({ bucketAtMs: T0, requests: 1 }),
    row({ bucketAtMs: T0 + 50_000, requests: 2 }),
    row({ bucketAtMs: T0 + 50_001, requests: 100 }),
    row({ bucketAtMs: T0, epoch: 4, requests: 1_000 }),
  ]);
  expect((await readArmSums(db, range)).canary.requests).toBe(3);
});

it('lets a NaN through to whoever judges it', async () => {
  const { db } = test;
  await writeHealthSums(db, [row({ logLossSum: NaN }), row({ bucketAtMs: T0 + BUCKET, scoreSum: Infinity })]);
  expect((await readArmSums(db, range)).canary).toMatchObject({ requests: 2, logLossSum: NaN, scoreSum: Infinity });
});

it('reads a shadow as means', async () => {
  const { db } = test;
  const shadow = {
    arm: 'shadow',
    requests: 4,
    errors: 1,
    impressions: 10,
    scoreDifferenceSum: -0.5,
    dropped: 2,
  } as const;
  await writeHealthSums(db, [
    row({ ...shadow, latencyMsSum: 8, stableLatencyMsSum: 4 }),
    row({ ...shadow, latencyMsSum: 16, stableLatencyMsSum: 8, processId: 'gateway-2' }),
    row({ ...shadow, epoch: 4 }),
  ]);
  expect(await readShadowSums(db, { line: LINE, version: 2, sinceEpoch: 5 })).toEqual({
    requests: 8,
    errors: 2,
    dropped: 4,
    scoreMeanDifference: -0.05,
    latencyMsMean: 3,
    stableLatencyMsMean: 1.5,
  });
  expect(await readShadowSums(db, { line: LINE, version: 9, sinceEpoch: 5 })).toEqual({
    requests: 0,
    errors: 0,
    dropped: 0,
    scoreMeanDifference: NaN,
    latencyMsMean: NaN,
    stableLatencyMsMean: NaN,
  });
});
