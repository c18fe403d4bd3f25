import { describe, expect, it } from 'vitest';
import {
  effectiveBlocks,
  HEALTH_METRICS,
  SEQUENTIAL_METRICS,
  slowestBuckets,
  type HealthLook,
  type LookSums,
  type SequentialMetric,
} from '../../../policy/sequential/health-metrics.ts';
import {
  judgeEvidence,
  type EvidenceSettings,
  type HealthEvidence,
} from '../../../policy/sequential/health-evidence.ts';
import type { Drift } from '../../../policy/sequential/backstop.ts';

const drifts = Object.fromEntries(
  SEQUENTIAL_METRICS.map((metric) => [metric, { dispersion: 0.1, overdispersion: 1 }]),
) as Record<SequentialMetric, Drift>;
const settings: EvidenceSettings = {
  alpha: 0.01,
  weights: {
    ...{ errorRate: 0.2, latency: 0.2, clickThroughRate: 0.2, logLoss: 0.2 },
    ...{ dwell: 0.2, calibration: 0.1, score: 0.1 },
  },
  drifts,
  horizon: 180,
  blockLooks: 6,
  delayLooks: 12,
};

/** A bucket of an arm that serves well, `times` as many requests as the canary. */
function sums(times: number, change: Partial<Record<keyof LookSums, number>> = {}): LookSums {
  const well = {
    ...{ requests: 100, errors: 2, slow: 5, impressions: 1_000, clicks: 50 },
    ...{ scoreSum: 50, logLossSum: 200, logLossSquareSum: 500, latencyMsSum: 300 },
    ...{ dwells: 100, dwellSum: 3_000_000, dwellSquareSum: 180_000_000_000 },
    ...change,
  };
  return Object.fromEntries(
    Object.entries(well).map(([field, value]) => [field, value * times]),
  ) as unknown as LookSums;
}

/** Looks whose canary is changed from look `onset` on. */
function looks(count: number, onset: number, change: Partial<Record<keyof LookSums, number>>): HealthLook[] {
  return Array.from({ length: count }, (_, look) => ({
    canary: sums(1, look >= onset ? change : {}),
    stable: sums(9),
  }));
}

function known(evidence: HealthEvidence): Extract<HealthEvidence, { kind: 'known' }> {
  if (evidence.kind !== 'known') throw new Error(evidence.reasons.map(({ message }) => message).join());
  return evidence;
}

