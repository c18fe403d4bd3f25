import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  lessIsBetter,
  type ComparedMetric,
  type Estimate,
  type EvaluationMetric,
  type Figures,
  type Population,
  type SegmentGap,
} from '../../policy/evaluation.ts';
import { quantile } from '../../policy/statistics.ts';

/** One metric of one model: on the rows themselves, and on each replicate. */
export interface Distribution {
  estimate: number;
  replicates: Float64Array;
}

export type ModelDistributions = Record<EvaluationMetric, Distribution>;

/** The challenger's, then the champion's if there is one. */
export type SegmentDistributions = readonly [ModelDistributions, ModelDistributions?];

export function figuresOf(population: Population, [challenger, champion]: SegmentDistributions): Figures {
  const all = (model: ModelDistributions): Figures['challenger'] =>
    recordOf(EVALUATION_METRICS, (metric) => estimateOf(metric, model[metric]));
  const gain = (other: ModelDistributions): Figures['gain'] =>
    recordOf(COMPARED_METRICS, (metric) => estimateOf(metric, advantage(metric, challenger[metric], other[metric])));
  return {
    ...population,
    challenger: all(challenger),
    champion: champion === undefined ? null : all(champion),
    gain: champion === undefined ? null : gain(champion),
  };
}

/**
 * Between the best and the worst value of a slice, which are those on the rows themselves: replicates keep the pair. A metric
 * that is known of fewer than two values has no gap.
 *
 * @param values of the slice, those that were measured.
 */
export function gapsOf(
  slice: string,
  values: readonly { value: string; distributions: SegmentDistributions }[],
): SegmentGap[] {
  return COMPARED_METRICS.flatMap((metric) => {
    const gapOf = (model: 0 | 1): { best: string; worst: string; gap: Estimate } | null =>
      widest(
        metric,
        values.flatMap(({ value, distributions }) => {
          const distribution = distributions[model]?.[metric];
          return distribution === undefined ? [] : [{ value, distribution }];
        }),
      );
    const ours = gapOf(0);
    return ours === null ? [] : [{ slice, metric, ...ours, championGap: gapOf(1)?.gap ?? null }];
  });
}

function widest(
  metric: ComparedMetric,
  values: readonly { value: string; distribution: Distribution }[],
): { best: string; worst: string; gap: Estimate } | null {
  const known = values.filter(({ distribution }) => Number.isFinite(distribution.estimate));
  const sign = lessIsBetter(metric) ? -1 : 1;
  known.sort((a, b) => sign * (b.distribution.estimate - a.distribution.estimate));
  const [best] = known;
  const worst = known.at(-1);
  if (best === undefined || worst === undefined || best === worst) return null;
  const gap = estimateOf(metric, advantage(metric, best.distribution, worst.distribution));
  return { best: best.value, worst: worst.value, gap };
}

/** How much better `a` is than `b`, replicate by replicate: what makes the comparison a paired one. */
function advantage(metric: ComparedMetric, a: Distribution, b: Distribution): Distribution {
  const [more, less] = lessIsBetter(metric) ? [b, a] : [a, b];
  return {
    estimate: more.estimate - less.estimate,
    replicates: more.replicates.map((value, replicate) => value - (less.replicates[replicate] as number)),
  };
}

/** A share of undefined replicates (no positive drawn) above this makes all but the estimate unknown. */
const MAX_UNDEFINED = 0.01;

/**
 * The 5th and 95th percentiles of the replicates, a one-sided 95 % bound on either side, and their standard deviation.
 *
 * A calibration error is a sum of absolute values, to which noise only adds, and a replicate has that of the resampling on
 * top: its replicates lie about the estimate's own bias too high, and an interval of them may not even hold the
 * estimate. They are moved down so that the estimate is their mean.
 */
function estimateOf(metric: EvaluationMetric, { estimate, replicates }: Distribution): Estimate {
  const defined = replicates.filter((value) => !Number.isNaN(value)).sort();
  const undefinedOnes = replicates.length - defined.length;
  if (defined.length < 2 || undefinedOnes > MAX_UNDEFINED * replicates.length)
    return { estimate: rounded(estimate), lower: NaN, upper: NaN, standardError: NaN };
  const mean = defined.reduce((sum, value) => sum + value, 0) / defined.length;
  const variance = defined.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (defined.length - 1);
  const shift = metric === 'calibrationError' ? mean - estimate : 0;
  return {
    estimate: rounded(estimate),
    lower: rounded(quantile(defined, 0.05) - shift),
    upper: rounded(quantile(defined, 0.95) - shift),
    standardError: rounded(Math.sqrt(variance)),
  };
}

/** To the 7 significant digits that figures are kept with. */
export function rounded(value: number): number {
  return Number(value.toPrecision(7));
}

export function recordOf<K extends string, V>(keys: readonly K[], valueOf: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, valueOf(key)])) as Record<K, V>;
}
