import type { GateConfig } from '../config/schema.ts';
import { count, decimal, limits, recorded } from './figures.ts';
import type { Reason } from './verdict.ts';

/**
 * An estimate with its bootstrap bounds. `lower` and `upper` are one-sided 95 % bounds each (the 5th and 95th
 * percentile), so the two together are a 90 % two-sided interval.
 */
export interface Interval {
  estimate: number;
  lower: number;
  upper: number;
}

export type EvaluationMetric = 'auc' | 'logLoss' | 'calibration';

/** Champion and challenger on the fixed historical holdout: what a model knew and should still know. */
export interface HistoricalFigures {
  rows: number;
  challenger: { auc: number; logLoss: number };
  champion: { auc: number; logLoss: number } | null;
}

/** What the evaluation of a challenger found on the holdout, champion and challenger scored on the same rows. */
export interface Evaluation {
  rows: number;
  positives: number;
  users: number;
  /** The champion's version; null when the line has none. */
  champion: number | null;
  challengerMetrics: Record<EvaluationMetric, Interval>;
  championMetrics: Record<EvaluationMetric, Interval> | null;
  /** Challenger minus champion in the gate's metric, the sign turned so that more is better. */
  gain: Interval | null;
  gainStandardError: number | null;
  /** Largest |challenger - champion| of a score over the rows; null without a champion. */
  maxScoreChange: number | null;
  /** Features of the champion that the holdout does not have: it was scored without them, which favours the challenger. */
  championMissing?: string[];
  /** Null while the line has no historical holdout. The gate does not read it: see `forgettingNotes`. */
  historical?: HistoricalFigures | null;
  /** Challenger's scoring time, measured in batches on the machine that evaluated. */
  latencyMsPerRow: number;
  modelBytes: number;
}

export interface GateVerdict {
  /**
   * `pass`; `reject`: worse beyond the tolerance, or wholly on the wrong side of a threshold; `inconclusive`: the data
   * does not decide; `hold`: nothing to decide from (no rows, NaN, no baseline). Only `pass` promotes by itself.
   */
  kind: 'pass' | 'reject' | 'inconclusive' | 'hold';
  reasons: Reason[];
  /** With `inconclusive`: holdout rows that would decide if the estimate stays where it is. Left out where none would. */
  neededRows?: number;
}

/** z of a one-sided 95 % bound. */
const ONE_SIDED_95 = 1.6449;
/** A bootstrap over fewer clusters than this says nothing about the next user: its bounds come out too narrow. */
const MIN_USERS = 10;

/**
 * Whether a challenger may go on: not inferior to the champion by more than the tolerance, and on no threshold's wrong
 * side. Without a champion the thresholds decide alone, and there must be some. What is not known never passes.
 */
export function decideGate({
  evaluation,
  config,
  hasChampion,
}: {
  evaluation: Evaluation;
  config: GateConfig;
  hasChampion: boolean;
}): GateVerdict {
  const unknown = [
    ...unreadable(evaluation),
    ...(hasChampion ? missingBaseline(evaluation) : missingThresholds(config)),
  ];
  if (unknown.length > 0) return { kind: 'hold', reasons: unknown };

  const thresholds = config.thresholds.map((threshold) => judgeThreshold(threshold, evaluation));
  const comparison = hasChampion ? compare(evaluation, config) : withoutChampion();
  const reasons = [...thresholds.map(({ reason }) => reason), comparison.reason];
  const crossed = thresholds.filter(({ blocks }) => blocks).map(({ reason }) => reason);
  if (crossed.length > 0 || comparison.kind === 'reject') {
    return { kind: 'reject', reasons: comparison.kind === 'reject' ? [...crossed, comparison.reason] : crossed };
  }
  if (comparison.kind === 'pass') return { kind: 'pass', reasons };
  return {
    kind: 'inconclusive',
    reasons,
    ...(comparison.neededRows === undefined ? {} : { neededRows: comparison.neededRows }),
  };
}

function unreadable(evaluation: Evaluation): Reason[] {
  const { rows, positives, users, challengerMetrics } = evaluation;
  if (!(rows > 0)) return [reason('gate.holdout-empty', 'The holdout has no rows: nothing was evaluated.', { rows })];
  if (!(positives > 0 && positives < rows)) {
    const message = `The holdout has ${count(positives)} positives in ${count(rows)} rows: one class is empty, no ranking can be measured.`;
    return [reason('gate.one-class', message, { rows, positives })];
  }
  if (!(users >= MIN_USERS)) {
    const message = `The holdout has ${count(users)} users, fewer than the ${String(MIN_USERS)} that an interval over users needs.`;
    return [reason('gate.too-few-users', message, { users, expected: MIN_USERS })];
  }
  return Object.entries(challengerMetrics).flatMap(([metric, interval]) =>
    notKnown(`The challenger's ${metric}`, interval),
  );
}