describe('judgeEvidence', () => {
  it('raises no alarm while the canary does as stable does', () => {
    const evidence = known(judgeEvidence(looks(180, 0, {}), settings));
    expect(evidence).toMatchObject({ alarm: false, reasons: [] });
    expect(evidence.peak).toBeLessThan(1);
  });

  it.each<[SequentialMetric, Partial<Record<keyof LookSums, number>>]>([
    ['errorRate', { errors: 8 }],
    ['latency', { slow: 20 }],
    ['clickThroughRate', { clicks: 30, scoreSum: 36 }],
    ['logLoss', { logLossSum: 300, logLossSquareSum: 900 }],
    ['dwell', { dwells: 60, dwellSum: 1_800_000, dwellSquareSum: 108_000_000_000 }],
    ['calibration', { clicks: 40, scoreSum: 90 }],
    ['score', { scoreSum: 150, clicks: 150 }],
  ])('raises one on the %s, and says which', (metric, change) => {
    const evidence = known(judgeEvidence(looks(60, 20, change), settings));
    expect(evidence.alarm).toBe(true);
    expect(evidence.reasons.map(({ code }) => code)).toEqual([`health.sequential.${metric}.alarm`]);
    expect(evidence.reasons[0]?.message).toContain(HEALTH_METRICS[metric].name);
    expect(
      known(judgeEvidence(looks(60, 20, change), { ...settings, weights: { ...settings.weights, [metric]: 0 } })).peak,
    ).toBeLessThan(evidence.peak);
  });

  it('says what was seen', () => {
    const [reason] = judgeEvidence(looks(60, 20, { errors: 8 }), settings).reasons;
    expect(reason?.message).toMatch(
      /^The canary's error rate is 0\.08 over the last 600 requests, stable's 0\.02 over 5,400: over the whole ramp the evidence for it being worse is [\d,]+ to 1 \(an alarm from 100 on\)\.$/,
    );
  });

  it('reads clicks only of buckets older than the feedback delay, errors of all', () => {
    const noClicksYet = { clicks: 0 };
    expect(known(judgeEvidence(looks(60, 48, noClicksYet), settings)).alarm).toBe(false);
    expect(known(judgeEvidence(looks(60, 40, noClicksYet), settings)).alarm).toBe(true);
    expect(known(judgeEvidence(looks(60, 54, { errors: 9 }), settings)).alarm).toBe(true);
  });

  it('has none without looks, or without traffic of either arm', () => {
    const none = sums(0);
    expect(judgeEvidence([], settings)).toMatchObject({ kind: 'known', alarm: false, peak: 0 });
    for (const look of [
      { canary: none, stable: none },
      { canary: none, stable: sums(9) },
      { canary: sums(1), stable: none },
    ])
      expect(
        known(
          judgeEvidence(
            Array.from({ length: 50 }, () => look),
            settings,
          ),
        ).peak,
      ).toBeCloseTo(0, 9);
  });

  it('raises none in an outage of both arms', () => {
    const outage = looks(120, 0, {}).map((look, index) =>
      index < 40 || index > 80
        ? look
        : { canary: sums(1, { errors: 40, slow: 60 }), stable: sums(9, { errors: 40, slow: 60 }) },
    );
    expect(known(judgeEvidence(outage, settings)).alarm).toBe(false);
  });

  it('hears a dwell that falls in the canary, and none that falls in both arms, or that nobody sends', () => {
    const short = { dwellSum: 1_500_000, dwellSquareSum: 45_000_000_000 };
    const alone = { ...settings, weights: { dwell: 1 } };
    expect(known(judgeEvidence(looks(60, 20, short), alone)).alarm).toBe(true);
    const both = looks(60, 20, short).map(({ canary }, index) => ({
      canary,
      stable: sums(9, index >= 20 ? short : {}),
    }));
    expect(known(judgeEvidence(both, alone)).peak).toBeLessThan(1);
    const none = { dwells: 0, dwellSum: 0, dwellSquareSum: 0 };
    const silent = Array.from({ length: 60 }, () => ({ canary: sums(1, none), stable: sums(9, none) }));
    expect(known(judgeEvidence(silent, alone)).peak).toBeCloseTo(0, 9);
  });

  it('lets an alarm of the ramp stand, whatever came after it', () => {
    const passed = [...looks(40, 20, { errors: 8 }), ...looks(100, 0, { errors: 0 })];
    expect(known(judgeEvidence(passed, settings)).alarm).toBe(true);
  });

  it('lets an alarm stand that rewritten buckets take back, and tells', () => {
    const before = known(judgeEvidence(looks(60, 20, { errors: 8 }), settings));
    const after = known(judgeEvidence(looks(61, 0, {}), settings, before.peak));
    expect(after).toMatchObject({ alarm: true, peak: before.peak });
    expect(after.reasons[0]).toMatchObject({ code: 'health.sequential.rewritten' });
    expect(after.reasons[0]?.message).toMatch(/The alarm stands\.$/);
  });

  it('tells of evidence that fell, below an alarm too', () => {
    const { alarm, reasons } = known(judgeEvidence(looks(60, 0, {}), settings, 3));
    expect(alarm).toBe(false);
    expect(reasons[0]?.message).toMatch(/below the limit then, too\.$/);
    expect(known(judgeEvidence(looks(60, 0, {}), settings, 0.5)).reasons).toEqual([]);
  });

  it.each<[string, Partial<Record<keyof LookSums, number>>, string]>([
    ['NaN', { logLossSum: NaN }, 'canary.logLossSum = NaN in look 3'],
    ['a negative sum', { clicks: -1 }, 'canary.clicks = -1 in look 3'],
    ['null, as JSON writes NaN', { errors: null as unknown as number }, 'canary has|canary.errors'],
    ['more errors than requests', { errors: 5_000 }, 'canary has 5,018 errors'],
    ['more clicks than impressions', { clicks: 50_000 }, '50,450 clicks of 10,000 impressions'],
  ])('is unknown with %s', (_, change, found) => {
    const broken = looks(10, 0, {});
    const look = broken[2];
    if (look !== undefined) look.canary = { ...look.canary, ...change };
    const evidence = judgeEvidence(broken, settings);
    expect(evidence.kind).toBe('unknown');
    expect(evidence.reasons[0]?.message).toMatch(new RegExp(found.replaceAll('.', '\\.')));
  });
});

it.each([
  ['nothing', [], null],
  ['no requests', [0, 0, 0], null],
  ['all in the first bucket', [100, 0, 0], 1],
  ['a tenth above the second', [60, 30, 10, 0], 2],
  ['a fast model with a tail', [50, 30, 15, 4, 1], 3],
  ['all slower than the last bound', [0, 0, 7], 3],
])('slow is what at most a tenth of stable is: %s', (_, counts, expected) => {
  expect(slowestBuckets(counts)).toBe(expected);
});

it('counts the blocks that labels come from', () => {
  expect(effectiveBlocks(looks(30, 0, {}), 6)).toBeCloseTo(5, 9);
  const burst = looks(30, 0, {}).map((look, index) =>
    index < 6 ? { canary: sums(1, { clicks: 900 }), stable: sums(9, { clicks: 900 }) } : look,
  );
  expect(effectiveBlocks(burst, 6)).toBeLessThan(1.6);
  expect(effectiveBlocks([], 6)).toBe(1);
});
