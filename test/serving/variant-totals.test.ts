import { beforeEach, expect, test } from 'vitest';
import { HEALTH_RETENTION_MS, HealthSums, type HealthRow } from '../../serving/health-sums.ts';
import { RecentLargest } from '../../serving/recent-largest.ts';
import { VariantTotals, variantsOf, type TotalsVariant } from '../../serving/variant-totals.ts';
import type { Route } from '../../store/types.ts';

const MINUTE_MS = 60_000;
const STABLE = { line: 'feed', version: 3, arm: 'stable' } as const;
const CANARY = { line: 'feed', version: 4, arm: 'canary' } as const;
const of = (variant: TotalsVariant) => ({ ...variant, epoch: 5 });

let routed: TotalsVariant[];
let forgotten: TotalsVariant[];
let totals: VariantTotals;
let written: HealthRow[];
let sums: HealthSums;
beforeEach(() => {
  routed = [STABLE, CANARY];
  forgotten = [];
  written = [];
  totals = new VariantTotals({ routed: () => routed, onForgotten: (variant) => forgotten.push(variant) });
  sums = new HealthSums({
    totals,
    bucketOf: (_line, atMs) => Math.floor(atMs / 10_000) * 10_000,
    write: (rows) => {
      written.push(...rows.map((row) => ({ ...row })));
      return Promise.resolve();
    },
  });
});

const names = (nowMs: number): string[] => totals.scrape(nowMs).map(({ version, arm }) => `${String(version)} ${arm}`);
const scraped = (nowMs: number, variant: TotalsVariant = STABLE) =>
  totals.scrape(nowMs).find(({ version, arm }) => version === variant.version && arm === variant.arm);

test('what is routed is there from the start, at 0', () => {
  expect(names(0)).toEqual(['3 stable', '4 canary']);
  expect(scraped(0)).toMatchObject({ requests: 0, errors: 0, impressions: 0, dwells: 0 });
});

test('they add up what the health sums count, over all buckets and epochs', () => {
  sums.answered(of(STABLE), { atMs: 1, latencyMs: 3, scores: [0.25, 0.75] });
  sums.answered({ ...STABLE, epoch: 6 }, { atMs: 20_000, latencyMs: 4, scores: [0.5] });
  sums.failed(of(STABLE), { atMs: 30_000, latencyMs: 70 });
  sums.positive(of(STABLE), { answeredAtMs: 1, score: 0.75, nowMs: 40_000 });
  const found = scraped(40_000);
  expect(found).toMatchObject({ requests: 3, errors: 1, impressions: 3, clicks: 1, scoreSum: 1.5, latencyMs: 77 });
  const loss = (found?.logLoss ?? NaN) - (found?.logLossRetracted ?? NaN);
  expect(loss).toBeCloseTo(-2 * Math.log(0.75) - Math.log(0.5), 12);
  expect(found?.latencyBuckets.reduce((sum, count) => sum + count, 0)).toBe(3);
});

test('no counter of them falls, not when a sure click comes either', () => {
  sums.answered(of(STABLE), { atMs: 1, latencyMs: 3, scores: [0.99] });
  const { logLoss = NaN } = scraped(1) ?? {};
  sums.positive(of(STABLE), { answeredAtMs: 1, score: 0.99, nowMs: 2 });
  expect(scraped(2)?.logLoss).toBeGreaterThanOrEqual(logLoss);
});

test('of the dwells of an impression the largest counts, once', async () => {
  const dwelled = (dwellMs: number, beforeMs: number | null) => {
    sums.dwelled(of(STABLE), { answeredAtMs: 1, dwellMs, beforeMs, nowMs: 2 });
  };
  dwelled(3_000, null);
  dwelled(2_000, 3_000);
  dwelled(5_000, 3_000);
  dwelled(1_000, null);
  await sums.flush(3);
  expect(written).toMatchObject([{ dwells: 2, dwellSum: 6_000, dwellSquareSum: 26_000_000 }]);
  expect(scraped(3)).toMatchObject({ dwells: 2, dwellMs: 6_000 });
});

test('a dwell that comes too late changes nothing', async () => {
  const nowMs = HEALTH_RETENTION_MS + 2;
  sums.dwelled(of(STABLE), { answeredAtMs: 1, dwellMs: 5_000, beforeMs: null, nowMs });
  await sums.flush(nowMs);
  expect(written).toEqual([]);
  expect(scraped(nowMs)).toMatchObject({ dwells: 0 });
});

test('versions that are no longer routed are forgotten ten minutes after their last count', async () => {
  for (let version = 10; version < 210; version++) {
    const variant = { line: 'feed', version, arm: 'canary' } as const;
    routed = [STABLE, variant];
    sums.answered(of(variant), { atMs: version * 1_000, latencyMs: 1, scores: [0.5] });
  }
  routed = [STABLE];
  expect(totals.scrape(210_000).length).toBe(201);
  await sums.flush(210_000 + 11 * MINUTE_MS);
  expect(names(210_000 + 11 * MINUTE_MS)).toEqual(['3 stable']);
  expect(forgotten).toHaveLength(200);
});

test('a version that is routed stays without traffic', () => {
  expect(names(0)).toContain('4 canary');
  expect(names(24 * 60 * MINUTE_MS)).toContain('4 canary');
});

test('feedback brings no forgotten series back, but counts for what is routed, also on a gateway that answered none of it', () => {
  routed = [STABLE];
  sums.positive(of(CANARY), { answeredAtMs: 1, score: 0.5, nowMs: 2 });
  expect(names(3)).toEqual(['3 stable']);
  routed = [STABLE, CANARY];
  sums.positive(of(CANARY), { answeredAtMs: 1, score: 0.5, nowMs: 4 });
  expect(scraped(5, CANARY)).toMatchObject({ clicks: 1, requests: 0 });
});

test('a route counts for its stable, its holdback, its canary and its shadow', () => {
  const route = {
    ...{ line: 'feed', epoch: 1, stable: 3, canary: 4, canaryShare: 0.1, holdback: 0.05, holdbackVersion: null },
    ...{ shadow: 5, shadowShare: 1, salt: 's', cycleId: 'c', who: 'w', why: 'y', at: new Date(0) },
  };
  const arms = (change: Partial<Route>) =>
    variantsOf({ ...route, ...change }).map(({ version, arm }) => `${String(version)} ${arm}`);
  expect(arms({})).toEqual(['3 stable', '3 exploration', '3 holdback', '4 canary', '5 shadow']);
  expect(arms({ holdbackVersion: 2 })).toContain('2 holdback');
});

test('the largest of a key is known as long as the key is among the last', () => {
  const recent = new RecentLargest(2);
  expect([recent.raise('a', 3), recent.raise('a', 2), recent.raise('a', 5), recent.raise('a', 4)]).toEqual([
    null,
    3,
    3,
    5,
  ]);
  recent.raise('b', 1);
  recent.raise('c', 1);
  expect(recent.raise('a', 1)).toBeNull();
});
