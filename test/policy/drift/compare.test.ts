import { describe, expect, it } from 'vitest';
import { OTHER_CATEGORY } from '../../../policy/drift/binning.ts';
import { compareCategorical, compareNumeric } from '../../../policy/drift/compare.ts';
import { type Sample, weighted } from '../../../policy/drift/distribution.ts';
import { decideDrift, type DriftComparison } from '../../../policy/drift/effects.ts';
import { seededNormal } from '../../../policy/drift/seeded-normal.ts';

const normals = (n: number, seed: number, shift = 0): number[] => {
  const normal = seededNormal(seed);
  return Array.from({ length: n }, () => normal() + shift);
};
const exceeding = ({ effects }: DriftComparison): string[] =>
  effects.filter(({ exceeds }) => exceeds).map(({ measure }) => measure);
const counts = (entries: Record<string, number>): Map<string, number> => new Map(Object.entries(entries));

describe('compareNumeric', () => {
  it('gives every measure, with its threshold and what chance would give', () => {
    const result = compareNumeric(normals(2000, 1), normals(2000, 2, 0.5));
    expect(exceeding(result)).toEqual(['psi', 'jensenShannon', 'lInfinity', 'kolmogorovSmirnov', 'wasserstein']);
    expect(result).toMatchObject({ nReference: 2000, nCurrent: 2000, drifted: true });
    expect(result.wasserstein).toBeCloseTo(0.5, 1);
    expect(result.ks.d).toBeCloseTo(0.2, 1);
    expect(result.chiSquare?.df).toBe(9);
    for (const { value, expected, p } of result.effects) {
      expect(value).toBeGreaterThan(expected);
      expect(p).toBeLessThan(1e-6);
    }
  });

  it.each<[string, Sample, Sample]>([
    ['two samples of one distribution', normals(2000, 3), normals(2000, 4)],
    ['one far value in the current sample', normals(2000, 3), [...normals(1999, 4), 1e12]],
    ['one far value in the reference', [...normals(1999, 3), -1e12], normals(2000, 4)],
    ['one far value in a current sample of 20', normals(2000, 3), [...normals(19, 4), 1e12]],
    ['one far value in a reference of 20', [...normals(19, 3), 1e12], normals(2000, 4)],
    ['one far value in 20 against 20', normals(20, 3), [...normals(19, 4), -1e12]],
    ['a sample too small to judge', normals(2000, 3), Array<number>(19).fill(50)],
    ['a single far value', normals(2000, 3), [1e12]],
    ['one far value beside a constant', Array<number>(50).fill(3), [...Array<number>(49).fill(3), 1e12]],
    ['a constant', Array<number>(50).fill(3), Array<number>(40).fill(3)],
    ['a significant shift that is too small to matter', normals(20_000, 5), normals(20_000, 6, 0.05)],
    ['effects of small samples', normals(20, 7), normals(20, 8)],
  ])('stays calm at %s', (_, reference, current) => {
    const result = compareNumeric(reference, current);
    expect(result.drifted).toBe(false);
    for (const { value, p, expected } of result.effects) {
      expect([value, p, expected].every(Number.isFinite)).toBe(true);
    }
  });

  it.each<[string, Sample, Sample]>([
    ['a shift of half a standard deviation', normals(500, 1), normals(500, 2, 0.5)],
    ['twice the spread', normals(500, 1), normals(500, 2).map((value) => 2 * value)],
    [
      'a change of unit in a tenth of the rows',
      normals(2000, 1),
      normals(2000, 2).map((v, i) => (i % 8 ? v : 1e3 * v)),
    ],
    ['another constant', Array<number>(50).fill(3), Array<number>(50).fill(4)],
    ['a value just beside a constant', Array<number>(50).fill(3), Array<number>(50).fill(3 - 1e-12)],
    [
      'a flag that flips',
      Array.from({ length: 200 }, (_, i) => +(i < 20)),
      Array.from({ length: 200 }, (_, i) => +(i < 80)),
    ],
  ])('sees %s', (_, reference, current) => {
    expect(compareNumeric(reference, current).drifted).toBe(true);
    expect(compareNumeric(current, reference).drifted).toBe(true);
  });

  it('reads weighted samples as the rows they stand for', () => {
    const rows = [1, 2, 2, 3, 3, 3, 4, 4, 5].flatMap((value) => Array<number>(30).fill(value));
    const counted = weighted([1, 2, 3, 4, 5], [30, 60, 90, 60, 30], 270);
    const current = rows.map((value) => value + 1);
    expect(compareNumeric(counted, current)).toEqual(compareNumeric(rows, current));
  });

  it('keeps to the thresholds given; Infinity turns a measure off', () => {
    const [reference, current] = [normals(2000, 1), normals(2000, 2, 0.2)];
    expect(exceeding(compareNumeric(reference, current))).toContain('wasserstein');
    const off = { wasserstein: Infinity, kolmogorovSmirnov: 0.5, jensenShannon: 0.5, lInfinity: 0.5 };
    expect(compareNumeric(reference, current, { thresholds: off }).drifted).toBe(false);
    expect(compareNumeric(reference, current, { thresholds: { ...off, psi: 0.01 } }).drifted).toBe(true);
  });

  it.each<[string, object]>([
    ['a threshold of 0', { thresholds: { psi: 0 } }],
    ['a threshold that is NaN', { thresholds: { wasserstein: NaN } }],
    ['a level of 0', { level: 0 }],
    ['one bin', { bins: 1 }],
  ])('refuses %s', (_, options) => {
    expect(() => compareNumeric([1, 2], [1, 2], options)).toThrow(RangeError);
  });
});

