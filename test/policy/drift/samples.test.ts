import { describe, expect, it } from 'vitest';
import { empirical, type Sample, weighted } from '../../../policy/drift/distribution.ts';
import { kolmogorovQuantile, kolmogorovSmirnov, kolmogorovSurvival } from '../../../policy/drift/kolmogorov-smirnov.ts';
import { normalisedWasserstein, wasserstein } from '../../../policy/drift/wasserstein.ts';

/** Multiples of an irrational number modulo 1, to a power: evenly spread, the same everywhere. */
const spread = (n: number, factor: number, power = 1): number[] =>
  Array.from({ length: n }, (_, index) => (((index + 1) * factor) % 1) ** power);
const GOLDEN = 0.6180339887;
const PLASTIC = 0.7548776662;

describe('kolmogorovSmirnov', () => {
  // Expected values: SciPy 1.17, ks_2samp(a, b).
  it.each<[string, number[], number[], number, number]>([
    ['two small samples', [0.99, 1.99], [1, 2, 3], 2 / 3, 0.6],
    ['ties', [1, 2, 2, 3, 3], [1, 2, 3, 4, 5, 6], 0.5, 0.3571428571],
    [
      'values in any order',
      [0.7, 0.1, 0.2, 0.6, 0.3, 0.5, 0.4],
      [0.95, 0.55, 0.65, 0.85, 0.75],
      0.7142857143,
      0.0656565657,
    ],
    ['equal samples', [1, 2, 3], [1, 2, 3], 0, 1],
    ['samples apart', [1, 2, 3, 4], [11, 12, 13, 14], 1, 0.0285714286],
    ['300 and 200 values', spread(300, GOLDEN), spread(200, PLASTIC, 1.2), 0.075, 0.4934673809],
    ['2,000 and 3,000 values', spread(2000, GOLDEN), spread(3000, PLASTIC, 1.1), 0.0365, 0.0803383471],
  ])('is exact for %s, both ways round', (_, a, b, d, p) => {
    for (const result of [kolmogorovSmirnov(a, b), kolmogorovSmirnov(b, a)]) {
      expect(result.method).toBe('exact');
      expect(result.d).toBeCloseTo(d, 9);
      expect(result.p).toBeCloseTo(p, 9);
    }
  });

  it('is asymptotic beyond 10,000 values', () => {
    const result = kolmogorovSmirnov(spread(20_000, GOLDEN), spread(15_000, PLASTIC, 1.04));
    expect(result.method).toBe('asymptotic');
    expect(result.d).toBeCloseTo(0.0146833333, 9);
    expect(Math.abs(result.p - 0.0491657377)).toBeLessThan(1e-5);
  });

  it.each([
    [0.01, 0.695455725],
    [0.019238, 0.0487602352],
    [0.03, 0.000241592344],
  ])('has SciPy’s limit at D = %f of 10,000 and 10,000 values', (d, p) => {
    expect(Math.abs(kolmogorovSurvival(d, 10_000, 10_000) - p)).toBeLessThan(1e-5);
  });

  it('inverts its limit', () => {
    expect(kolmogorovSurvival(kolmogorovQuantile(0.95, 2000, 3000), 2000, 3000)).toBeCloseTo(0.05, 9);
    expect(() => kolmogorovQuantile(1, 20, 20)).toThrow(RangeError);
  });

  it('takes whole weights for repeated rows', () => {
    const rows = [1, 2, 2, 2, 3];
    const counted = weighted([3, 1, 2], [1, 1, 3], 5);
    const other = [2, 3, 4, 5];
    expect(kolmogorovSmirnov(counted, other)).toEqual(kolmogorovSmirnov(rows, other));
  });

  it('takes sampling weights for shares and their effective size for n', () => {
    const a = spread(500, GOLDEN);
    const evenly = weighted(
      a,
      a.map(() => 2.5),
    );
    const result = kolmogorovSmirnov(evenly, spread(400, PLASTIC, 1.2));
    const plain = kolmogorovSmirnov(a, spread(400, PLASTIC, 1.2));
    expect(evenly.effectiveCount).toBeCloseTo(500, 9);
    expect(result.method).toBe('asymptotic');
    expect(result.d).toBeCloseTo(plain.d, 12);
    expect(Math.abs(result.p - plain.p)).toBeLessThan(0.01);
  });
});

