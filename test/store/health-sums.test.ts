import { afterEach, beforeEach, expect, it } from 'vitest';
import { judgeHealth } from '../../policy/health.ts';
import { readArmSums, readStableSums, writeHealthSums, type HealthSumRow } from '../../store/health-sums.ts';
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
  dwells: 0,
  dwellSum: 0,
  dwellSquareSum: 0,
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
    dwells: 2,
    dwellSum: 4_500.5,
    dwellSquareSum: 1.25e7,
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
    dwells: 10,
    dwellSum: 22_502.5,
    dwellSquareSum: 6.25e7,
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

it('compares a candidate, as a canary or once it is stable, with the stable and the holdback of the same time', async () => {
  const { db } = test;
  await writeHealthSums(db, [
    row({ arm: 'stable', version: 1, requests: 10 }),
    row({ arm: 'holdback', version: 1, requests: 100 }),
    row({ arm: 'exploration', version: 1, requests: 1_000 }),
    row({ arm: 'shadow', version: 2, requests: 1_000 }),
    row({ arm: 'canary', version: 2, requests: 1 }),
    row({ arm: 'stable', version: 2, requests: 2 }),
    row({ arm: 'canary', version: 3, requests: 1_000 }),
    // The input's order answered for a version that failed.
    row({ arm: 'stable', version: 0, requests: 1_000 }),
  ]);
  const { canary, stable } = await readArmSums(db, range);
  expect(stable.requests).toBe(110);
  expect(canary.requests).toBe(3);
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

it('reads the dwell of a canary, of stable and of a version alone, a NaN of it too', async () => {
  const { db } = test;
  const stable = { arm: 'stable', version: 1, dwells: 3, dwellSum: 70_000, dwellSquareSum: 2e9 } as const;
  await writeHealthSums(db, [row({}), row({ ...stable }), row({ ...stable, arm: 'holdback', dwellSum: 0.5 })]);
  const read = await readArmSums(db, range);
  expect(read.canary).toMatchObject({ dwells: 2, dwellSum: 4_500.5, dwellSquareSum: 1.25e7 });
  expect(read.stable).toMatchObject({ dwells: 6, dwellSum: 70_000.5, dwellSquareSum: 4e9 });
  const alone = { line: LINE, version: 1, fromMs: T0, toMs: T0 + BUCKET };
  expect(await readStableSums(db, alone)).toMatchObject({ dwells: 6, dwellSum: 70_000.5, dwellSquareSum: 4e9 });
  expect(await readStableSums(db, { ...alone, version: 9 })).toEqual(nothing);

  await writeHealthSums(db, [row({ dwellSum: NaN }), row({ ...stable, dwellSquareSum: Infinity })]);
  const broken = await readArmSums(db, range);
  expect(broken.canary.dwellSum).toBeNaN();
  expect(broken.stable.dwellSquareSum).toBe(Infinity);
  expect((await readStableSums(db, alone)).dwellSquareSum).toBe(Infinity);
});

it('is unknown to a check, whichever of the sums is NaN', async () => {
  const { db } = test;
  const { health } = lineConfig();
  const fields = Object.keys(nothing) as (keyof typeof nothing)[];
  const floats = fields.filter((field) => /Sum$/.test(field));
  expect(floats).toHaveLength(6);
  for (const field of floats) {
    await writeHealthSums(db, [row({ [field]: NaN })]);
    const { canary, stable } = await readArmSums(db, range);
    const reading = { canary, stable, qualityCanary: canary, qualityStable: stable, external: [] };
    expect(judgeHealth({ reading, config: health }).status).toBe('unknown');
  }
});
