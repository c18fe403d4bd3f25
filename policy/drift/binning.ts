import { type Distribution, inverseCdf, type Sample, toDistribution } from './distribution.ts';
import { at, requireSameLength, requireWeights, sum } from './vectors.ts';

/** The category that stands for all that have no bin of their own. */
export const OTHER_CATEGORY = '(other)';

/** Counts of two samples over the same bins. */
export interface AlignedCounts {
  reference: number[];
  current: number[];
}

/**
 * Inner edges of `bins` quantile bins of the reference, ascending and distinct. Bin 0 holds the values up to and
 * including the first edge, bin i those above edge i - 1 up to and including edge i, the last one those above the last
 * edge; so there is always one bin more than edges, and every number falls into one.
 *
 * Quantiles that tie collapse. A value that holds two quantiles or more gets a bin of its own (its lower edge is the
 * number just below it), so that a constant or nearly constant column still tells its value from those beside it.
 *
 * @throws RangeError unless `bins` is a whole number of at least 2, or when the sample is empty or not finite.
 */
export function quantileEdges(reference: Sample, bins: number): Float64Array {
  if (!Number.isInteger(bins) || bins < 2)
    throw new RangeError(`bins must be a whole number of at least 2, not ${bins}`);
  const distribution = toDistribution(reference);
  const edges: number[] = [];
  for (let quantile = 1; quantile < bins; quantile++) {
    const value = inverseCdf(distribution, quantile / bins);
    if (value !== edges.at(-1)) edges.push(value);
    else if (edges.at(-2) !== justBelow(value)) edges.splice(-1, 0, justBelow(value));
  }
  return Float64Array.from(edges);
}

/** Weight of a sample in each bin of ascending `edges` (see {@link quantileEdges}); one bin more than edges. */
export function binCounts(sample: Sample, edges: ArrayLike<number>): Float64Array {
  const distribution = toDistribution(sample);
  const counts = new Float64Array(edges.length + 1);
  let row = 0;
  let before = 0;
  for (let bin = 0; bin <= edges.length; bin++) {
    const edge = bin < edges.length ? at(edges, bin) : Infinity;
    if (Number.isNaN(edge) || (bin > 0 && !(edge > at(edges, bin - 1)))) {
      throw new RangeError(`edges must ascend without ties; number ${bin + 1} is ${edge}`);
    }
    let upTo = before;
    while (row < distribution.values.length && at(distribution.values, row) <= edge) {
      upTo = at(distribution.cumulative, row++);
    }
    counts[bin] = upTo - before;
    before = upTo;
  }
  return counts;
}

/**
 * Bins of two samples with the rare ones put together. A bin is kept when the smaller of both samples is expected to
 * have at least `minimumExpected` observations in it (5: Cochran 1954); the others become one bin at the end, or, where
 * that one is still too rare, part of the smallest kept one. One bin is left when the samples are too small for two.
 *
 * @throws RangeError as the distances on counts do, and when `minimumExpected` is negative or not a number.
 */
export function poolSparseBins(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
  minimumExpected = 5,
): AlignedCounts {
  requireSameLength(reference, current, 'the counts of reference and current');
  requireWeights(reference, 'the counts of the reference');
  requireWeights(current, 'the counts of the current sample');
  requireMinimum(minimumExpected);
  const part = smallerShare(sum(reference), sum(current));
  const expected = (bin: Bin): number => (bin.reference + bin.current) * part;
  const kept: Bin[] = [];
  const rest: Bin = { reference: 0, current: 0 };
  for (let index = 0; index < reference.length; index++) {
    const bin = { reference: at(reference, index), current: at(current, index) };
    if (expected(bin) >= minimumExpected) kept.push(bin);
    else add(rest, bin);
  }
  if (expected(rest) >= minimumExpected || kept.length === 0) kept.push(rest);
  else
    add(
      kept.reduce((smallest, bin) => (expected(bin) < expected(smallest) ? bin : smallest)),
      rest,
    );
  return { reference: kept.map((bin) => bin.reference), current: kept.map((bin) => bin.current) };
}