describe('compareCategorical', () => {
  const reference = counts({ a: 500, b: 300, c: 200 });

  it('gives every measure on counts', () => {
    const result = compareCategorical(counts({ a: 200, b: 800 }), counts({ a: 400, b: 600 }));
    expect(result).toMatchObject({ nReference: 1000, nCurrent: 1000, newShare: 0, drifted: true });
    expect(result.chiSquare?.statistic).toBeCloseTo(95.2380952, 6);
    expect(result.lInfinity).toBeCloseTo(0.2, 12);
    expect(exceeding(result)).toEqual(['jensenShannon', 'lInfinity']);
  });

  it.each([
    ['equal shares', counts({ a: 50, b: 30, c: 20 }), 0],
    ['one new value', counts({ a: 500, b: 300, c: 199, x: 1 }), 0.001],
    ['one new value of ten', counts({ a: 5, b: 3, c: 1, x: 1 }), 0.1],
    ['a single value', counts({ x: 1 }), 1],
  ])('stays calm at %s', (_, current, newShare) => {
    const result = compareCategorical(reference, current);
    expect(result.drifted).toBe(false);
    expect(result.newShare).toBeCloseTo(newShare, 12);
  });

  it('sees many new rare categories together', () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`x${index}`, 1]));
    const result = compareCategorical(reference, counts({ a: 350, b: 210, c: 140, ...many }));
    expect(result.drifted).toBe(true);
    expect(result.lInfinity).toBeCloseTo(0.3, 12);
    expect(result.newShare).toBeCloseTo(0.3, 12);
  });

  it('does not call a category new that the reference keeps among others', () => {
    const kept = counts({ a: 500, [OTHER_CATEGORY]: 500 });
    expect(compareCategorical(kept, counts({ a: 50, [OTHER_CATEGORY]: 50 })).newShare).toBe(0);
  });

  it('has no chi-square without two categories, and calls that no drift', () => {
    const result = compareCategorical(counts({ a: 10 }), counts({ a: 20 }));
    expect(result).toMatchObject({ chiSquare: null, psi: 0, js: 0, lInfinity: 0, p: 1, drifted: false });
  });

  it('refuses an empty sample', () => {
    expect(() => compareCategorical(counts({}), reference)).toThrow(RangeError);
  });
});

describe('decideDrift', () => {
  it('adjusts for the number of comparisons, and asks for an effect too', () => {
    const borderline = compareNumeric(normals(120, 31), normals(120, 32, 0.5));
    const calm = compareNumeric(normals(200, 3), normals(200, 4));
    const strong = compareNumeric(normals(200, 1), normals(200, 2, 2));
    expect(borderline.p).toBeGreaterThan(0.0005);
    expect(borderline.drifted).toBe(true);
    expect(decideDrift([borderline])).toEqual([true]);
    const hundred = [strong, borderline, ...Array<DriftComparison>(98).fill(calm)];
    expect(decideDrift(hundred).slice(0, 3)).toEqual([true, false, false]);
    expect(decideDrift([strong, borderline, calm], { method: 'benjamini-hochberg' })).toEqual([true, true, false]);
    expect(() => decideDrift([], { level: 1 })).toThrow(RangeError);
  });
});
