import { describe, expect, it } from 'vitest';
import type { HealthConfig } from '../../config/schema.ts';
import { judgeHealth, type ArmSums, type HealthReading, type HealthVerdict } from '../../policy/health.ts';
import { lineConfig } from './line-config.ts';

/** Each metric of a check by each status it can have. What is not named is well. */

const defaults: HealthConfig = { ...lineConfig().health, quality: ['clickThroughRate', 'logLoss', 'dwell'] };

/** Sums of an arm with a click-through rate of 0.1 that it promises, a loss of 0.3 and half a minute of dwell in each tenth impression. */
function sums(impressions: number, change: Partial<ArmSums> = {}): ArmSums {
  return {
    ...{ requests: impressions / 5, errors: 0, latencyMsSum: 2 * (impressions / 5) },
    ...{ impressions, clicks: 0.1 * impressions, scoreSum: 0.1 * impressions },
    ...{ logLossSum: 0.3 * impressions, logLossSquareSum: 0.18 * impressions },
    ...dwells(impressions, 0.1),
    ...change,
  };
}

/** Exponential dwell of a mean of 30 s. */
function dwells(impressions: number, share: number): Pick<ArmSums, 'dwells' | 'dwellSum' | 'dwellSquareSum'> {
  const count = share * impressions;
  return { dwells: count, dwellSum: count * 30_000, dwellSquareSum: 2 * count * 30_000 ** 2 };
}

const well: HealthReading = {
  canary: sums(1_200),
  stable: sums(10_000),
  qualityCanary: sums(1_000),
  qualityStable: sums(9_000),
  external: [],
};

function judge(change: Partial<HealthReading>, config: Partial<HealthConfig> = {}): HealthVerdict {
  return judgeHealth({ reading: { ...well, ...change }, config: { ...defaults, ...config } });
}

const quality = (change: Partial<ArmSums>, impressions = 1_000): Partial<HealthReading> => ({
  qualityCanary: sums(impressions, change),
});
const serving = (change: Partial<ArmSums>): Partial<HealthReading> => ({ canary: sums(1_200, change) });
const external = (change: Partial<HealthReading['external'][number]>): Partial<HealthReading> => ({
  external: [{ name: 'p99', value: 0.08, count: null, at: '2026-05-01T12:00:00.000Z', max: 0.1, ...change }],
});

type Status = 'pass' | 'fail' | 'insufficient' | 'unknown';
const cases: Record<string, Record<Status, Partial<HealthReading>>> = {
  'error-rate': {
    pass: serving({ requests: 240, errors: 4 }),
    fail: serving({ requests: 240, errors: 5 }),
    insufficient: serving({ requests: 29, errors: 29 }),
    unknown: serving({ errors: NaN }),
  },
  latency: {
    pass: serving({ latencyMsSum: 240 * 250 }),
    fail: serving({ latencyMsSum: 240 * 251 }),
    insufficient: serving({ requests: 29, latencyMsSum: 1e6 }),
    unknown: serving({ latencyMsSum: NaN }),
  },
  'click-through-rate': {
    pass: quality({ clicks: 85 }),
    fail: quality({ clicks: 70 }),
    insufficient: quality({ clicks: 0 }, 29),
    unknown: quality({ clicks: NaN }),
  },
  'log-loss': {
    pass: quality({ logLossSum: 315 }),
    fail: quality({ logLossSum: 340, logLossSquareSum: 220 }),
    insufficient: quality({ logLossSum: 29 }, 29),
    unknown: quality({ logLossSum: NaN }),
  },
  dwell: {
    pass: quality(dwells(1_000, 0.085)),
    fail: quality(dwells(1_000, 0.06)),
    // Enough impressions for all else, and 29 dwells to be expected of them.
    insufficient: quality(dwells(290, 0), 290),
    unknown: quality({ dwellSum: NaN }),
  },
  calibration: {
    pass: quality({ scoreSum: 150 }),
    fail: quality({ scoreSum: 230 }),
    insufficient: quality({ scoreSum: 29 }, 29),
    unknown: quality({ scoreSum: NaN }),
  },
  'score-drift': {
    pass: quality({ scoreSum: 190, clicks: 190 }),
    fail: quality({ scoreSum: 270, clicks: 270 }),
    insufficient: quality({ scoreSum: 29 }, 29),
    unknown: quality({ scoreSum: NaN }),
  },
  'external.p99': {
    pass: external({}),
    fail: external({ value: 0.11 }),
    insufficient: external({ value: null, error: 'answered NaN', count: 29, minCount: 30 }),
    unknown: external({ value: NaN }),
  },
};

describe.each(Object.entries(cases))('%s', (metric, byStatus) => {
  it.each(Object.entries(byStatus))('%s', (status, change) => {
    const verdict = judge(change);
    expect(verdict.status).toBe(status);
    const ofMetric = status === 'unknown' && metric !== 'external.p99' ? 'health.sums' : `health.${metric}`;
    expect(verdict.reasons.map(({ code }) => code)).toContain(`${ofMetric}.${status}`);
    if (status === 'fail') expect(verdict.reasons).toHaveLength(1);
  });

  it('is unknown when nothing could be read', () => {
    const verdict = judgeHealth({ reading: { error: 'connect ECONNREFUSED' }, config: defaults });
    expect(verdict.status).toBe('unknown');
  });
});

