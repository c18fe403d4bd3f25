import type { CalibrationBin } from './evaluation.ts';
import * as statistics from './statistics.ts';

/**
 * Metrics of scored rows, each as its source defines it. Labels are 0 or 1, probabilities lie in [0, 1]. What is not defined
 * (no rows, one class only, no positive, a score that is NaN) is NaN; a RangeError says which input can not be meant.
 * What is ranked is ranked by descending score; equal scores count as every order of theirs does on average.
 */

type Numbers = ArrayLike<number>;

/** Area under the ROC curve, a tie counting one half: see `statistics.auc`. NaN when a class is empty. */
export function auc(labels: Numbers, scores: Numbers): number {
  checkLabels(labels, scores);
  return statistics.auc(labels, scores);
}

/** Mean of -ln p of what happened, p clipped to [1e-6, 1 - 1e-6]. */
export function logLoss(labels: Numbers, probabilities: Numbers): number {
  checkProbabilities(labels, probabilities);
  return statistics.logLoss(labels, probabilities);
}

/**
 * Mean log loss over that of the base rate, which is the entropy of the share of positives: below 1 the model knows more
 * than the base rate (He et al. 2014, "Practical lessons from predicting clicks on ads at Facebook"). NaN with one class only.
 */
export function normalizedEntropy(labels: Numbers, probabilities: Numbers): number {
  return logLoss(labels, probabilities) / entropyOf(sum(labels) / labels.length);
}

/** -p ln p - (1 - p) ln(1 - p); NaN where nothing is uncertain, so that nothing is divided by 0. */
export function entropyOf(share: number): number {
  return share > 0 && share < 1 ? -share * Math.log(share) - (1 - share) * Math.log1p(-share) : NaN;
}

/** Sum of the predicted probabilities over the number of positives: above 1 promises too much. NaN without positives. */
export function calibrationRatio(labels: Numbers, probabilities: Numbers): number {
  checkProbabilities(labels, probabilities);
  return statistics.calibrationRatio(labels, probabilities);
}

/**
 * Normalised discounted cumulative gain of one group: the sum of gain / log2(1 + rank) over the first `k` ranks, over that of
 * the best order (Jarvelin & Kekalainen 2002, gains as given). Tied rows each count with their mean gain (McSherry & Najork
 * 2008, "Computing information retrieval performance measures efficiently in the presence of tied scores"; so does
 * scikit-learn). NaN when no gain is above 0.
 *
 * @param k cut-off; more than the group has rows means all of them.
 * @throws RangeError when a gain is negative or not finite, or k is no positive integer.
 */
export function ndcgAtK(gains: Numbers, scores: Numbers, k = Math.max(1, gains.length)): number {
  checkLengths(gains, scores);
  checkCutOff(k);
  every(gains, (gain) => gain >= 0 && gain < Infinity, 'a gain', 'at least 0 and finite');
  if (hasNaN(scores)) return NaN;
  const ideal = Array.from(gains).sort((a, b) => b - a);
  let best = 0;
  for (let rank = 0; rank < Math.min(k, ideal.length); rank++) best += at(ideal, rank) * discountAt(rank);
  if (best === 0) return NaN;
  const order = orderOf(scores, 'descending');
  let found = 0;
  for (const { start, end } of tiesOf(order, scores)) {
    const gain = sumOf(gains, order.subarray(start, end)) / (end - start);
    for (let rank = start; rank < Math.min(k, end); rank++) found += gain * discountAt(rank);
  }
  return found / best;
}

/** What a gain at this rank, counted from 0, is multiplied by. */
export function discountAt(rank: number): number {
  return 1 / Math.log2(rank + 2);
}

/** One over the rank of the group's first positive, expected over the orders of tied rows. NaN without a positive. */
export function reciprocalRank(labels: Numbers, scores: Numbers): number {
  checkLabels(labels, scores);
  const tie = firstTieWithPositive(labels, scores);
  if (tie === null) return NaN;
  let expected = 0;
  let noneSoFar = 1;
  for (let place = 0; place < tie.rows; place++) {
    const left = tie.rows - place;
    expected += (noneSoFar * tie.positives) / left / (tie.before + place + 1);
    noneSoFar *= Math.max(0, left - tie.positives) / left;
  }
  return expected;
}

/**
 * Whether a positive of the group is among its first `k` rows: the probability over the orders of tied rows. NaN without a
 * positive.
 *
 * @throws RangeError when k is no positive integer.
 */
export function hitRateAtK(labels: Numbers, scores: Numbers, k: number): number {
  checkLabels(labels, scores);
  checkCutOff(k);
  const tie = firstTieWithPositive(labels, scores);
  if (tie === null) return NaN;
  let none = 1;
  for (let place = 0; place < Math.min(tie.rows, k - tie.before); place++) {
    const left = tie.rows - place;
    none *= Math.max(0, left - tie.positives) / left;
  }
  return 1 - none;
}

/** Bins of a calibration curve and of the expected calibration error: as many as Guo et al. 2017 use. */
export const CALIBRATION_BINS = 15;

