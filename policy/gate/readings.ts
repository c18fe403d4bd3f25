import type { Estimate, EvaluationMetric, Figures, Interval, Population } from '../evaluation.ts';
import { count } from '../figures.ts';
import type { Reason } from '../verdict.ts';
import { baselineMissing, reasonOf, type Found } from './rule.ts';

/** A figure that is known, or why it is not. */
export type Reading<T> = { known: T } | { unknown: Reason };

/** Of rankings within a request: only requests with a positive have them. */
const RANKING_METRICS: ReadonlySet<EvaluationMetric> = new Set(['ndcg', 'mrr', 'hitRate']);

type ReadFigures = Found<Figures>;

/** One of the models' metrics. `where` is the part of the holdout, if it is one: ` in surface=home`. */
export function readMetric(
  figures: ReadFigures,
  { model, metric, where = '' }: { model: 'challenger' | 'champion'; metric: EvaluationMetric; where?: string },
): Reading<Interval> {
  const none = model === 'champion' && figures.champion == null ? baselineMissing() : noRanking(figures, metric, where);
  if (none !== null) return { unknown: none };
  return readInterval(`The ${model}'s ${metric}${where}`, figures[model]?.[metric]);
}

/** The gain over the champion; its standard error is NaN where that alone is not known. */
export function readGain(
  figures: ReadFigures,
  { metric, where = '' }: { metric: keyof NonNullable<Figures['gain']>; where?: string },
): Reading<Estimate> {
  const compared = figures.champion != null && figures.gain != null;
  const none = compared ? noRanking(figures, metric, where) : baselineMissing();
  if (none !== null) return { unknown: none };
  return readEstimate(`The gain over the champion in ${metric}${where}`, figures.gain?.[metric]);
}

export function readEstimate(what: string, found: Found<Estimate> | null | undefined): Reading<Estimate> {
  const reading = readInterval(what, found);
  if ('unknown' in reading) return reading;
  const error = found?.standardError;
  const standardError = typeof error === 'number' && Number.isFinite(error) && error >= 0 ? error : NaN;
  return { known: { ...reading.known, standardError } };
}

export function readInterval(what: string, found: Found<Interval> | null | undefined): Reading<Interval> {
  if (typeof found !== 'object' || found === null) {
    return { unknown: reasonOf('gate.metric-missing', `${what} is missing from the evaluation: it is not known.`) };
  }
  const { estimate, lower, upper } = found;
  const text = `(${String(estimate)}, bounds ${String(lower)} to ${String(upper)})`;
  if (!isNumber(estimate) || !isNumber(lower) || !isNumber(upper)) {
    const message = `${what} is not a number ${text}: it is not known.`;
    return { unknown: reasonOf('gate.not-a-number', message, { estimate, lower, upper }) };
  }
  if (lower > upper) {
    const message = `${what} has its bounds the wrong way round ${text}: it is not known.`;
    return { unknown: reasonOf('gate.not-a-number', message, { estimate, lower, upper }) };
  }
  return { known: { estimate, lower, upper } };
}

export function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** Whether requests of these rows have a ranking that can be better or worse. */
export function hasRankings({ groups, groupsWithoutPositive }: Found<Population>): boolean {
  return isNumber(groups) && isNumber(groupsWithoutPositive) && groups > groupsWithoutPositive;
}

export function isRankingMetric(metric: EvaluationMetric): boolean {
  return RANKING_METRICS.has(metric);
}

function noRanking(population: Found<Population>, metric: EvaluationMetric, where: string): Reason | null {
  if (!isRankingMetric(metric) || hasRankings(population)) return null;
  const { groups, groupsWithoutPositive } = population;
  const found =
    isNumber(groups) && groups > 0
      ? `none of the ${count(groups)} requests${where} is known to have a positive`
      : `no row${where} belongs to a request`;
  const message = `There is no ${metric}: ${found}, and it is measured only within those that have one.`;
  return reasonOf('gate.no-rankings', message, { metric, groups, groupsWithoutPositive });
}
