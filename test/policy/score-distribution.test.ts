import { describe, expect, it } from 'vitest';
import { SCORE_BIN_MIDDLES, SCORE_BINS, scoreBin } from '../../policy/score-bins.ts';
import { compareScores } from '../../policy/score-distribution.ts';
import { normalQuantile } from '../../policy/statistics.ts';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Bins of `n` scores whose log-odds are normal. */
function bins(n: number, { mean = 0, deviation = 1 } = {}): number[] {
  const counts = new Array<number>(SCORE_BINS).fill(0);
  for (let index = 0; index < n; index++) {
    const bin = scoreBin(sigmoid(mean + deviation * normalQuantile((index + 0.5) / n)));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts;
}

describe('scoreBin', () => {
  it('is the bin whose middle is nearest in log-odds, and the outer ones take what lies beyond', () => {
    for (const [bin, middle] of SCORE_BIN_MIDDLES.entries()) expect(scoreBin(sigmoid(middle))).toBe(bin);
    expect([0, 1e-9, 1 - 1e-9, 1].map(scoreBin)).toEqual([0, 0, SCORE_BINS - 1, SCORE_BINS - 1]);
    expect(scoreBin(0.5)).toBe(scoreBin(0.51));
    expect(scoreBin(0.499)).toBe(scoreBin(0.5) - 1);
  });
});

describe('compareScores', () => {
  const compare = (shadow: number[], observations = 1_000, maxPsi = 2): ReturnType<typeof compareScores> =>
    compareScores({ stable: bins(4_000), shadow, observations, maxPsi, level: 0.001 });

  it('finds nothing between equal distributions', () => {
    expect(compare(bins(4_000))).toEqual({ psi: 0, ks: 0, exceeds: false });
  });

  it('measures a shift: the index is about the square of its standard deviations, the distance that of two normals', () => {
    const { psi, ks, exceeds } = compare(bins(4_000, { mean: 0.5 })) ?? { psi: NaN, ks: NaN, exceeds: true };
    expect(psi).toBeGreaterThan(0.2);
    expect(psi).toBeLessThan(0.27);
    expect(ks).toBeCloseTo(0.197, 2);
    expect(exceeds).toBe(false);
  });

  it.each([
    ['a shift by 1.8 standard deviations', { mean: 1.8 }],
    ['scores that hardly differ any more', { deviation: 0.05 }],
    ['scores that are 0 or 1', { deviation: 50 }],
  ])('exceeds with %s', (_, change) => {
    expect(compare(bins(4_000, change))?.exceeds).toBe(true);
  });

  it('does not exceed by chance: few requests decide nothing', () => {
    expect(compare(bins(4_000, { mean: 1.8 }), 10)?.exceeds).toBe(false);
    expect(compare(bins(4_000, { mean: 0.5 }), 60, 0.2)?.exceeds).toBe(false);
    expect(compare(bins(4_000, { mean: 0.5 }), 1_000, 0.2)?.exceeds).toBe(true);
  });

  it.each([
    ['no scores', bins(0), 10],
    ['no requests', bins(5), 0],
    ['no bins', [], 10],
  ])('has nothing to compare with %s', (_, shadow, observations) => {
    expect(compare(shadow, observations)).toBeNull();
  });
});
