import { describe, expect, it } from 'vitest';
import {
  alignCategories,
  binCounts,
  OTHER_CATEGORY,
  poolSparseBins,
  quantileEdges,
} from '../../../policy/drift/binning.ts';
import { weighted } from '../../../policy/drift/distribution.ts';

describe('quantile bins', () => {
  it('hold equal parts of their reference', () => {
    const values = Array.from({ length: 100 }, (_, index) => 99 - index);
    const edges = quantileEdges(values, 4);
    expect([...edges]).toEqual([24, 49, 74]);
    expect([...binCounts(values, edges)]).toEqual([25, 25, 25, 25]);
  });

  it('put values beyond the reference into the outer bins, and an edge into the bin below it', () => {
    expect([...binCounts([-1e9, 24, 24.5, 1e9], [24, 49, 74])]).toEqual([2, 1, 0, 1]);
  });

  it.each([
    ['a flag that is mostly 1', [0, ...Array<number>(19).fill(1)], [0, 1], [1, 1]],
    ['a constant', Array<number>(20).fill(7), [6, 7, 8], [1, 1, 1]],
    ['a constant 0', Array<number>(20).fill(0), [-1e-300, 0, 1e-300], [1, 1, 1]],
    ['a negative constant', Array<number>(20).fill(-3), [-4, -3, -2], [1, 1, 1]],
  ])('tell the frequent value from its neighbours: %s', (_, reference, values, expected) => {
    const counts = binCounts(values, quantileEdges(reference, 10));
    expect([...counts].filter((count) => count > 0)).toEqual(expected);
  });

  it('collapse ties and weigh weighted samples', () => {
    const sample = weighted([1, 2, 3], [98, 1, 1]);
    const edges = quantileEdges(sample, 10);
    expect(edges.length).toBe(2);
    expect([...binCounts(sample, edges)]).toEqual([0, 98, 2]);
  });

  it.each<[string, () => unknown]>([
    ['fewer than two bins', () => quantileEdges([1, 2], 1)],
    ['half a bin', () => quantileEdges([1, 2], 2.5)],
    ['edges that do not ascend', () => binCounts([1], [2, 2])],
    ['an edge that is NaN', () => binCounts([1], [NaN])],
    ['an empty reference', () => quantileEdges([], 10)],
  ])('refuse %s', (_, make) => {
    expect(make).toThrow(RangeError);
  });
});

describe('poolSparseBins', () => {
  it.each([
    ['keeps bins that are full enough', [50, 50], [40, 60], [50, 50], [40, 60]],
    ['puts rare ones together at the end', [90, 4, 3, 3], [90, 3, 4, 3], [90, 10], [90, 10]],
    ['joins a rest that is too rare to the smallest', [60, 39, 1], [60, 40, 0], [60, 40], [60, 40]],
    ['keeps a bin that is new but large', [100, 0], [80, 20], [100, 0], [80, 20]],
    ['leaves one bin of samples that are too small', [3, 2], [2, 3], [5], [5]],
    ['looks at the smaller sample', [5000, 5000], [4, 4], [10000], [8]],
  ])('%s', (_, reference, current, pooledReference, pooledCurrent) => {
    expect(poolSparseBins(reference, current)).toEqual({ reference: pooledReference, current: pooledCurrent });
  });

  it('refuses counts that cannot be compared', () => {
    expect(() => poolSparseBins([1], [1, 2])).toThrow(RangeError);
    expect(() => poolSparseBins([1, 2], [1, NaN])).toThrow(RangeError);
    expect(() => poolSparseBins([1, 2], [1, 2], -1)).toThrow(RangeError);
  });
});

describe('alignCategories', () => {
  const counts = (entries: Record<string, number>): Map<string, number> => new Map(Object.entries(entries));

  it('orders by mean share, counts absent ones as 0 and leaves empty ones out', () => {
    expect(alignCategories(counts({ a: 10, b: 900, gone: 90, never: 0 }), counts({ a: 5, b: 4, fresh: 1 }))).toEqual({
      categories: ['b', 'a', 'fresh', 'gone'],
      reference: [900, 10, 0, 90],
      current: [4, 5, 1, 0],
    });
  });

  it('puts those beyond the limit, and what was "other" already, together', () => {
    const reference = counts({ a: 5, b: 4, c: 3, d: 2, [OTHER_CATEGORY]: 100 });
    expect(alignCategories(reference, counts({ a: 5, d: 1 }), { limit: 2 })).toEqual({
      categories: ['a', 'd', OTHER_CATEGORY],
      reference: [5, 2, 107],
      current: [5, 1, 0],
    });
  });

  it('gives rare categories no bin of their own', () => {
    const reference = counts({ a: 90, b: 6, c: 4 });
    expect(alignCategories(reference, counts({ a: 90, b: 4, x: 6 }), { minimumExpected: 5 })).toEqual({
      categories: ['a', 'b', OTHER_CATEGORY],
      reference: [90, 6, 4],
      current: [90, 4, 6],
    });
  });

  it('refuses empty samples, bad counts and limits', () => {
    expect(() => alignCategories(counts({ a: 1 }), counts({}))).toThrow('current sample');
    expect(() => alignCategories(counts({ a: NaN }), counts({ a: 1 }))).toThrow(RangeError);
    expect(() => alignCategories(counts({ a: 1 }), counts({ a: 1 }), { limit: 0 })).toThrow(RangeError);
  });
});
