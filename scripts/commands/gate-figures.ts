import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  lessIsBetter,
  type ComparedMetric,
  type Evaluation,
  type Figures,
  type Interval,
  type SliceFigures,
} from '../../policy/evaluation.ts';
import { count, decimal } from '../../policy/figures.ts';
import { table } from './run-command.ts';

const WORST = 8;

/** Sizes, both models' metrics with their intervals, the slices on which the challenger does worst, and those left out. */
export function describeMeasured(
  evaluation: Evaluation,
  of: { version: number; metric: ComparedMetric | undefined },
): string[] {
  const { overall, champion, k, replicates } = evaluation;
  const { rows, positives, users, groups, groupsWithoutPositive } = overall;
  const metric = of.metric ?? 'auc';
  return [
    `Measured on ${count(rows)} rows (${count(positives)} positive) of ${count(users)} users in ${count(groups)} requests, ${count(groupsWithoutPositive)} of them without a positive`,
    `95 % bounds on either side from ${count(replicates)} replicates; NDCG and hit rate at ${String(k)}`,
    '',
    metricTable(overall, { version: of.version, champion }),
    ...worstSlices(evaluation.slices, metric),
    ...evaluation.notes.map(({ message }) => message),
  ];
}

function metricTable(overall: Figures, of: { version: number; champion: number | null }): string {
  const compared: readonly string[] = COMPARED_METRICS;
  const rows = EVALUATION_METRICS.map((metric) => [
    metric,
    interval(overall.challenger[metric]),
    ...(overall.champion === null ? [] : [interval(overall.champion[metric])]),
    ...(overall.gain === null
      ? []
      : [compared.includes(metric) ? interval(overall.gain[metric as ComparedMetric]) : '-']),
  ]);
  const head = [
    'metric',
    `challenger ${String(of.version)}`,
    ...(overall.champion === null ? [] : [`champion ${String(of.champion)}`]),
    ...(overall.gain === null ? [] : ['gain (more is better)']),
  ];
  return table([head, ...rows]);
}

/** By the gain over the champion, without one by the metric itself. */
function worstSlices(slices: readonly SliceFigures[], metric: ComparedMetric): string[] {
  if (slices.length === 0) return [];
  const measured = slices.flatMap(({ figures, ...slice }) => {
    const found = figures?.gain?.[metric] ?? figures?.challenger[metric];
    if (figures === null || found === undefined || !Number.isFinite(found.estimate)) return [];
    const sign = figures.gain === null && lessIsBetter(metric) ? -1 : 1;
    return [{ ...slice, found, compared: figures.gain !== null, order: sign * found.estimate }];
  });
  const worst = measured.toSorted((a, b) => a.order - b.order).slice(0, WORST);
  const rows = worst.map(({ slice, value, rows: size, users, found }) => [
    ...[`${slice}=${value}`, count(size), count(users), interval(found)],
  ]);
  const left = slices.length - measured.length;
  const what = worst.every(({ compared }) => compared) ? `gain in ${metric}` : metric;
  return [
    ...(rows.length === 0 ? [] : ['', table([[`worst slices`, 'rows', 'users', what], ...rows])]),
    ...(left === 0 ? [] : [`${count(left)} of ${count(slices.length)} slices could not be measured: too few rows`]),
  ];
}

function interval({ estimate, lower, upper }: Interval): string {
  if (!Number.isFinite(estimate)) return 'not known';
  return `${decimal(estimate)} (${decimal(lower)} to ${decimal(upper)})`;
}
