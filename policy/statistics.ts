/**
 * Statistics that decisions rest on. Labels are 0 or 1, scores are probabilities. A figure that is not defined (no
 * rows, one class only) is NaN, never a convenient number: callers must treat NaN as "not known".
 */

const PROBABILITY_FLOOR = 1e-6;

/** A probability clipped to [1e-6, 1 - 1e-6], as it is before every logarithm: in evaluation as in the live sums. */
export function clipProbability(probability: number): number {
  return Math.min(1 - PROBABILITY_FLOOR, Math.max(PROBABILITY_FLOOR, probability));
}

/** The log loss of one prediction: -ln p of what happened, after clipping. */
export function logLossOf(label: number, probability: number): number {
  const clipped = clipProbability(probability);
  return label === 1 ? -Math.log(clipped) : -Math.log1p(-clipped);
}

/**
 * Area under the ROC curve: the probability that a random positive is scored above a random negative, a tie counting
 * one half. By mid-ranks: AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N) (Hanley & McNeil 1982, the
 * Mann-Whitney statistic). NaN when a class is empty or a score is NaN.
 */
export function auc(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
  const count = labels.length;
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  order.sort((a, b) => at(scores, a) - at(scores, b));
  let positives = 0;
  let positiveRanks = 0;
  for (let start = 0; start < count;) {
    const score = at(scores, at(order, start));
    let end = start;
    let tiedPositives = 0;
    while (end < count && at(scores, at(order, end)) === score) tiedPositives += at(labels, at(order, end++));
    if (end === start) return NaN; // the score is NaN: it equals nothing, not even itself
    positives += tiedPositives;
    positiveRanks += (tiedPositives * (start + 1 + end)) / 2;
    start = end;
  }
  const negatives = count - positives;
  if (positives === 0 || negatives === 0) return NaN;
  return (positiveRanks - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/** Mean log loss over rows; lower is better. NaN without rows. */
export function logLoss(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
  let sum = 0;
  for (let row = 0; row < labels.length; row++) sum += logLossOf(at(labels, row), at(scores, row));
  return sum / labels.length;
}

/** Sum of predicted probabilities over the number of positives: 1 is calibrated, above 1 promises too much. NaN without positives. */
export function calibrationRatio(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
  let predicted = 0;
  let positives = 0;
  for (let row = 0; row < labels.length; row++) {
    predicted += at(scores, row);
    positives += at(labels, row);
  }
  return positives === 0 ? NaN : predicted / positives;
}

/**
 * The `q`-quantile (q in [0, 1]) of values in ascending order, linear between order statistics: type 7 of
 * Hyndman & Fan (1996), as in NumPy and R. NaN without values.
 */
export function quantile(ascending: ArrayLike<number>, q: number): number {
  if (ascending.length === 0) return NaN;
  const position = q * (ascending.length - 1);
  const below = Math.floor(position);
  const low = at(ascending, below);
  return low + (position - below) * (at(ascending, Math.min(below + 1, ascending.length - 1)) - low);
}

/** P(Z <= z) of a standard normal, to about 1e-15: Hart (1968), algorithm 5666, as given by West (2005), "Better approximations to cumulative normal functions". */
export function normalCdf(z: number): number {
  if (Number.isNaN(z)) return NaN;
  const x = Math.abs(z);
  const upper = x > 37 ? 0 : Math.exp((-x * x) / 2) * (x < 7.07106781186547 ? centre(x) : tail(x));
  return z > 0 ? 1 - upper : upper;
}

/** The z with P(Z <= z) = p, to about 1e-12: Acklam's rational approximation and one step of Halley's method. */
export function normalQuantile(p: number): number {
  if (!(p >= 0 && p <= 1)) return NaN;
  if (p === 0 || p === 1) return p === 0 ? -Infinity : Infinity;
  if (p > 0.5) return -normalQuantile(1 - p);
  const x = acklam(p);
  const error = (normalCdf(x) - p) * Math.sqrt(2 * Math.PI) * Math.exp((x * x) / 2);
  return x - error / (1 + (x * error) / 2);
}

/** Mean, sample variance and size of one arm. */
export interface Sample {
  mean: number;
  variance: number;
  n: number;
}

/**
 * z of "a's mean is larger than b's" for two independent samples with variances of their own (Welch 1947), large-sample
 * normal: above 2.33 is a one-sided 1 %. 0 when neither varies and the means agree, infinite when they do not, NaN when
 * a sample is empty or not a number.
 */
export function welchZ(a: Sample, b: Sample): number {
  return standardised(a.mean - b.mean, a.variance / a.n + b.variance / b.n);
}

/** Successes among trials of one arm. */
export interface Proportion {
  successes: number;
  n: number;
}

/** z of "a's proportion is larger than b's" with the pooled variance (the usual two-proportion test). Edge cases as in `welchZ`. */
export function twoProportionZ(a: Proportion, b: Proportion): number {
  const pooled = (a.successes + b.successes) / (a.n + b.n);
  return standardised(a.successes / a.n - b.successes / b.n, pooled * (1 - pooled) * (1 / a.n + 1 / b.n));
}

function standardised(difference: number, variance: number): number {
  if (variance === 0) return difference === 0 ? 0 : difference > 0 ? Infinity : difference < 0 ? -Infinity : NaN;
  return difference / Math.sqrt(variance);
}

function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);
}

const HART_TOP = [
  3.52624965998911e-2, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931,
  220.206867912376,
];
const HART_BOTTOM = [
  8.83883476483184e-2, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831,
  793.826512519948, 440.413735824752,
];

function centre(x: number): number {
  return polynomial(HART_TOP, x) / polynomial(HART_BOTTOM, x);
}

function tail(x: number): number {
  return 1 / (x + 1 / (x + 2 / (x + 3 / (x + 4 / (x + 0.65))))) / 2.506628274631;
}

const ACKLAM_CENTRE_TOP = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
  2.506628277459239,
];
const ACKLAM_CENTRE_BOTTOM = [
  -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1,
];
const ACKLAM_TAIL_TOP = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
  2.938163982698783,
];
const ACKLAM_TAIL_BOTTOM = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1];

function acklam(p: number): number {
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return polynomial(ACKLAM_TAIL_TOP, q) / polynomial(ACKLAM_TAIL_BOTTOM, q);
  }
  const q = p - 0.5;
  return (q * polynomial(ACKLAM_CENTRE_TOP, q * q)) / polynomial(ACKLAM_CENTRE_BOTTOM, q * q);
}

/** Indexed reads inside bounds that the loops above keep. */
function at(values: ArrayLike<number>, index: number): number {
  return values[index] as number;
}
