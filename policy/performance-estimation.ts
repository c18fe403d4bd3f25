import { at, requireFinite, requireLevel, requireSameLength, requireWeights } from './drift/vectors.ts';
import { logLossOf, normalQuantile } from './statistics.ts';

/**
 * Increasing map from a model's score to a probability: linear between knots, constant beyond the first and the last.
 */
export interface IsotonicCalibration {
  /** Ascending, distinct. */
  scores: number[];
  /** Ascending, in [0, 1], one a score. */
  probabilities: number[];
}

/**
 * Isotonic regression of labels on scores: the increasing function with the least weighted squared error, by pooling
 * adjacent violators (Ayer et al. 1955; as calibration: Zadrozny & Elkan 2002). Rows of one score are pooled first.
 * Each level is kept by the lowest and highest score of its block, as scikit-learn does. Fit it on mature rows, and on
 * rows that the model was not trained on; with few rows the outer blocks are too sure of themselves.
 *
 * @param labels 0 or 1, one a row. @param scores finite, one a row. @param weights not negative, one a row; 1 each
 * unless given.
 * @throws RangeError when lengths differ, there are no rows, or a value is out of its range.
 */
export function fitIsotonic(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  weights?: ArrayLike<number>,
): IsotonicCalibration {
  requireSameLength(labels, scores, 'labels and scores');
  requireFinite(scores, 'the scores');
  if (weights !== undefined) {
    requireSameLength(scores, weights, 'scores and weights');
    requireWeights(weights, 'the weights');
  }
  const blocks: Block[] = [];
  for (const tie of tiedBlocks(labels, scores, weights)) push(blocks, tie);
  const knots = blocks.flatMap(({ low, high, weight, positives }) =>
    (low === high ? [low] : [low, high]).map((score) => ({ score, probability: positives / weight })),
  );
  return { scores: knots.map((knot) => knot.score), probabilities: knots.map((knot) => knot.probability) };
}

/** The probability of a score under a calibration. Throws a RangeError when the score is NaN. */
export function calibrated({ scores, probabilities }: IsotonicCalibration, score: number): number {
  if (Number.isNaN(score)) throw new RangeError('a score must be a number, not NaN');
  let low = 0;
  let high = scores.length - 1;
  if (score <= at(scores, low)) return at(probabilities, low);
  if (score >= at(scores, high)) return at(probabilities, high);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(scores, middle) <= score) low = middle;
    else high = middle;
  }
  const part = (score - at(scores, low)) / (at(scores, high) - at(scores, low));
  return at(probabilities, low) + part * (at(probabilities, high) - at(probabilities, low));
}

/**
 * An estimate with the interval that the figure over true labels falls into with the probability asked for, for rows
 * drawn anew; for the rows at hand, whose scores are known already, it is a little wide.
 */
export interface Estimate {
  value: number;
  low: number;
  high: number;
}

/** Expected numbers of rows. */
export interface ExpectedConfusion {
  truePositives: number;
  falsePositives: number;
  trueNegatives: number;
  falseNegatives: number;
}

export interface PerformanceEstimate {
  n: number;
  /** Expected number of positives. */
  positives: Estimate;
  /** NaN where it is not defined: when every row is sure to be of one class. */
  auc: Estimate;
  accuracy: Estimate;
  /** Nats a row, of the scores as the model gave them. */
  logLoss: Estimate;
  confusion: ExpectedConfusion;
}

export interface PerformanceOptions {
  /** What makes the scores probabilities; without it they are taken for calibrated. */
  calibration?: IsotonicCalibration | undefined;
  /** A row scored at or above this is called positive; 0.5 unless said. */
  threshold?: number | undefined;
  /** Probability of the intervals, 0.95 unless said. */
  level?: number | undefined;
}

/**
 * Confidence-based performance estimation (CBPE; Garg et al. 2022 start from the same idea, NannyML's method of this
 * name): how well a model does on rows whose labels are not known yet. A row whose calibrated probability is p counts
 * as p of a positive and 1 - p of a negative; every figure follows from those expected counts.
 *
 * AUC: each distinct score in turn as the threshold gives an expected true and false positive rate; the area under
 * these points and (0, 0) by trapezoids, so that a tie, as a row with itself, counts one half. Accuracy: the mean of p
 * over rows called positive and of 1 - p over the others.
 *
 * The intervals are normal and cover the chance in the rows and in their labels: DeLong's variance (1988) for the AUC,
 * over the expected classes, and that of a mean for the rest. They do not cover a calibration that is wrong, and
 * nothing here can see that the labels' meaning changed (concept drift): P(label | score) is taken to be what it was
 * when the calibration was fitted.
 *
 * @param scores probabilities in [0, 1], one a row.
 * @throws RangeError without rows, when a score is not in [0, 1], or an option is out of its range.
 */
export function estimatePerformance(scores: ArrayLike<number>, options: PerformanceOptions = {}): PerformanceEstimate {
  const { calibration, threshold = 0.5, level = 0.95 } = options;
  requireLevel(level, 'the level');
  if (Number.isNaN(threshold)) throw new RangeError('the threshold must be a number, not NaN');
  requireProbabilities(scores);
  const probabilities =
    calibration === undefined
      ? scores
      : Float64Array.from({ length: scores.length }, (_, row) => calibrated(calibration, at(scores, row)));
  const n = scores.length;
  const z = normalQuantile((1 + level) / 2);
  const confusion = expectedConfusion(scores, probabilities, threshold);
  const positives = confusion.truePositives + confusion.falseNegatives;
  const accuracy = (confusion.truePositives + confusion.trueNegatives) / n;
  const loss = expectedLogLoss(scores, probabilities);
  const { auc, variance } = expectedAuc(scores, probabilities);
  return {
    n,
    positives: estimate(positives, z * Math.sqrt(Math.max(0, positives * (1 - positives / n))), n),
    auc: estimate(auc, z * Math.sqrt(variance), 1),
    accuracy: estimate(accuracy, z * Math.sqrt(Math.max(0, accuracy * (1 - accuracy)) / n), 1),
    logLoss: estimate(loss.mean, z * Math.sqrt(loss.variance / n), Infinity),
    confusion,
  };
}

