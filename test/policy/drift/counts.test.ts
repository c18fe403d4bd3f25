import { describe, expect, it } from 'vitest';
import {
  chiSquareQuantile,
  chiSquareSurvival,
  chiSquareTwoSample,
  cramersV,
  jensenShannonDistance,
  lInfinity,
  psi,
  totalVariation,
} from '../../../policy/drift/counts.ts';

const REFERENCE = [16, 18, 16, 14, 12, 12];
const CURRENT = [16, 16, 16, 16, 16, 8];
const DISTANCES = [psi, jensenShannonDistance, totalVariation, lInfinity];

describe('distances between counts', () => {
  it.each([
    ['psi', psi, 0.0372183816],
    ['jensenShannonDistance', jensenShannonDistance, 0.0680481962],
    ['totalVariation', totalVariation, 0.0681818182],
    ['lInfinity', lInfinity, 0.0454545455],
  ])('%s has its reference value, both ways round and with totals that differ', (_, distance, expected) => {
    expect(distance(REFERENCE, CURRENT)).toBeCloseTo(expected, 9);
    expect(distance(CURRENT, REFERENCE)).toBeCloseTo(expected, 9);
    expect(
      distance(
        REFERENCE.map((count) => 7 * count),
        CURRENT,
      ),
    ).toBeCloseTo(expected, 9);
  });

  it('are 0 for equal shares, and bins empty on both sides add nothing', () => {
    for (const distance of DISTANCES) {
      expect(distance([1, 2, 0], [10, 20, 0])).toBeCloseTo(0, 7);
      expect(distance([...REFERENCE, 0], [...CURRENT, 0])).toBe(distance(REFERENCE, CURRENT));
    }
  });

  it('have their upper bounds where nothing is shared', () => {
    expect(jensenShannonDistance([5, 0], [0, 5])).toBeCloseTo(Math.sqrt(Math.LN2), 12);
    expect(totalVariation([5, 0], [0, 5])).toBe(1);
    expect(lInfinity([5, 0], [0, 5])).toBe(1);
  });

  it('count an empty bin of the PSI as half an observation', () => {
    const expected = (1 / 20 - 0.5 / 20) * Math.log(2) + (19 / 20 - 1) * Math.log(19 / 20);
    expect(psi([20, 0], [19, 1])).toBeCloseTo(expected, 12);
  });
});

describe('chiSquareTwoSample', () => {
  // Expected values: SciPy 1.17, chi2_contingency without correction.
  it.each([
    ['equal totals', REFERENCE, CURRENT, 1.6224089636, 5, 0.8985262394],
    ['totals that differ', [200, 300, 500], [30, 20, 50], 7.472826087, 2, 0.0238394611],
    ['bins empty in both', [200, 0, 300, 500, 0], [30, 0, 20, 50, 0], 7.472826087, 2, 0.0238394611],
    ['a strong difference', [200, 800], [400, 600], 95.2380952381, 1, 0],
  ])('is the test of homogeneity with %s', (_, reference, current, statistic, df, p) => {
    const result = chiSquareTwoSample(reference, current);
    expect(result.statistic).toBeCloseTo(statistic, 8);
    expect(result.df).toBe(df);
    expect(result.p).toBeCloseTo(p, 9);
  });

  it('says nothing of a single bin', () => {
    expect(chiSquareTwoSample([5, 0], [9, 0])).toEqual({ statistic: 0, df: 0, p: 1 });
    expect(cramersV([5, 0], [9, 0])).toBe(0);
  });

  it('gives the Cramer V of its table', () => {
    expect(cramersV([200, 800], [400, 600])).toBeCloseTo(0.21821789, 8);
  });
});

describe('the chi-square distribution', () => {
  it.each([
    [16.918977604620448, 9, 0.05],
    [3.841458820694124, 1, 0.05],
    [40, 9, 7.598525229e-6],
    [1100, 1000, 0.0146144081],
  ])('has P(X > %f) with %i degrees of freedom', (x, df, p) => {
    expect(chiSquareSurvival(x, df)).toBeCloseTo(p, 8);
    expect(chiSquareQuantile(1 - p, df)).toBeCloseTo(x, 4);
  });
});

describe('counts that cannot be compared', () => {
  it.each([
    ['of lengths that differ', [1, 2], [1, 2, 3], '2 and 3'],
    ['below 0', [1, -2], [1, 2], 'number 2 is -2'],
    ['not a number', [1, 2], [NaN, 2], 'number 1 is NaN'],
    ['infinite', [1, 2], [Infinity, 2], 'number 1 is Infinity'],
    ['all zero', [1, 2], [0, 0], 'current sample are all zero'],
    ['none', [], [], 'none at all'],
  ])('are refused when %s', (_, reference, current, message) => {
    for (const measure of [...DISTANCES, chiSquareTwoSample, cramersV]) {
      expect(() => measure(reference, current)).toThrow(RangeError);
      expect(() => measure(reference, current)).toThrow(message);
    }
  });
});
