import { describe, expect, test } from 'vitest';
import { aucStandardError, wilsonInterval } from '../../policy/proportion.ts';

describe('the Wilson interval', () => {
  // Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('of %d of %d', (successes, n, lower, upper) => {
    const interval = wilsonInterval({ successes, n, z: 1.959964 });
    expect(interval.lower).toBeCloseTo(lower, 4);
    expect(interval.upper).toBeCloseTo(upper, 4);
  });

  test('of nothing is everything', () => {
    expect(wilsonInterval({ successes: 0, n: 0, z: 2 })).toEqual({ lower: 0, upper: 1 });
  });
});

describe('the standard error of an AUC', () => {
  test('of one half is that of the rank sum test', () => {
    const [positives, negatives] = [40, 70];
    const expected = Math.sqrt((positives + negatives + 1) / (12 * positives * negatives));
    expect(aucStandardError({ auc: 0.5, positives, negatives })).toBeCloseTo(expected, 12);
  });

  test('falls as the AUC rises, and is not known without a class', () => {
    const at = (auc: number) => aucStandardError({ auc, positives: 50, negatives: 50 });
    expect(at(0.9)).toBeLessThan(at(0.7));
    expect(at(1)).toBe(0);
    expect(aucStandardError({ auc: 0.7, positives: 0, negatives: 50 })).toBeNaN();
  });
});
