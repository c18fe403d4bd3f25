import { afterEach, beforeEach, expect, it } from 'vitest';
import { NO_TRAFFIC } from '../../policy/health.ts';
import { writeHealthSums, type HealthSumRow } from '../../store/health-sums.ts';
import { readShadowSums, type ShadowSums } from '../../store/shadow-sums.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LINE, lineWithCandidate } from './stage.ts';

let test: TestDatabase;
let version: number;
let stable: number;
let epoch: number;
beforeEach(async () => {
  test = await createTestDatabase();
  const { candidate, route } = await lineWithCandidate(test.db, { cycleId: 'c', as: 'shadow' });
  version = candidate;
  ({ stable, epoch } = route);
});
afterEach(() => test.drop());

const BINS = 4;

function row({ shadow, ...change }: Omit<Partial<HealthSumRow>, 'shadow'> & { shadow?: Partial<ShadowSums> | null }) {
  const bins = new Array<number>(BINS).fill(0);
  const none: ShadowSums = {
    ...{
      copies: 0,
      notNumbers: 0,
      scoreDifferenceSquareSum: 0,
      rankings: 0,
      overlapSum: 0,
      tauSum: 0,
      tauSquareSum: 0,
    },
    ...{ scoreBins: bins, stableScoreBins: bins },
  };
  const kept: HealthSumRow = {
    ...NO_TRAFFIC,
    ...{ line: LINE, processId: 'gateway-1', boot: 'b', bucketAtMs: 1_700_000_000_000, version, arm: 'shadow', epoch },
    ...{ latencyBuckets: [], scoreDifferenceSum: 0, stableLatencyMsSum: 0, dropped: 0 },
    ...change,
  };
  return shadow === null || kept.arm !== 'shadow' ? kept : { ...kept, shadow: { ...none, ...shadow } };
}

const answered = (change: Partial<HealthSumRow>): HealthSumRow => row({ arm: 'stable', version: stable, ...change });
const read = () => readShadowSums(test.db, { line: LINE, version, sinceEpoch: epoch });

it('adds up processes, boots and buckets; means are of requests, of candidates and of rankings', async () => {
  const shadow = {
    ...{ copies: 6, notNumbers: 1, scoreDifferenceSquareSum: 0.5, rankings: 2, overlapSum: 1.5, tauSum: -0.5 },
    ...{ tauSquareSum: 0.5, scoreBins: [1, 2, 3, 4], stableScoreBins: [4, 3, 2, 1] },
  };
  const sums = { requests: 4, errors: 1, impressions: 10, scoreDifferenceSum: -0.5, dropped: 2, shadow };
  await writeHealthSums(test.db, [
    row({ ...sums, latencyMsSum: 8, stableLatencyMsSum: 4 }),
    row({ ...sums, latencyMsSum: 16, stableLatencyMsSum: 8, processId: 'gateway-2' }),
    row({ ...sums, latencyMsSum: 0, stableLatencyMsSum: 0, boot: 'c', bucketAtMs: 1_700_000_010_000 }),
    row({ ...sums, epoch: epoch - 1 }),
    row({ ...sums, version: stable }),
    row({ ...sums, arm: 'canary' }),
    answered({ requests: 10, errors: 1 }),
    answered({ requests: 5, arm: 'exploration', processId: 'gateway-2' }),
    // Others' answers, an earlier route's and those of the input's order.
    answered({ requests: 100, epoch: epoch - 1 }),
    answered({ requests: 100, version: 0, arm: 'holdback' }),
  ]);
  const reading = await read();
  expect(reading).toMatchObject({
    ...{ requests: 12, errors: 3, notNumbers: 3, dropped: 6, olderRequests: 0, scoreMeanDifference: -0.05 },
    ...{ latencyMsMean: 2, stableLatencyMsMean: 1, rankings: 6, overlapMean: 0.75, tauMean: -0.25 },
    ...{ scoreBins: [3, 6, 9, 12], stableScoreBins: [12, 9, 6, 3] },
    mirror: { answered: 14, share: 1, copies: 18, unsettled: 0, gateways: 2 },
  });
  expect(reading.scoreDifferenceDeviation).toBeCloseTo(Math.sqrt((1.5 - 30 * 0.05 ** 2) / 29), 12);
  expect(reading.tauDeviation).toBeCloseTo(Math.sqrt((1.5 - 6 * 0.25 ** 2) / 5), 12);
});