export interface AlignedCategories extends AlignedCounts {
  /** By falling mean share, ties by name; {@link OTHER_CATEGORY} last, if any. */
  categories: string[];
}

/** Which categories get a bin of their own. */
export interface OwnBins {
  /** At most so many, 50 unless said. */
  limit?: number | undefined;
  /**
   * Only those of which the smaller sample is expected to have so many observations (see {@link poolSparseBins}); 0
   * unless said.
   */
  minimumExpected?: number | undefined;
}

/**
 * Counts of two samples by category, in one order: the `limit` categories with the largest mean share of both samples,
 * and all the rest as {@link OTHER_CATEGORY}, which also takes the counts that the inputs hold under that name. A new
 * category has a count of 0 in the reference. Categories without any count are left out.
 *
 * @throws RangeError when a count is negative or not finite, when a sample is empty, or an option is out of its range.
 */
export function alignCategories(
  reference: ReadonlyMap<string, number>,
  current: ReadonlyMap<string, number>,
  { limit = 50, minimumExpected = 0 }: OwnBins = {},
): AlignedCategories {
  if (!Number.isInteger(limit) || limit < 1)
    throw new RangeError(`limit must be a whole number of at least 1, not ${limit}`);
  requireMinimum(minimumExpected);
  const referenceTotal = totalOf(reference, 'reference');
  const currentTotal = totalOf(current, 'current sample');
  const names = [...new Set([...reference.keys(), ...current.keys()])].filter((name) => name !== OTHER_CATEGORY);
  const share = (name: string): number =>
    (reference.get(name) ?? 0) / referenceTotal + (current.get(name) ?? 0) / currentTotal;
  const part = smallerShare(referenceTotal, currentTotal);
  const ranked = names
    .map((name) => ({ name, share: share(name) }))
    .filter((category) => category.share > 0)
    .sort((a, b) => b.share - a.share || (a.name < b.name ? -1 : 1))
    .map(({ name }) => name);
  const own = ranked
    .slice(0, limit)
    .filter((name) => ((reference.get(name) ?? 0) + (current.get(name) ?? 0)) * part >= minimumExpected);
  const result: AlignedCategories = {
    categories: own,
    reference: own.map((name) => reference.get(name) ?? 0),
    current: own.map((name) => current.get(name) ?? 0),
  };
  const owned = new Set(own);
  const others = [...ranked.filter((name) => !owned.has(name)), OTHER_CATEGORY];
  const otherReference = sum(others.map((name) => reference.get(name) ?? 0));
  const otherCurrent = sum(others.map((name) => current.get(name) ?? 0));
  if (otherReference + otherCurrent > 0) {
    result.categories = [...own, OTHER_CATEGORY];
    result.reference.push(otherReference);
    result.current.push(otherCurrent);
  }
  return result;
}

/** Weight of a sample in each bin, in independent observations. */
export function effectiveBinCounts(distribution: Distribution, edges: ArrayLike<number>): Float64Array {
  const counts = binCounts(distribution, edges);
  const scale = distribution.effectiveCount / sum(counts);
  return counts.map((count) => count * scale);
}

interface Bin {
  reference: number;
  current: number;
}

function add(bin: Bin, other: Bin): void {
  bin.reference += other.reference;
  bin.current += other.current;
}

/** The part of all observations that the smaller sample holds. */
function smallerShare(referenceTotal: number, currentTotal: number): number {
  return Math.min(referenceTotal, currentTotal) / (referenceTotal + currentTotal);
}

function requireMinimum(minimumExpected: number): void {
  if (!(minimumExpected >= 0)) throw new RangeError(`minimumExpected must be at least 0, not ${minimumExpected}`);
}

function totalOf(counts: ReadonlyMap<string, number>, what: string): number {
  const values = [...counts.values()];
  requireWeights(values, `the counts of the ${what}`);
  return sum(values);
}

/** The largest double below a finite value. */
function justBelow(value: number): number {
  if (value === 0) return -Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  view.setBigInt64(0, view.getBigInt64(0) + (value > 0 ? -1n : 1n));
  return view.getFloat64(0);
}
