import { describe, expect, it } from 'vitest';
import { estimateDispersion, overdispersion } from '../../../policy/sequential/dispersion.ts';
import { meanModel, rateModel, type MeanLook, type RateLook } from '../../../policy/sequential/models.ts';
import { seededRandom, type Random } from '../../../data/evaluation/random.ts';

const BLOCK = 6;
const settings = { blockLooks: BLOCK, prior: 0.25, floor: 0.02 };

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Means whose chance has a standard deviation of 0.1 and whose drift has that given, out of step with the looks. */
function means(runs: number, dispersion: number, seed: number): MeanLook[][] {
  const random = seededRandom(seed);
  return Array.from({ length: runs }, (_, run) => {
    let drift = dispersion * normal(random);
    return Array.from({ length: 120 }, (__, look) => {
      if ((look + run) % BLOCK === 0) drift = dispersion * normal(random);
      return { difference: drift + 0.1 * normal(random), variance: 0.01 };
    });
  });
}

/** 20 and 400 events a look in the mean; each comes `together` times. */
function rates(looks: number, together: number, seed: number): RateLook[][] {
  const random = seededRandom(seed);
  const count = (mean: number): number =>
    together * Math.max(0, Math.round(mean / together + Math.sqrt(mean / together) * normal(random)));
  return [
    Array.from({ length: looks }, () => ({
      canary: { events: count(20), trials: 1_000 },
      stable: { events: count(400), trials: 20_000 },
    })),
  ];
}

describe('estimateDispersion', () => {
  it.each([0.05, 0.15, 0.3, 0.6])('finds a drift of %d', (dispersion) => {
    const { estimate, planned } = estimateDispersion(means(15, dispersion, 3), meanModel([1]), settings);
    expect(estimate / dispersion).toBeGreaterThan(0.85);
    expect(estimate / dispersion).toBeLessThan(1.15);
    expect(planned).toBeGreaterThanOrEqual(estimate);
  });

  it('takes chance out: with nothing else it plans with next to none', () => {
    expect(estimateDispersion(means(40, 0, 4), meanModel([1]), settings).planned).toBeLessThan(0.03);
  });

  it('stays at the prior without history, and near it with little', () => {
    const none = estimateDispersion([], rateModel([2]), settings);
    expect(none.planned).toBeGreaterThan(0.25);
    expect(none.planned).toBeLessThan(0.32);
    const little = estimateDispersion(
      means(1, 0, 5).map((run) => run.slice(0, 6)),
      meanModel([1]),
      settings,
    );
    expect(little.planned).toBeGreaterThan(0.1);
    const silent = [[{ canary: { events: 0, trials: 0 }, stable: { events: 0, trials: 0 } }]];
    expect(estimateDispersion(silent, rateModel([2]), settings).planned).toBeCloseTo(none.planned, 9);
  });

  it('never plans with less than the floor', () => {
    expect(estimateDispersion(means(40, 0, 6), meanModel([1]), { ...settings, floor: 0.1 }).planned).toBe(0.1);
  });

  it.each([0, -1, NaN, Infinity])('refuses a prior of %d', (prior) => {
    expect(() => estimateDispersion([], rateModel([2]), { ...settings, prior })).toThrow(/must be a positive number/);
  });
});

describe('overdispersion', () => {
  it('is 1 or hardly more when rows are independent', () => {
    expect(overdispersion(rates(2_000, 1, 7), rateModel([2]))).toBeLessThan(1.03);
    expect(overdispersion(means(20, 0, 8), meanModel([1]))).toBeLessThan(1.03);
  });

  it.each([2, 4])('is near %d when events come together by so many', (together) => {
    const found = overdispersion(rates(2_000, together, 9), rateModel([2]));
    expect(found).toBeGreaterThan(0.88 * together);
    expect(found).toBeLessThan(1.05 * together);
  });

  it('is 1 with little history, or with one that says nothing', () => {
    expect(overdispersion(rates(20, 4, 10), rateModel([2]))).toBe(1);
    expect(overdispersion([], rateModel([2]))).toBe(1);
    const silent = Array.from({ length: 100 }, () => ({
      canary: { events: 0, trials: 10 },
      stable: { events: 0, trials: 90 },
    }));
    expect(overdispersion([silent], rateModel([2]))).toBe(1);
  });

  it('takes as much from the evidence of a look', () => {
    const look = { canary: { events: 8, trials: 100 }, stable: { events: 18, trials: 900 } };
    const gain = (by: number): number => {
      const logs = new Float64Array(2);
      rateModel([2], by).at(Float64Array.of(0, Math.log(2)))(look, logs);
      return (logs[1] as number) - (logs[0] as number);
    };
    expect(gain(4)).toBeCloseTo(gain(1) / 4, 12);
  });
});