function expectedConfusion(
  scores: ArrayLike<number>,
  probabilities: ArrayLike<number>,
  threshold: number,
): ExpectedConfusion {
  const confusion = { truePositives: 0, falsePositives: 0, trueNegatives: 0, falseNegatives: 0 };
  for (let row = 0; row < scores.length; row++) {
    const p = at(probabilities, row);
    if (at(scores, row) >= threshold) {
      confusion.truePositives += p;
      confusion.falsePositives += 1 - p;
    } else {
      confusion.falseNegatives += p;
      confusion.trueNegatives += 1 - p;
    }
  }
  return confusion;
}

function expectedLogLoss(
  scores: ArrayLike<number>,
  probabilities: ArrayLike<number>,
): { mean: number; variance: number } {
  let sum = 0;
  let squares = 0;
  for (let row = 0; row < scores.length; row++) {
    const p = at(probabilities, row);
    const ifPositive = logLossOf(1, at(scores, row));
    const ifNegative = logLossOf(0, at(scores, row));
    sum += p * ifPositive + (1 - p) * ifNegative;
    squares += p * ifPositive * ifPositive + (1 - p) * ifNegative * ifNegative;
  }
  const mean = sum / scores.length;
  return { mean, variance: Math.max(0, squares / scores.length - mean * mean) };
}

/** Expected AUC and DeLong's variance of it; one pass for the area, one for the spread of each row's part in it. */
function expectedAuc(scores: ArrayLike<number>, probabilities: ArrayLike<number>): { auc: number; variance: number } {
  const ties = byScore(scores, probabilities);
  const positives = ties.reduce((sum, tie) => sum + tie.positives, 0);
  const negatives = ties.reduce((sum, tie) => sum + tie.negatives, 0);
  if (positives === 0 || negatives === 0) return { auc: NaN, variance: NaN };
  const area = (visit: (tie: Tie, negativesBelow: number, positivesAbove: number) => void): void => {
    let below = 0;
    let above = positives;
    for (const tie of ties) {
      above -= tie.positives;
      visit(tie, (below + tie.negatives / 2) / negatives, (above + tie.positives / 2) / positives);
      below += tie.negatives;
    }
  };
  let auc = 0;
  area((tie, negativesBelow) => (auc += (tie.positives / positives) * negativesBelow));
  let variance = 0;
  area((tie, negativesBelow, positivesAbove) => {
    variance += (tie.positives * (negativesBelow - auc) ** 2) / positives ** 2;
    variance += (tie.negatives * (positivesAbove - auc) ** 2) / negatives ** 2;
  });
  return { auc, variance };
}

/** Expected rows of each class at one score. */
interface Tie {
  score: number;
  positives: number;
  negatives: number;
}

function byScore(scores: ArrayLike<number>, probabilities: ArrayLike<number>): Tie[] {
  const ties: Tie[] = [];
  for (const row of ascendingRows(scores)) {
    const p = at(probabilities, row);
    const last = ties.at(-1);
    if (last === undefined || last.score !== at(scores, row)) {
      ties.push({ score: at(scores, row), positives: p, negatives: 1 - p });
    } else {
      last.positives += p;
      last.negatives += 1 - p;
    }
  }
  return ties;
}

function estimate(value: number, margin: number, most: number): Estimate {
  return { value, low: Math.max(0, value - margin), high: Math.min(most, value + margin) };
}

function requireProbabilities(scores: ArrayLike<number>): void {
  requireFinite(scores, 'the scores');
  for (let row = 0; row < scores.length; row++) {
    if (!(at(scores, row) >= 0 && at(scores, row) <= 1)) {
      throw new RangeError(`a score is a probability between 0 and 1; that of row ${row + 1} is ${at(scores, row)}`);
    }
  }
}

interface Block {
  low: number;
  high: number;
  weight: number;
  positives: number;
}

/** One block a distinct score, ascending. */
function tiedBlocks(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  weights: ArrayLike<number> | undefined,
): Block[] {
  const blocks: Block[] = [];
  for (const row of ascendingRows(scores)) {
    const label = at(labels, row);
    if (label !== 0 && label !== 1) throw new RangeError(`a label is 0 or 1; that of row ${row + 1} is ${label}`);
    const weight = weights === undefined ? 1 : at(weights, row);
    if (weight === 0) continue;
    const score = at(scores, row);
    const last = blocks.at(-1);
    if (last?.high === score) {
      last.weight += weight;
      last.positives += weight * label;
    } else {
      blocks.push({ low: score, high: score, weight, positives: weight * label });
    }
  }
  return blocks;
}

/** Adds a block above the others, pooled with those below it whose level is not below its own. */
function push(blocks: Block[], block: Block): void {
  let pooled = block;
  for (let last = blocks.at(-1); last !== undefined && levelOf(last) >= levelOf(pooled); last = blocks.at(-1)) {
    pooled = {
      low: last.low,
      high: pooled.high,
      weight: last.weight + pooled.weight,
      positives: last.positives + pooled.positives,
    };
    blocks.pop();
  }
  blocks.push(pooled);
}

function levelOf(block: Block): number {
  return block.positives / block.weight;
}

function ascendingRows(scores: ArrayLike<number>): Uint32Array {
  const order = Uint32Array.from({ length: scores.length }, (_, row) => row);
  return order.sort((a, b) => at(scores, a) - at(scores, b));
}
