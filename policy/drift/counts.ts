import jStat from 'jstat';
import { at, requireSameLength, requireWeights, sum } from './vectors.ts';

/**
 * Distances and tests between two arrays of counts: one count a bin or category, both arrays in the same order. The two
 * totals may differ; counts may be fractional (weights). All throw a RangeError when the arrays differ in length, hold
 * a negative or non-finite number, or when one of them has no observation at all.
 */

/** An empty bin counts as this part of one observation where a logarithm needs it. */
const EMPTY_BIN_COUNT = 0.5;

/**
 * Population stability index: sum over bins of (c - r) ln(c / r) of the shares r (reference) and c (current), in nats;
 * the sum of both Kullback-Leibler divergences (Jeffreys 1946). Symmetric, 0 for equal shares, no upper bound.
 *
 * A bin that is empty on one side counts as half an observation there, and nothing else is changed; a bin empty on both
 * sides adds nothing. The share then shrinks with the sample, so that one stray value in a small sample weighs little;
 * with a fixed share such as 0.0001 a single value among 20 would add 0.31.
 */
export function psi(reference: ArrayLike<number>, current: ArrayLike<number>): number {
  const [referenceTotal, currentTotal] = totals(reference, current);
  let index = 0;
  for (let bin = 0; bin < reference.length; bin++) {
    const r = at(reference, bin);
    const c = at(current, bin);
    if (r === 0 && c === 0) continue;
    const referenceShare = (r === 0 ? EMPTY_BIN_COUNT : r) / referenceTotal;
    const currentShare = (c === 0 ? EMPTY_BIN_COUNT : c) / currentTotal;
    index += (currentShare - referenceShare) * Math.log(currentShare / referenceShare);
  }
  return index;
}

/**
 * Jensen-Shannon distance: the square root of the Jensen-Shannon divergence with natural logarithms (Lin 1991; Endres &
 * Schindelin 2003), a metric between 0 and sqrt(ln 2) = 0.8326. Empty bins need no smoothing.
 */
export function jensenShannonDistance(reference: ArrayLike<number>, current: ArrayLike<number>): number {
  const [referenceTotal, currentTotal] = totals(reference, current);
  let divergence = 0;
  for (let bin = 0; bin < reference.length; bin++) {
    const r = at(reference, bin) / referenceTotal;
    const c = at(current, bin) / currentTotal;
    const middle = (r + c) / 2;
    if (r > 0) divergence += (r * Math.log(r / middle)) / 2;
    if (c > 0) divergence += (c * Math.log(c / middle)) / 2;
  }
  return Math.sqrt(Math.max(0, divergence));
}

/** Total variation distance: half the sum of the absolute differences of the shares, in [0, 1]. */
export function totalVariation(reference: ArrayLike<number>, current: ArrayLike<number>): number {
  return sum(absoluteDifferences(reference, current)) / 2;
}

/** L-infinity distance: the largest absolute difference of a share, in [0, 1]. */
export function lInfinity(reference: ArrayLike<number>, current: ArrayLike<number>): number {
  return absoluteDifferences(reference, current).reduce((largest, difference) => Math.max(largest, difference), 0);
}

export interface ChiSquareResult {
  statistic: number;
  /** Bins that are not empty on both sides, less one. */
  df: number;
  /** P(a larger statistic | both samples come from one distribution); 1 with fewer than two bins in use. */
  p: number;
}

/**
 * Two-sample chi-square test of homogeneity on the 2 x k table of counts (Pearson; no continuity correction). The
 * expected counts come from both samples pooled, so the totals may differ. Bins that are empty in both are dropped. The
 * p-value is an approximation that wants expected counts of at least about 5 (Cochran 1954): pool rare bins first
 * (`poolSparseBins`).
 */
export function chiSquareTwoSample(reference: ArrayLike<number>, current: ArrayLike<number>): ChiSquareResult {
  const [referenceTotal, currentTotal] = totals(reference, current);
  let statistic = 0;
  let df = -1;
  for (let bin = 0; bin < reference.length; bin++) {
    const r = at(reference, bin);
    const c = at(current, bin);
    if (r === 0 && c === 0) continue;
    df++;
    // Both rows' (observed - expected)^2 / expected of a column, put together.
    const difference = r / referenceTotal - c / currentTotal;
    statistic += (referenceTotal * currentTotal * difference * difference) / (r + c);
  }
  return { statistic, df, p: chiSquareSurvival(statistic, df) };
}

/**
 * Cramer's V of the 2 x k table: sqrt(chi-square / N), N the observations of both samples; in [0, 1], without the bias
 * correction. 0 with fewer than two bins in use.
 */
export function cramersV(reference: ArrayLike<number>, current: ArrayLike<number>): number {
  const { statistic } = chiSquareTwoSample(reference, current);
  return Math.sqrt(statistic / (sum(reference) + sum(current)));
}

/** P(X > statistic) of a chi-square variable; 1 without degrees of freedom. To about 1e-9; below 1e-16 it is 0. */
export function chiSquareSurvival(statistic: number, df: number): number {
  if (df <= 0 || statistic <= 0) return 1;
  return Math.max(0, 1 - jStat.chisquare.cdf(statistic, df));
}

/** The value that a chi-square variable stays below with probability `q`; 0 without degrees of freedom. */
export function chiSquareQuantile(q: number, df: number): number {
  return df <= 0 ? 0 : jStat.chisquare.inv(q, df);
}

function absoluteDifferences(reference: ArrayLike<number>, current: ArrayLike<number>): Float64Array {
  const [referenceTotal, currentTotal] = totals(reference, current);
  return Float64Array.from({ length: reference.length }, (_, bin) =>
    Math.abs(at(reference, bin) / referenceTotal - at(current, bin) / currentTotal),
  );
}

function totals(reference: ArrayLike<number>, current: ArrayLike<number>): [number, number] {
  requireSameLength(reference, current, 'the counts of reference and current');
  requireWeights(reference, 'the counts of the reference');
  requireWeights(current, 'the counts of the current sample');
  return [sum(reference), sum(current)];
}