it('reads no figure where nothing was counted', async () => {
  await writeHealthSums(test.db, [answered({ requests: 7 })]);
  expect(await read()).toEqual({
    ...{ requests: 0, errors: 0, notNumbers: 0, dropped: 0, olderRequests: 0, scoreMeanDifference: NaN },
    ...{
      scoreDifferenceDeviation: NaN,
      latencyMsMean: NaN,
      stableLatencyMsMean: NaN,
      scoreBins: [],
      stableScoreBins: [],
    },
    ...{ rankings: 0, overlapMean: NaN, tauMean: NaN, tauDeviation: NaN },
    mirror: { answered: 7, share: 1, copies: 0, unsettled: 0, gateways: 1 },
  });
});

it('keeps processes of an older build apart: their copies are in no comparison, their answers in no ratio', async () => {
  const copied = { requests: 3, impressions: 6, scoreDifferenceSum: 0.6, latencyMsSum: 3, stableLatencyMsSum: 3 };
  const shadow = { copies: 3, scoreDifferenceSquareSum: 0.06, rankings: 3, overlapSum: 3, tauSum: 3, tauSquareSum: 3 };
  await writeHealthSums(test.db, [
    row({ ...copied, processId: 'older', scoreDifferenceSum: 3, shadow: null }),
    answered({ requests: 50, processId: 'older' }),
    row({ ...copied, shadow: { ...shadow, scoreBins: [6, 0, 0, 0], stableScoreBins: [6, 0, 0, 0] } }),
    // One that has only given up copies so far is of this build.
    row({ dropped: 2, processId: 'gateway-2', shadow: { copies: 2 } }),
    answered({ requests: 5 }),
    // As is one that mirrors nothing at all: that is what must be found.
    answered({ requests: 9, processId: 'gateway-3' }),
  ]);
  const reading = await read();
  expect(reading).toMatchObject({
    ...{ requests: 6, dropped: 2, olderRequests: 3, rankings: 3, tauMean: 1, tauDeviation: 0 },
    ...{ scoreBins: [6, 0, 0, 0], mirror: { answered: 14, copies: 5, unsettled: 0, gateways: 2 } },
  });
  expect(reading.scoreMeanDifference).toBeCloseTo(0.3, 12);
  expect(reading.scoreDifferenceDeviation).toBeCloseTo(0, 9);
});

it('lets NaN and infinity through to whoever judges them', async () => {
  const shadow = { copies: 1, rankings: 1, tauSum: NaN, overlapSum: 1, scoreDifferenceSquareSum: Infinity };
  await writeHealthSums(test.db, [row({ requests: 1, impressions: 1, scoreDifferenceSum: NaN, shadow })]);
  expect(await read()).toMatchObject({
    ...{ scoreMeanDifference: NaN, scoreDifferenceDeviation: NaN, tauMean: NaN, overlapMean: 1 },
  });
});

it('replaces a row that is written again, bins included', async () => {
  await writeHealthSums(test.db, [row({ requests: 1, shadow: { copies: 1, scoreBins: [1, 0, 0, 0] } })]);
  await writeHealthSums(test.db, [row({ requests: 2, shadow: { copies: 2, scoreBins: [1, 1, 0, 0] } })]);
  expect(await read()).toMatchObject({ requests: 2, scoreBins: [1, 1, 0, 0], mirror: { copies: 2 } });
});
