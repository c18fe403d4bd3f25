import { benjaminiHochberg, holm } from '../multiple-testing.ts';
import { type ChiSquareResult, chiSquareTwoSample, jensenShannonDistance, lInfinity, psi } from './counts.ts';
import { jensenShannonNull, lInfinityNull, type NullDistribution, psiNull } from './null-distribution.ts';
import type { AlignedCounts } from './binning.ts';
import { requireLevel } from './vectors.ts';

/** How large each distance has to be to matter. Infinity turns a measure off for the decision. */
export interface DriftThresholds {
  /**
   * 0.2: the customary limit of "a significant shift" in credit scoring (Siddiqi 2006 says 0.25, from 0.1 on "watch").
   */
  psi: number;
  /**
   * 0.1, a PSI of about 0.08: new categories and shifts of the mean by 0.3 standard deviations; Evidently's default
   * too.
   */
  jensenShannon: number;
  /** 0.1: a tenth of all rows has moved into or out of one bin. */
  lInfinity: number;
  /** 0.1: a tenth of all rows lies on another side of some value; a shift by a quarter of a standard deviation. */
  kolmogorovSmirnov: number;
  /** 0.1 standard deviations of the reference, by which the average row has moved; Evidently's default too. */
  wasserstein: number;
}

export const DEFAULT_DRIFT_THRESHOLDS: Readonly<DriftThresholds> = {
  psi: 0.2,
  jensenShannon: 0.1,
  lInfinity: 0.1,
  kolmogorovSmirnov: 0.1,
  wasserstein: 0.1,
};

export interface DriftOptions {
  /** Overrides of {@link DEFAULT_DRIFT_THRESHOLDS}. */
  thresholds?: Partial<DriftThresholds> | undefined;
  /** Significance level of the guard against small samples, 0.05 unless said. */
  level?: number | undefined;
}

/** One measure of one comparison. */
export interface Effect {
  measure: keyof DriftThresholds;
  value: number;
  threshold: number;
  /** What the value stays below with probability 1 - level at these sample sizes when nothing has drifted. */
  expected: number;
  /** P(a value of at least this | nothing has drifted). */
  p: number;
  /** value >= threshold. */
  exceeds: boolean;
}

export interface DriftComparison {
  /** Observations that the samples are worth. */
  nReference: number;
  nCurrent: number;
  psi: number;
  /** Jensen-Shannon distance, natural logarithm. */
  js: number;
  lInfinity: number;
  /** Null when the samples are too small, or too much of one value, for two bins. */
  chiSquare: ChiSquareResult | null;
  /** Every measure with its threshold and significance. */
  effects: Effect[];
  /**
   * Significance of the effects that exceed their threshold: the smallest of their p-values times the number of
   * measures (Bonferroni), at most 1; 1 when none exceeds, or with fewer than 20 observations on a side. A valid
   * p-value of "nothing has drifted", fit for {@link decideDrift}.
   */
  p: number;
  /** Some effect reaches its threshold, and p < level. */
  drifted: boolean;
}

/**
 * The decision over many comparisons (columns, slices) at once: an effect reaches its threshold and its p, adjusted for
 * the number of comparisons, is below `level`. In the order of the input.
 */
export function decideDrift(
  comparisons: readonly DriftComparison[],
  { level = 0.05, method = 'holm' }: { level?: number; method?: 'holm' | 'benjamini-hochberg' } = {},
): boolean[] {
  requireLevel(level, 'the level');
  const p = comparisons.map((comparison) => comparison.p);
  const adjusted = method === 'holm' ? holm(p) : benjaminiHochberg(p);
  return comparisons.map(
    ({ effects }, index) => effects.some(({ exceeds }) => exceeds) && (adjusted[index] as number) < level,
  );
}

/** The settings of a comparison, checked. */
export interface DriftSettings {
  thresholds: DriftThresholds;
  level: number;
}

export function driftSettings({ thresholds, level = 0.05 }: DriftOptions): DriftSettings {
  requireLevel(level, 'the level');
  const merged: DriftThresholds = { ...DEFAULT_DRIFT_THRESHOLDS, ...thresholds };
  for (const [measure, threshold] of Object.entries(merged) as [string, number][]) {
    if (!(threshold > 0)) {
      throw new RangeError(`the threshold of ${measure} must be above 0 (Infinity turns it off), not ${threshold}`);
    }
  }
  return { thresholds: merged, level };
}

/** Value, threshold and significance of one measure; `p` where a better one than the null distribution's is known. */
export function effectOf(
  { thresholds, level }: DriftSettings,
  measure: keyof DriftThresholds,
  { value, under, p }: { value: number; under: NullDistribution; p?: number },
): Effect {
  const threshold = thresholds[measure];
  return {
    measure,
    value,
    threshold,
    expected: under.quantile(1 - level),
    p: p ?? under.pValue(value),
    exceeds: value >= threshold,
  };
}

/** The measures on counts, of bins that are no longer sparse. */
export function countEffects(settings: DriftSettings, { reference, current }: AlignedCounts): Effect[] {
  return [
    effectOf(settings, 'psi', { value: psi(reference, current), under: psiNull(reference, current) }),
    effectOf(settings, 'jensenShannon', {
      value: jensenShannonDistance(reference, current),
      under: jensenShannonNull(reference, current),
    }),
    effectOf(settings, 'lInfinity', { value: lInfinity(reference, current), under: lInfinityNull(reference, current) }),
  ];
}

/** Fewer observations decide nothing: one far value among them could be "significant". */
const MIN_OBSERVATIONS = 20;

/** The comparison that effects and counts add up to. */
export function concluded(
  { level }: DriftSettings,
  { reference, current }: AlignedCounts,
  sizesAndEffects: { nReference: number; nCurrent: number; effects: Effect[] },
): DriftComparison {
  const { effects } = sizesAndEffects;
  const value = (measure: keyof DriftThresholds): number =>
    effects.find((effect) => effect.measure === measure)?.value ?? NaN;
  const exceeding = effects.filter(({ exceeds }) => exceeds).map(({ p }) => p);
  const enough = Math.min(sizesAndEffects.nReference, sizesAndEffects.nCurrent) >= MIN_OBSERVATIONS;
  const p = enough ? Math.min(1, effects.length * Math.min(1, ...exceeding)) : 1;
  return {
    ...sizesAndEffects,
    psi: value('psi'),
    js: value('jensenShannon'),
    lInfinity: value('lInfinity'),
    chiSquare: reference.length < 2 ? null : chiSquareTwoSample(reference, current),
    p,
    drifted: exceeding.length > 0 && p < level,
  };
}
