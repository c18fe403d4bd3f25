import { beforeEach, expect, test } from 'vitest';
import { nth } from './nth.ts';
import { HEALTH_RETENTION_MS, HealthSums, type HealthRow } from '../../serving/health-sums.ts';

const VARIANT = { line: 'feed', version: 3, arm: 'stable', epoch: 5 } as const;

let written: HealthRow[][];
let failing: boolean;
let sums: HealthSums;
beforeEach(() => {
  written = [];
  failing = false;
  sums = new HealthSums({
    bucketOf: (_line, atMs) => Math.floor(atMs / 10_000) * 10_000,
    write(rows) {
      if (failing) return Promise.reject(new Error('gone'));
      written.push(rows.map((row) => ({ ...row, latencyBuckets: [...row.latencyBuckets] })));
      return Promise.resolve();
    },
  });
});

test('log loss is the mean of what each impression and its click cost', async () => {
  sums.answered(VARIANT, { atMs: 12_000, latencyMs: 3, scores: [0.2, 0.7] });
  sums.positive(VARIANT, { answeredAtMs: 12_000, score: 0.7, nowMs: 60_000 });
  await sums.flush(60_000);
  const losses = [-Math.log(0.8), -Math.log(0.7)];
  expect(written).toHaveLength(1);
  expect(written[0]).toMatchObject([{ bucketAtMs: 10_000, requests: 1, impressions: 2, clicks: 1, latencyMsSum: 3 }]);
  const row = nth(nth(written, 0), 0);
  expect(row.logLossSum).toBeCloseTo(nth(losses, 0) + nth(losses, 1), 12);
  expect(row.logLossSquareSum).toBeCloseTo(nth(losses, 0) ** 2 + nth(losses, 1) ** 2, 12);
  expect(row.latencyBuckets.slice(0, 4)).toEqual([0, 0, 1, 0]);
});

test('values are absolute: only rows that changed are written again, whole', async () => {
  sums.answered(VARIANT, { atMs: 5_000, latencyMs: 1, scores: [0.5] });
  sums.answered(VARIANT, { atMs: 15_000, latencyMs: 1, scores: [0.5] });
  await sums.flush(20_000);
  sums.failed(VARIANT, { atMs: 16_000, latencyMs: 9 });
  await sums.flush(20_000);
  await sums.flush(20_000);
  expect(written.map((rows) => rows.map(({ bucketAtMs, requests }) => [bucketAtMs, requests]))).toEqual([
    [
      [0, 1],
      [10_000, 1],
    ],
    [[10_000, 2]],
  ]);
});

test('what could not be written is written later, with what came since', async () => {
  sums.answered(VARIANT, { atMs: 5_000, latencyMs: 1, scores: [0.5] });
  failing = true;
  await expect(sums.flush(6_000)).rejects.toThrow('gone');
  sums.answered(VARIANT, { atMs: 7_000, latencyMs: 1, scores: [0.5] });
  failing = false;
  await sums.flush(8_000);
  expect(written).toMatchObject([[{ requests: 2, impressions: 2 }]]);
});

test('feedback that is too late changes no bucket, so that no forgotten one is written from zero', async () => {
  sums.answered(VARIANT, { atMs: 0, latencyMs: 1, scores: [0.5] });
  await sums.flush(3 * HEALTH_RETENTION_MS);
  sums.positive(VARIANT, { answeredAtMs: 0, score: 0.5, nowMs: 3 * HEALTH_RETENTION_MS });
  await sums.flush(3 * HEALTH_RETENTION_MS);
  expect(written).toHaveLength(1);
});
