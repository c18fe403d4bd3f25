import { count, decimal, milliseconds, percent } from './figures.ts';
import type { ArmSums } from './health.ts';
import { welchZ, twoProportionZ, type Sample } from './statistics.ts';

/** What the live sums say of how well an arm ranks. */
export const LIVE_QUALITY = ['clickThroughRate', 'logLoss', 'dwell', 'calibration', 'score'] as const;
export type LiveQuality = (typeof LIVE_QUALITY)[number];

/** How much worse a canary is than stable. */
export interface Comparison {
  /** One-sided z of being worse by more than the tolerance. */
  z: number;
  /** Of the difference, as a share of what is compared. */
  standardError: number;
}

export interface LiveQualityMetric {
  /** Of its reasons. */
  code: string;
  name: string;
  /** Of an arm, in words. */
  figure: (sums: ArmSums) => string;
  /** What is still missing to judge by; null when there is enough. `least` is of impressions, and of what is rarer where it matters. */
  missing?: (canary: ArmSums, stable: ArmSums, least: number) => string | null;
  /** @param tolerance natural logarithm of the factor by which the canary may be worse. */
  compare: (canary: ArmSums, stable: ArmSums, tolerance: number) => Comparison;
}

/**
 * How each metric of live quality is compared, canary against concurrent stable; docs/health.md has them in a table. Each z
 * is NaN where what it is made of is, and 0 where nothing differs.
 */
export const LIVE_QUALITY_METRICS: Record<LiveQuality, LiveQualityMetric> = {
  clickThroughRate: {
    code: 'health.click-through-rate',
    name: 'click-through rate',
    figure: ({ clicks, impressions }) => percent(clicks / impressions),
    compare(canary, stable) {
      const rate = (canary.clicks + stable.clicks) / (canary.impressions + stable.impressions);
      return {
        z: twoProportionZ(
          { successes: stable.clicks, n: stable.impressions },
          { successes: canary.clicks, n: canary.impressions },
        ),
        standardError: Math.sqrt(((1 - rate) / rate) * (1 / canary.impressions + 1 / stable.impressions)),
      };
    },
  },
  logLoss: {
    code: 'health.log-loss',
    name: 'log loss',
    figure: ({ logLossSum, impressions }) => decimal(logLossSum / impressions),
    compare(canary, stable) {
      const [a, b] = [logLossOf(canary), logLossOf(stable)];
      return compareMeans(a, b, b.mean);
    },
  },
  dwell: {
    code: 'health.dwell',
    name: 'dwell',
    figure: ({ dwellSum, dwells, impressions }) =>
      `${milliseconds(dwellSum / impressions)} an impression (${dwells === 0 ? 'none' : `${milliseconds(dwellSum / dwells)} in each of ${count(dwells)}`})`,
    missing: fewDwells,
    /**
     * Of all impressions, those without a dwell being 0: one that fewer items are opened in is worse, however long they hold. The
     * variance of the canary is at least stable's: with few dwells a low mean comes with a low variance, and z would be too large.
     */
    compare(canary, stable) {
      const [a, b] = [dwellOf(canary), dwellOf(stable)];
      return compareMeans(b, { ...a, variance: Math.max(a.variance, b.variance) }, b.mean);
    },
  },
  calibration: {
    code: 'health.calibration',
    name: 'ratio of clicks promised to clicks',
    figure: (sums) => decimal(Math.exp(logCalibration(sums))),
    /**
     * Calibration is the mean score over the click-through rate (He et al. 2014, "Practical Lessons from Predicting Clicks on
     * Ads at Facebook"); worse is further from 1, on either side, than stable's is.
     */
    compare(canary, stable, tolerance) {
      const worse = Math.abs(logCalibration(canary)) - Math.abs(logCalibration(stable));
      return compareLogarithms(worse - tolerance, canary.clicks, stable.clicks);
    },
  },
  score: {
    code: 'health.score-drift',
    name: 'mean score',
    figure: ({ scoreSum, impressions }) => decimal(scoreSum / impressions),
    /** Worse is any shift. */
    compare(canary, stable, tolerance) {
      const shift = logOf(canary.scoreSum) - logOf(stable.scoreSum) - Math.log(canary.impressions / stable.impressions);
      return compareLogarithms(Math.abs(shift) - tolerance, canary.scoreSum, stable.scoreSum);
    },
  },
};

/** The canary is worse as far as `a` has the larger mean. */
function compareMeans(a: Sample, b: Sample, scale: number): Comparison {
  return { z: welchZ(a, b), standardError: Math.sqrt(a.variance / a.n + b.variance / b.n) / scale };
}

/**
 * Logarithms of ratios of sums, each sum taken for a Poisson count: for clicks that is nearly so, and sums of scores vary less
 * than that.
 */
function compareLogarithms(worse: number, canaryEvents: number, stableEvents: number): Comparison {
  const standardError = Math.sqrt(1 / (canaryEvents + HALF) + 1 / (stableEvents + HALF));
  return { z: worse / standardError, standardError };
}

/** Added to every count, so that none is 0 under a logarithm (Haldane 1956; Anscombe 1956). */
const HALF = 0.5;

function logOf(sum: number): number {
  return Math.log(sum + HALF);
}

function logCalibration({ scoreSum, clicks }: ArmSums): number {
  return logOf(scoreSum) - logOf(clicks);
}

function logLossOf({ impressions, logLossSum, logLossSquareSum }: ArmSums): Sample {
  return sampleOf(impressions, logLossSum, logLossSquareSum);
}

function dwellOf({ impressions, dwellSum, dwellSquareSum }: ArmSums): Sample {
  return sampleOf(impressions, dwellSum, dwellSquareSum);
}

function sampleOf(n: number, sum: number, squares: number): Sample {
  const mean = sum / n;
  return { mean, variance: Math.max(0, (squares - n * mean * mean) / (n - 1)), n };
}

/** Stable's dwells are what is missed: a canary that gets none is worse, once so many impressions would have brought enough. */
function fewDwells(canary: ArmSums, stable: ArmSums, least: number): string | null {
  if (stable.dwells < least)
    return `${count(stable.dwells)} dwells of stable so far, ${count(least)} are needed to judge.`;
  const expected = (canary.impressions * stable.dwells) / stable.impressions;
  if (expected >= least) return null;
  return `${count(canary.impressions)} labelled canary impressions would have ${count(expected)} dwells at stable's rate, ${count(least)} are needed to judge.`;
}