describe('dwell', () => {
  it('is not judged where the line does not name it', () => {
    expect(judge(quality(dwells(1_000, 0.01)), { quality: ['logLoss'] }).status).toBe('pass');
  });

  it('fails a canary without any, and waits for stable to have some', () => {
    expect(judge(quality(dwells(0, 0))).status).toBe('fail');
    const silent = judge({ ...quality(dwells(0, 0)), qualityStable: sums(9_000, dwells(0, 0)) });
    expect(silent.status).toBe('insufficient');
    expect(silent.reasons[0]?.message).toBe('0 dwells of stable so far, 30 are needed to judge.');
  });

  it('is no failure when it is longer', () => {
    expect(judge(quality({ dwellSum: 9_000_000, dwellSquareSum: 5.4e11 })).status).toBe('pass');
  });

  it('takes the variance of a canary with few dwells to be at least stable’s', () => {
    // Half of the dwells that are expected, 15 of 30: with the canary's own variance z would be 2.7.
    const verdict = judge(quality(dwells(300, 0.05), 300), { quality: ['dwell'] });
    expect(verdict.status).toBe('pass');
    expect(verdict.reasons.find(({ code }) => code === 'health.dwell.pass')?.numbers?.['z']).toBeCloseTo(1.96, 1);
  });

  it('says both figures', () => {
    const [reason] = judge(quality(dwells(1_000, 0.06))).reasons;
    expect(reason?.message).toBe(
      "The canary's dwell is 1.8 s an impression (30 s in each of 60) over 1,000 impressions, stable's 3 s an impression (30 s in each of 900) over 9,000: z of worse 2.7528, limit 2.33.",
    );
  });
});

describe('calibration and mean score', () => {
  it.each<[string, Partial<HealthReading>, Status]>([
    ['promises too little', quality({ scoreSum: 40 }), 'fail'],
    ['mends what stable has wrong', { qualityStable: sums(9_000, { scoreSum: 2_700 }) }, 'pass'],
    [
      'is as far off as stable',
      { ...quality({ scoreSum: 190 }), qualityStable: sums(9_000, { scoreSum: 1_710 }) },
      'pass',
    ],
    [
      'is off to the other side',
      { ...quality({ scoreSum: 60 }), qualityStable: sums(9_000, { scoreSum: 990 }) },
      'pass',
    ],
    ['promised sixty clicks and got none', quality({ scoreSum: 60, clicks: 0 }, 600), 'fail'],
    ['promised two clicks and got none', quality({ scoreSum: 2, clicks: 0 }, 40), 'pass'],
  ])('a canary that %s: %#', (_, change, status) => {
    expect(judge(change, { quality: ['logLoss'], maxScoreRatio: null }).status).toBe(status);
  });

  it.each<[string, Partial<ArmSums>, Status]>([
    ['half', { scoreSum: 55 }, 'pass'],
    ['less than half', { scoreSum: 30 }, 'fail'],
    ['nothing', { scoreSum: 0 }, 'fail'],
  ])('a mean score of %s of stable’s', (_, change, status) => {
    expect(judge(quality(change), { maxCalibrationWorsening: null }).status).toBe(status);
  });

  it('passes arms without a score or a click', () => {
    const silent = { scoreSum: 0, clicks: 0 };
    const reading = { qualityCanary: sums(100, silent), qualityStable: sums(9_000, silent) };
    expect(judge(reading, { quality: ['logLoss'] }).status).toBe('pass');
  });

  it('are not judged where a line sets their limits to null, or its config is older than they are', () => {
    const off = quality({ scoreSum: 400 });
    expect(judge(off).status).toBe('fail');
    expect(judge(off, { maxCalibrationWorsening: null, maxScoreRatio: null }).status).toBe('pass');
    const { maxCalibrationWorsening: _, maxScoreRatio: __, ...older } = defaults;
    expect(judgeHealth({ reading: { ...well, ...off }, config: older as HealthConfig }).status).toBe('pass');
  });

  it('are discounted by the arms’ drift as a backstop', () => {
    const backstop = (dispersion: number) => ({
      maxZ: 3.8,
      blocks: 1,
      drifts: { calibration: { dispersion, overdispersion: 1 }, score: { dispersion, overdispersion: 1 } },
    });
    const reading = { ...well, qualityCanary: sums(10_000, { scoreSum: 2_500, clicks: 1_000 }) };
    const status = (dispersion: number): string =>
      judgeHealth({ reading, config: defaults, backstop: backstop(dispersion) }).status;
    expect(status(0)).toBe('fail');
    expect(status(0.3)).toBe('pass');
  });
});

describe('a limit of a provider with a count', () => {
  it.each<[string, Partial<HealthReading['external'][number]>, Status]>([
    ['too few, whatever they say', { value: 9, count: 29, minCount: 30 }, 'insufficient'],
    ['enough', { value: 0.08, count: 30, minCount: 30 }, 'pass'],
    ['enough of something that is NaN', { value: null, error: 'answered NaN', count: 30, minCount: 30 }, 'unknown'],
    ['a count that is not known', { value: 0.08, count: null, minCount: 30 }, 'pass'],
  ])('%s', (_, change, status) => {
    expect(judge(external(change)).status).toBe(status);
  });
});
