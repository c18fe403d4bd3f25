import { describe, expect, it } from 'vitest';
import { benjaminiHochberg, holm } from '../../policy/multiple-testing.ts';

// Expected values: by hand from the definitions; the second also by SciPy's false_discovery_control.
const P = [0.01, 0.04, 0.03, 0.005, 0.55, 0.04];

describe('adjustment for many tests', () => {
  it.each([
    ['Holm', holm, [0.05, 0.12, 0.12, 0.03, 0.55, 0.12]],
    ['Benjamini and Hochberg', benjaminiHochberg, [0.03, 0.048, 0.048, 0.03, 0.55, 0.048]],
  ])("is %s's, in the order of the input", (_, adjust, expected) => {
    adjust(P).forEach((p, index) => {
      expect(p).toBeCloseTo(expected[index] ?? NaN, 12);
    });
  });

  it.each([
    ['Holm', holm],
    ["Benjamini and Hochberg's", benjaminiHochberg],
  ])('by %s leaves one test alone, stays at most 1 and takes none at all', (_, adjust) => {
    expect(adjust([0.2])).toEqual([0.2]);
    expect(adjust([0.9, 0.8, 0.95]).every((p) => p <= 1)).toBe(true);
    expect(adjust([])).toEqual([]);
  });

  it.each([
    ['NaN', NaN],
    ['a negative number', -0.1],
    ['more than 1', 1.1],
  ])('refuses %s', (_, p) => {
    expect(() => holm([0.5, p])).toThrow(RangeError);
    expect(() => benjaminiHochberg([0.5, p])).toThrow('number 2');
  });
});
