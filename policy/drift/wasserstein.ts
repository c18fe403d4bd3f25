import { normalQuantile } from '../statistics.ts';
import { type Distribution, inverseCdf, pool, type Sample, toDistribution, totalWeight, walk } from './distribution.ts';

/**
 * Wasserstein-1 (earth mover's) distance: the area between the two distribution functions, in the unit of the values.
 * One far value moves it without limit: see {@link normalisedWasserstein} for decisions.
 *
 * @throws RangeError on an empty sample or a value that is not finite.
 */
export function wasserstein(reference: Sample, current: Sample): number {
  return areaBetween(toDistribution(reference), toDistribution(current), -Infinity, Infinity);
}

/** The stretch of values that a normalised distance looks at, and its unit. */
export interface Fence {
  low: number;
  high: number;
  /** Robust standard deviation of the reference; 0 when nearly all of both samples is one value. */
  scale: number;
}

/** Tail shares of the quantile pairs that are tried for a spread, from the most robust. */
const TAILS = [0.25, 0.1, 0.05, 0.01];
/** Tukey's fence, in widths of the quantile pair. */
const FENCE_WIDTHS = 1.5;

/**
 * Robust scale and fence of a pair of samples.
 *
 * Scale: the reference's interquartile range / 1.349, the standard deviation of a normal distribution with those
 * quartiles. Where both quartiles are one value the 10-90 %, 5-95 % and 1-99 % ranges follow, each over its normal
 * width; then the same of both samples pooled; then 0. A pair of quantiles is used only if at least two observations
 * lie beyond each, so that no single value sets it.
 *
 * Fence: one and a half widths beyond the first pair of pooled quantiles that differ, [Q1 - 1.5 IQR, Q3 + 1.5 IQR]
 * (Tukey 1977): 2.7 standard deviations of a normal distribution, so that a value clamped to it is far but not unheard
 * of.
 */
export function robustFence(reference: Distribution, current: Distribution): Fence {
  const pooled = pool(reference, current);
  const pair = spreadPair(pooled);
  if (pair === null) return { low: 0, high: 0, scale: 0 };
  const margin = FENCE_WIDTHS * (pair.high - pair.low);
  return { low: pair.low - margin, high: pair.high + margin, scale: (spreadPair(reference) ?? pair).sigma };
}

/**
 * Wasserstein-1 distance in standard deviations of the reference, robust to outliers: both samples are clamped to the
 * fence and divided by the robust scale of {@link robustFence}. A single value, however far, adds at most the share of
 * one observation times the width of the fence. 0.1 is the distance of a shift by a tenth of a standard deviation. 0
 * when both samples are (but for 1 % in each tail) one and the same value, where other measures see the rest, and with
 * fewer than 8 values in all.
 *
 * @throws RangeError on an empty sample or a value that is not finite.
 */
export function normalisedWasserstein(reference: Sample, current: Sample): number {
  const a = toDistribution(reference);
  const b = toDistribution(current);
  return fencedWasserstein(a, b, robustFence(a, b));
}

export function fencedWasserstein(reference: Distribution, current: Distribution, fence: Fence): number {
  return fence.scale === 0 ? 0 : areaBetween(reference, current, fence.low, fence.high) / fence.scale;
}

function areaBetween(a: Distribution, b: Distribution, low: number, high: number): number {
  const aTotal = totalWeight(a);
  const bTotal = totalWeight(b);
  let area = 0;
  walk(a, b, ({ value, next, aCumulative, bCumulative }) => {
    const width = Math.min(next, high) - Math.max(value, low);
    const difference = Math.abs(aCumulative / aTotal - bCumulative / bTotal);
    if (width > 0 && difference > 0) area += difference * width;
  });
  return area;
}

function spreadPair(distribution: Distribution): { low: number; high: number; sigma: number } | null {
  for (const tail of TAILS) {
    if (tail * distribution.effectiveCount < 2) break;
    const low = inverseCdf(distribution, tail);
    const high = inverseCdf(distribution, 1 - tail);
    if (high > low) return { low, high, sigma: (high - low) / (2 * normalQuantile(1 - tail)) };
  }
  return null;
}
