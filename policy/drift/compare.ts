import { type AlignedCounts, alignCategories, effectiveBinCounts, poolSparseBins, quantileEdges } from './binning.ts';
import { type Distribution, type Sample, toDistribution } from './distribution.ts';
import {
  concluded,
  countEffects,
  type DriftComparison,
  type DriftOptions,
  driftSettings,
  effectOf,
} from './effects.ts';
import { kolmogorovSmirnov, type KolmogorovSmirnovResult } from './kolmogorov-smirnov.ts';
import { kolmogorovSmirnovNull, wassersteinNull } from './null-distribution.ts';
import { sum } from './vectors.ts';
import { fencedWasserstein, robustFence } from './wasserstein.ts';

export interface NumericDriftOptions extends DriftOptions {
  /**
   * Quantile bins of the reference for the measures on counts, 10 unless said; fewer when a sample has not 20 rows
   * each.
   */
  bins?: number | undefined;
}

export interface NumericComparison extends DriftComparison {
  ks: KolmogorovSmirnovResult;
  /** Normalised and clamped: standard deviations of the reference. */
  wasserstein: number;
}

/**
 * Compares two samples of a number, plain or as weighted distributions: Kolmogorov-Smirnov, normalised Wasserstein, and
 * on quantile bins of the reference PSI, Jensen-Shannon, L-infinity and chi-square. Missing values are for the caller
 * to count.
 *
 * An effect size decides; significance only guards against samples that are too small. No single value can decide,
 * however far it lies: every measure is bounded by ranks, shares or a fence, and fewer than 20 observations on a side
 * decide nothing.
 *
 * @throws RangeError on an empty sample, a value that is not finite, or an option out of its range.
 */
export function compareNumeric(
  reference: Sample,
  current: Sample,
  options: NumericDriftOptions = {},
): NumericComparison {
  const settings = driftSettings(options);
  const a = toDistribution(reference);
  const b = toDistribution(current);
  const sizes = { nReference: a.effectiveCount, nCurrent: b.effectiveCount };
  const counts = binned(a, b, options.bins ?? 10);
  const ks = kolmogorovSmirnov(a, b);
  const fence = robustFence(a, b);
  const wasserstein = fencedWasserstein(a, b, fence);
  const effects = [
    ...countEffects(settings, counts),
    effectOf(settings, 'kolmogorovSmirnov', {
      value: ks.d,
      under: kolmogorovSmirnovNull(a.effectiveCount, b.effectiveCount),
      p: ks.p,
    }),
    effectOf(settings, 'wasserstein', { value: wasserstein, under: wassersteinNull(a, b, fence) }),
  ];
  return { ...concluded(settings, counts, { ...sizes, effects }), ks, wasserstein };
}

export interface CategoricalDriftOptions extends DriftOptions {
  /** Categories with a bin of their own, 50 unless said; the others are one bin. */
  limit?: number | undefined;
}

export interface CategoricalComparison extends DriftComparison {
  /**
   * Share of the current sample in categories that the reference does not have; {@link OTHER_CATEGORY} counts as one.
   */
  newShare: number;
}

/**
 * Compares two counts by category: PSI, Jensen-Shannon, L-infinity and chi-square, over the most frequent categories,
 * with all others and those too rare to judge (fewer than 10 expected in the smaller sample) together. Decided as in
 * {@link compareNumeric}. Counts are taken for independent observations; scale them down where they are not.
 *
 * @throws RangeError when a sample is empty, a count negative or not finite, or an option out of its range.
 */
export function compareCategorical(
  reference: ReadonlyMap<string, number>,
  current: ReadonlyMap<string, number>,
  options: CategoricalDriftOptions = {},
): CategoricalComparison {
  const settings = driftSettings(options);
  const aligned = alignCategories(reference, current, { limit: options.limit, minimumExpected: EXPECTED_IN_BIN });
  const counts = poolSparseBins(aligned.reference, aligned.current, EXPECTED_IN_BIN);
  const nCurrent = sum(aligned.current);
  const effects = countEffects(settings, counts);
  let unknown = 0;
  for (const [category, count] of current) if ((reference.get(category) ?? 0) === 0) unknown += count;
  return {
    ...concluded(settings, counts, { nReference: sum(aligned.reference), nCurrent, effects }),
    newShare: unknown / nCurrent,
  };
}

/**
 * Observations expected in a bin of the smaller sample: twice Cochran's 5, since the PSI's logarithm wants more (5 gave
 * 6.2 % false alarms at 5 %).
 */
const EXPECTED_IN_BIN = 10;
/** Rows that a quantile bin should hold, so that few have less than that by chance. */
const ROWS_PER_BIN = 20;

function binned(a: Distribution, b: Distribution, bins: number): AlignedCounts {
  const affordable = Math.floor(Math.min(a.effectiveCount, b.effectiveCount) / ROWS_PER_BIN);
  const edges = quantileEdges(a, Math.min(bins, Math.max(2, affordable)));
  return poolSparseBins(effectiveBinCounts(a, edges), effectiveBinCounts(b, edges), EXPECTED_IN_BIN);
}