describe('wasserstein', () => {
  // Expected values: SciPy 1.17, wasserstein_distance.
  it.each<[string, Sample, Sample, number]>([
    ['a shift by one', [0, 1, 2], [1, 2, 3], 1],
    ['values in any order', [3, 0, 1], [6, 8, 5], 5],
    ['different sizes', [0, 1], [0, 0, 0, 1], 0.25],
    ['weights', weighted([0, 1], [3, 1]), weighted([0, 1], [2, 2]), 0.25],
    [
      'weights of different sizes',
      weighted([3.4, 3.9, 7.5, 7.8], [1.4, 0.9, 3.1, 7.2]),
      weighted([4.5, 1.4], [3.2, 3.5]),
      4.078133143804786,
    ],
    ['equal samples', [2, 1], [1, 2], 0],
  ])('of %s', (_, a, b, expected) => {
    expect(wasserstein(a, b)).toBeCloseTo(expected, 12);
    expect(wasserstein(b, a)).toBeCloseTo(expected, 12);
  });
});

describe('normalisedWasserstein', () => {
  const even = Array.from({ length: 1001 }, (_, index) => index); // quartiles 250 and 750
  const shifted = (by: number): number[] => even.map((value) => value + by);

  it('counts a shift in robust standard deviations of the reference, in whatever unit', () => {
    const sigma = 500 / 1.3489795;
    expect(normalisedWasserstein(even, shifted(100))).toBeCloseTo(100 / sigma, 6);
    expect(normalisedWasserstein(shifted(-5e6), shifted(100 - 5e6))).toBeCloseTo(100 / sigma, 6);
  });

  it.each([
    ['reference', [...even, 1e15], shifted(0)],
    ['current sample', even, [...shifted(0), -1e15]],
  ])('is hardly moved by one far value in the %s', (_, a, b) => {
    expect(normalisedWasserstein(a, b)).toBeLessThan(0.01);
  });

  it.each<[string, number[], number[], number]>([
    ['a reference of one value', Array<number>(50).fill(5), Array<number>(50).fill(6), 1.3489795],
    ['mostly zeros, by the wider quantiles', sparse(100, 20), sparse(100, 40), 0.2 * (2 * 1.2815516)],
    ['both of one value', [5, 5, 5], [5, 5, 5, 5], 0],
    ['one far value among equal ones', [...Array<number>(40).fill(0), 1e9], Array<number>(40).fill(0), 0],
  ])('falls back to other spreads: %s', (_, a, b, expected) => {
    expect(normalisedWasserstein(a, b)).toBeCloseTo(expected, 6);
  });

  function sparse(n: number, ones: number): number[] {
    return Array.from({ length: n }, (_, index) => (index < ones ? 1 : 0));
  }
});

describe('distributions', () => {
  it('merge ties, sort and drop weights of 0', () => {
    const made = weighted([3, 1, 2, 1], [1, 2, 0, 3]);
    expect([...made.values]).toEqual([1, 3]);
    expect([...made.cumulative]).toEqual([5, 6]);
    expect(made.effectiveCount).toBeCloseTo(36 / 14, 12);
    expect([...empirical([2, 1, 2]).cumulative]).toEqual([1, 3]);
  });

  it.each<[string, () => unknown, string]>([
    ['an empty sample', () => wasserstein([], [1]), 'at least one value'],
    ['NaN', () => kolmogorovSmirnov([1, NaN], [1]), 'number 2 is NaN'],
    ['an infinite value', () => normalisedWasserstein([1], [Infinity]), 'number 1 is Infinity'],
    ['weights of another length', () => weighted([1, 2], [1]), '2 and 1'],
    ['a negative weight', () => weighted([1, 2], [1, -1]), 'number 2 is -1'],
    ['weights of 0 only', () => weighted([1, 2], [0, 0]), 'all zero'],
    ['an effective count of 0', () => weighted([1, 2], [1, 1], 0), 'effective count'],
  ])('refuse %s', (_, make, message) => {
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });
});
