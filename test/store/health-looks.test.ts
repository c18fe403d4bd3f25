import { afterEach, beforeEach, expect, it } from 'vitest';
import { readControlHistory, readHealthLooks, readStableLatencies } from '../../store/health-looks.ts';
import { writeHealthSums, type HealthSumRow } from '../../store/health-sums.ts';
import { applyLine } from '../../store/lines.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LINE, lineConfig } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await applyLine(test.db, { config: lineConfig(), who: 'test' });
});
afterEach(() => test.drop());

const BUCKET = 10_000;
const T0 = 1_700_000_000_000;

function row(bucket: number, change: Partial<HealthSumRow>): HealthSumRow {
  return {
    ...{ line: LINE, processId: 'gateway-1', boot: 'b', bucketAtMs: T0 + bucket * BUCKET },
    ...{ version: 2, arm: 'canary', epoch: 5, requests: 10, errors: 1, impressions: 30, clicks: 4 },
    ...{ scoreSum: 5.5, logLossSum: 6.25, logLossSquareSum: 7.125, latencyMsSum: 8.5, latencyBuckets: [6, 3, 1] },
    ...{ dwells: 2, dwellSum: 40_000, dwellSquareSum: 1e9 },
    ...{ scoreDifferenceSum: 0, stableLatencyMsSum: 0, dropped: 0 },
    ...change,
  };
}

const range = {
  ...{ line: LINE, version: 2, sinceEpoch: 5, bucketMs: BUCKET, slowFrom: 1 },
  ...{ fromMs: T0, toMs: T0 + 5 * BUCKET + 9_000 },
};

it('reads a ramp bucket by bucket, without a gap, whole buckets only', async () => {
  const { db } = test;
  await writeHealthSums(db, [
    row(-1, {}),
    row(0, {}),
    row(0, { processId: 'gateway-2', errors: 3 }),
    row(0, { arm: 'stable', version: 1 }),
    row(0, { arm: 'holdback', version: 1 }),
    row(1, { epoch: 4 }),
    row(3, { arm: 'exploration', version: 1 }),
    row(3, { arm: 'shadow' }),
    row(3, { arm: 'stable', version: 1, scoreSum: NaN }),
    row(4, { epoch: 6, version: 2 }),
    row(5, {}),
  ]);
  const looks = await readHealthLooks(db, range);
  expect(looks).toHaveLength(5);
  expect(looks.map(({ canary, stable }) => [canary.requests, stable.requests])).toEqual([
    [20, 20],
    [0, 0],
    [0, 0],
    [0, 10],
    [10, 0],
  ]);
  expect(looks[0]?.canary).toEqual({
    ...{ requests: 20, errors: 4, impressions: 60, clicks: 8, scoreSum: 11, logLossSum: 12.5, logLossSquareSum: 14.25 },
    ...{ latencyMsSum: 17, slow: 8, dwells: 4, dwellSum: 80_000, dwellSquareSum: 2e9 },
  });
  expect(looks[3]?.stable.scoreSum).toBeNaN();
  expect((await readHealthLooks(db, { ...range, slowFrom: 3 }))[0]?.canary.slow).toBe(0);
  expect(await readHealthLooks(db, { ...range, toMs: T0 + 9_000 })).toEqual([]);
});

it('reads the holdback beside the stable of the same version, in runs', async () => {
  const { db } = test;
  const both = (bucket: number, version: number): HealthSumRow[] => [
    row(bucket, { arm: 'holdback', version, requests: 5 }),
    row(bucket, { arm: 'stable', version, requests: 50 }),
  ];
  await writeHealthSums(db, [
    ...both(0, 1),
    ...both(1, 1),
    row(1, { arm: 'canary', version: 2 }),
    // All but the holdback is on the canary: there is nothing to compare it with.
    row(2, { arm: 'holdback', version: 1 }),
    row(3, { arm: 'stable', version: 2 }),
    ...both(10, 2),
    row(11, { arm: 'holdback', version: 1 }),
    row(11, { arm: 'stable', version: 2 }),
    ...both(40, 2),
  ]);
  const runs = await readControlHistory(db, { ...range, toMs: T0 + 30 * BUCKET });
  expect(runs.map((looks) => looks.map(({ canary, stable }) => [canary.requests, stable.requests]))).toEqual([
    [
      [5, 50],
      [5, 50],
    ],
    [[5, 50]],
  ]);
});

it("adds up stable's latencies", async () => {
  const { db } = test;
  await writeHealthSums(db, [
    row(0, { arm: 'stable', version: 1 }),
    row(1, { arm: 'holdback', version: 1, latencyBuckets: [1, 1, 0] }),
    row(1, {}),
    row(6, { arm: 'stable', version: 1 }),
  ]);
  expect(await readStableLatencies(db, { line: LINE, fromMs: T0, toMs: T0 + 6 * BUCKET })).toEqual([7, 4, 1]);
  expect(await readStableLatencies(db, { line: LINE, fromMs: 0, toMs: T0 })).toEqual([]);
});
