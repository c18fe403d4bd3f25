import { describe, expect, it } from 'vitest';
import {
  auc,
  calibrationRatio,
  logLoss,
  logLossOf,
  normalCdf,
  normalQuantile,
  quantile,
  twoProportionZ,
  welchZ,
} from '../../policy/statistics.ts';

describe('auc', () => {
  it.each([
    ['a known case', [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75],
    ['ties across classes', [0, 0, 1, 1, 1], [0.1, 0.4, 0.4, 0.4, 0.8], 0.8333333],
    ['all tied', [0, 1, 0, 1, 1], [0.3, 0.3, 0.3, 0.3, 0.3], 0.5],
    ['a perfect order', [0, 0, 1], [0.1, 0.2, 0.3], 1],
    ['a reversed order', [1, 0, 0], [0.1, 0.2, 0.3], 0],
  ])('of %s', (_, labels, scores, expected) => {
    expect(auc(Uint8Array.from(labels), Float64Array.from(scores))).toBeCloseTo(expected, 7);
  });

  it.each([
    ['no rows', [], []],
    ['no negatives', [1, 1], [0.1, 0.2]],
    ['no positives', [0, 0], [0.1, 0.2]],
    ['a score that is NaN', [0, 1, 0, 1], [0.3, NaN, 0.1, 0.2]],
  ])('is NaN with %s', (_, labels, scores) => {
    expect(auc(labels, scores)).toBeNaN();
  });

  it('is the share of pairs in order, ties counting half, on random rows', () => {
    let state = 1;
    const next = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const labels = Array.from({ length: 200 }, () => (next() < 0.3 ? 1 : 0));
    const scores = labels.map((label) => Math.round(10 * (next() + 0.2 * label)) / 10);
    let won = 0;
    let pairs = 0;
    for (const [i, positive] of labels.entries()) {
      for (const [j, negative] of labels.entries()) {
        if (positive !== 1 || negative !== 0) continue;
        pairs++;
        won += scores[i] === scores[j] ? 0.5 : Number((scores[i] ?? 0) > (scores[j] ?? 0));
      }
    }
    expect(auc(labels, scores)).toBeCloseTo(won / pairs, 12);
  });
});

describe('log loss', () => {
  it('is the mean of -ln p of what happened', () => {
    expect(logLoss([1, 0], [0.8, 0.4])).toBeCloseTo((-Math.log(0.8) - Math.log(0.6)) / 2, 12);
  });

  it('clips probabilities, so that a sure mistake is dear but finite', () => {
    expect(logLossOf(1, 0)).toBeCloseTo(-Math.log(1e-6), 12);
    expect(logLossOf(0, 1)).toBeCloseTo(-Math.log(1e-6), 9);
    expect(logLossOf(1, 1)).toBeCloseTo(1e-6, 9);
  });

  it('is NaN without rows', () => {
    expect(logLoss([], [])).toBeNaN();
  });
});

describe('calibrationRatio', () => {
  it('is predicted over observed', () => {
    expect(calibrationRatio([1, 0, 0, 1], [0.9, 0.5, 0.5, 0.6])).toBeCloseTo(1.25, 12);
  });

  it('is NaN without positives', () => {
    expect(calibrationRatio([0, 0], [0.5, 0.5])).toBeNaN();
  });
});

describe('quantile', () => {
  it.each([
    [0, 1],
    [0.05, 1.15],
    [0.5, 2.5],
    [1, 4],
  ])('%f of 1, 2, 3, 4 is %f', (q, expected) => {
    expect(quantile([1, 2, 3, 4], q)).toBeCloseTo(expected, 12);
  });

  it('is NaN of nothing', () => {
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe('the normal distribution', () => {
  it.each([
    [0, 0.5],
    [1, 0.841344746068543],
    [1.6448536269514722, 0.95],
    [-2.3263478740408408, 0.01],
    [-8, 6.22096057427178e-16],
    [40, 1],
  ])('P(Z <= %f) = %f', (z, p) => {
    expect(normalCdf(z)).toBeCloseTo(p, 13);
  });

  it.each([
    [0.5, 0],
    [0.95, 1.6448536269514722],
    [0.01, -2.3263478740408408],
    [1e-10, -6.361340902404056],
    [0, -Infinity],
    [1, Infinity],
  ])('the quantile of %f is %f', (p, z) => {
    expect(normalQuantile(p)).toBeCloseTo(z, 8);
  });

  it('is NaN where nothing is defined', () => {
    expect(normalCdf(NaN)).toBeNaN();
    expect(normalQuantile(1.5)).toBeNaN();
  });
});

describe('welchZ', () => {
  it('is the difference over its standard error, positive when the first mean is larger', () => {
    const a = { mean: 0.7, variance: 0.2, n: 100 };
    const b = { mean: 0.6, variance: 0.3, n: 300 };
    expect(welchZ(a, b)).toBeCloseTo(0.1 / Math.sqrt(0.003), 12);
    expect(welchZ(b, a)).toBeCloseTo(-0.1 / Math.sqrt(0.003), 12);
  });

  it('is 0 or infinite without variance, NaN for an empty sample', () => {
    const constant = { mean: 1, variance: 0, n: 50 };
    expect(welchZ(constant, constant)).toBe(0);
    expect(welchZ({ ...constant, mean: 2 }, constant)).toBe(Infinity);
    expect(welchZ({ mean: NaN, variance: NaN, n: 0 }, constant)).toBeNaN();
  });
});

describe('twoProportionZ', () => {
  it('pools the proportions', () => {
    const pooled = 130 / 2_000;
    const expected = (0.08 - 0.05) / Math.sqrt(pooled * (1 - pooled) * (2 / 1_000));
    expect(twoProportionZ({ successes: 80, n: 1_000 }, { successes: 50, n: 1_000 })).toBeCloseTo(expected, 12);
  });

  it('is 0 when nobody clicked anywhere and NaN when an arm is empty', () => {
    expect(twoProportionZ({ successes: 0, n: 10 }, { successes: 0, n: 90 })).toBe(0);
    expect(twoProportionZ({ successes: 0, n: 0 }, { successes: 5, n: 90 })).toBeNaN();
  });
});