/**
 * Rows by ascending probability in at most `bins` bins of about equal size: mean probability and share of positives of each.
 * Rows with equal probability are never in two bins: a bin ends after the first tie with which the rows so far are
 * at least its share of all.
 *
 * @throws RangeError when a probability is NaN, or bins is no positive integer.
 */
export function calibrationBins(labels: Numbers, probabilities: Numbers, bins = CALIBRATION_BINS): CalibrationBin[] {
  checkProbabilities(labels, probabilities);
  if (!Number.isInteger(bins) || bins < 1) throw new RangeError(`bins is ${String(bins)}, expected a positive integer`);
  every(probabilities, (value) => !Number.isNaN(value), 'a probability', 'a number');
  const found: CalibrationBin[] = [];
  const order = orderOf(probabilities, 'ascending');
  let before = 0;
  for (const { end } of tiesOf(order, probabilities)) {
    if (end < endOfBin(before, order.length, bins)) continue;
    const rows = order.subarray(before, end);
    const mean = (values: Numbers): number => sumOf(values, rows) / rows.length;
    found.push({ rows: rows.length, predicted: mean(probabilities), observed: mean(labels) });
    before = end;
  }
  return found;
}

/** How many rows there must be so far for the bin that starts after `before` of `total` rows to end. */
export function endOfBin(before: number, total: number, bins: number): number {
  return Math.ceil(((Math.floor((before * bins) / total) + 1) * total) / bins);
}

/**
 * Expected calibration error: mean over rows of |mean probability - share of positives| of their bin (Naeini et al. 2015;
 * bins of equal size as in Nixon et al. 2019). Noise adds to it: the fewer rows a bin has, the larger it is of a
 * perfect model. NaN without rows.
 */
export function expectedCalibrationError(labels: Numbers, probabilities: Numbers, bins = CALIBRATION_BINS): number {
  checkLengths(labels, probabilities);
  if (hasNaN(probabilities)) return NaN;
  const errors = calibrationBins(labels, probabilities, bins).map(
    ({ rows, predicted, observed }) => rows * Math.abs(predicted - observed),
  );
  return sum(errors) / labels.length;
}

/** Indices of the rows in the order of their scores. */
function orderOf(scores: Numbers, direction: 'ascending' | 'descending'): Uint32Array {
  const order = Uint32Array.from({ length: scores.length }, (_, row) => row);
  const sign = direction === 'ascending' ? 1 : -1;
  // Infinity minus itself is no number.
  return order.sort((a, b) => (at(scores, a) === at(scores, b) ? 0 : sign * (at(scores, a) - at(scores, b))));
}

/** Where the rows with one score start and end in their order. */
function* tiesOf(order: Uint32Array, scores: Numbers): Generator<{ start: number; end: number }> {
  for (let start = 0; start < order.length;) {
    const score = at(scores, at(order, start));
    let end = start + 1;
    while (end < order.length && at(scores, at(order, end)) === score) end++;
    yield { start, end };
    start = end;
  }
}

function firstTieWithPositive(
  labels: Numbers,
  scores: Numbers,
): { rows: number; positives: number; before: number } | null {
  if (hasNaN(scores)) return null;
  const order = orderOf(scores, 'descending');
  for (const { start, end } of tiesOf(order, scores)) {
    const positives = sumOf(labels, order.subarray(start, end));
    if (positives > 0) return { rows: end - start, positives, before: start };
  }
  return null;
}

function sumOf(values: Numbers, rows: Uint32Array): number {
  let total = 0;
  for (const row of rows) total += at(values, row);
  return total;
}

function checkLengths(values: Numbers, scores: Numbers): void {
  if (values.length !== scores.length)
    throw new RangeError(
      `there are ${String(values.length)} labels and ${String(scores.length)} scores, expected one of each a row`,
    );
}

function checkLabels(labels: Numbers, scores: Numbers): void {
  checkLengths(labels, scores);
  every(labels, (label) => label === 0 || label === 1, 'a label', '0 or 1');
}

function checkProbabilities(labels: Numbers, probabilities: Numbers): void {
  checkLabels(labels, probabilities);
  every(probabilities, (value) => !(value < 0 || value > 1), 'a probability', 'between 0 and 1');
}

function checkCutOff(k: number): void {
  if (!(Number.isInteger(k) && k >= 1)) throw new RangeError(`k is ${String(k)}, expected a positive integer`);
}

function every(values: Numbers, holds: (value: number) => boolean, what: string, expected: string): void {
  for (let row = 0; row < values.length; row++) {
    if (!holds(at(values, row)))
      throw new RangeError(`${what} is ${String(values[row])} in row ${String(row)}, expected ${expected}`);
  }
}

function hasNaN(values: Numbers): boolean {
  for (let row = 0; row < values.length; row++) if (Number.isNaN(values[row])) return true;
  return false;
}

function sum(values: Numbers): number {
  let total = 0;
  for (let row = 0; row < values.length; row++) total += at(values, row);
  return total;
}

function at(values: Numbers, index: number): number {
  return values[index] as number;
}
