import { describe, expect, test } from 'vitest';
import { relationShift, type BinnedLabels } from '../../policy/drift/relation.ts';

const bins = (rates: Record<string, number>, rows = 1_000): Map<string, BinnedLabels> =>
  new Map(Object.entries(rates).map(([bin, rate]) => [bin, { rows, positives: Math.round(rate * rows) }]));

describe('whether a label depends on a feature as it did', () => {
  const before = bins({ a: 0.2, b: 0.4, c: 0.6 });
  test.each([
    ['the same rates', bins({ a: 0.2, b: 0.4, c: 0.6 }), 0],
    ['all rates up alike: prior drift is no concept drift', bins({ a: 0.3, b: 0.5, c: 0.7 }), 0],
    ['no relation left', bins({ a: 0.4, b: 0.4, c: 0.4 }), 0.16],
    ['the relation inverted', bins({ a: 0.6, b: 0.4, c: 0.2 }), 0.33],
  ])('%s', (_what, now, effect) => {
    const shift = relationShift(before, now);
    expect(shift.effect).toBeCloseTo(effect, 1);
    expect(shift.z > 4).toBe(effect > 0);
    expect(shift.covered).toBe(1);
  });

  test('noise of small bins is no effect', () => {
    const shift = relationShift(bins({ a: 0.2, b: 0.4, c: 0.6 }, 50), bins({ a: 0.24, b: 0.4, c: 0.56 }, 50));
    expect(shift.effect).toBe(0);
    expect(shift.z).toBeLessThan(2);
  });

  test('bins that are new, gone or too small are not judged; fewer than two tell nothing', () => {
    const shift = relationShift(before, bins({ a: 0.2, d: 0.9 }));
    expect(shift).toEqual({ effect: NaN, z: 0, covered: 0 });
    expect(relationShift(bins({ a: 0.2, b: 0.4 }, 20), before).effect).toBeNaN();
    expect(relationShift(new Map(), new Map()).effect).toBeNaN();
  });
});