function missingBaseline({ champion, championMetrics, gain }: Evaluation): Reason[] {
  if (champion === null || championMetrics === null || gain === null) {
    const message =
      'The line has a champion, but it was not evaluated on these rows: there is nothing to compare with.';
    return [reason('gate.baseline-missing', message)];
  }
  return notKnown('The gain over the champion', gain);
}

function missingThresholds(config: GateConfig): Reason[] {
  if (config.thresholds.some(({ min, max }) => min !== undefined || max !== undefined)) return [];
  const message =
    'The line has neither a champion nor an absolute threshold (gate.thresholds): nothing could reject this model.';
  return [reason('gate.no-criterion', message)];
}

function notKnown(what: string, { estimate, lower, upper }: Interval): Reason[] {
  if ([estimate, lower, upper].every(Number.isFinite)) return [];
  const message = `${what} is not a number (${String(estimate)}, bounds ${String(lower)} to ${String(upper)}): it is not known.`;
  return [reason('gate.not-a-number', message, { estimate, lower, upper })];
}

function judgeThreshold(
  threshold: GateConfig['thresholds'][number],
  evaluation: Evaluation,
): { blocks: boolean; reason: Reason } {
  const { metric, min, max } = threshold;
  const { estimate, lower, upper } = evaluation.challengerMetrics[metric];
  const below = min !== undefined && upper < min;
  const above = max !== undefined && lower > max;
  const allowed = limits(threshold);
  const found = `${metric} ${decimal(estimate)} (95 % bounds ${decimal(lower)} to ${decimal(upper)})`;
  const numbers = { estimate, lower, upper, min: min ?? null, max: max ?? null };
  const message =
    below || above
      ? `The challenger's ${found} lies wholly ${below ? 'below' : 'above'} what is allowed: ${allowed}.`
      : `The challenger's ${found} does not break the threshold: ${allowed}.`;
  return { blocks: below || above, reason: reason(`gate.threshold.${metric}`, message, numbers) };
}

type Comparison = { kind: 'pass' | 'reject' | 'inconclusive'; reason: Reason; neededRows?: number };

function withoutChampion(): Comparison {
  const message = 'The line has no champion yet: the comparison does not apply, the absolute thresholds decide.';
  return { kind: 'pass', reason: reason('gate.comparison.not-applicable', message) };
}

/** Called only with a gain whose numbers are finite. */
function compare(evaluation: Evaluation, { metric, tolerance }: GateConfig): Comparison {
  const { rows, users, champion, championMissing = [] } = evaluation;
  const { estimate, lower, upper } = evaluation.gain as Interval;
  const gain =
    `in ${metric} the challenger gains ${decimal(estimate)} over version ${String(champion)} ` +
    `(95 % bounds ${decimal(lower)} to ${decimal(upper)}, ${count(rows)} rows of ${count(users)} users)`;
  const limit = decimal(-tolerance);
  const found = (code: string, message: string, neededRows: number | null = null): Reason =>
    reason(`gate.comparison.${code}`, message, { metric, estimate, lower, upper, tolerance, rows, users, neededRows });

  if (upper < -tolerance) {
    return { kind: 'reject', reason: found('inferior', `Inferior: ${gain}; the upper bound is below ${limit}.`) };
  }
  if (lower >= -tolerance && championMissing.length > 0) {
    const message = `Not comparable: ${gain}, but the holdout lacks features of the champion, which was scored without them: ${championMissing.join(', ')}.`;
    return { kind: 'inconclusive', reason: found('handicapped', message) };
  }
  if (lower >= -tolerance) {
    return { kind: 'pass', reason: found('pass', `Not inferior: ${gain}; the lower bound is at least ${limit}.`) };
  }
  const neededRows = rowsThatDecide(evaluation, tolerance);
  if (neededRows === undefined) {
    const message = `Inconclusive: ${gain}; ${limit} lies between the bounds, and more rows alone would not decide.`;
    return { kind: 'inconclusive', reason: found('inconclusive', message) };
  }
  const side = estimate > -tolerance ? 'for' : 'against';
  const message = `Inconclusive: ${gain}; ${limit} lies between the bounds. If the gain stays where it is, about ${count(neededRows)} rows would decide ${side} it.`;
  return { kind: 'inconclusive', reason: found('inconclusive', message, neededRows), neededRows };
}

/**
 * n' = n (1.645 se / (tolerance + estimate))^2: the size at which a bound of estimate -/+ 1.645 se sqrt(n / n') meets
 * -tolerance, on whichever side the estimate lies. Undefined when the estimate is -tolerance itself.
 */
function rowsThatDecide({ rows, gain, gainStandardError }: Evaluation, tolerance: number): number | undefined {
  const margin = tolerance + (gain as Interval).estimate;
  const needed = rows * ((ONE_SIDED_95 * (gainStandardError ?? NaN)) / margin) ** 2;
  return Number.isFinite(needed) ? Math.max(rows + 1, Math.ceil(needed)) : undefined;
}

function reason(code: string, message: string, numbers: Record<string, number | string | null> = {}): Reason {
  return { code, message, numbers: recorded(numbers) };
}
