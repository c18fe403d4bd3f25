import type { RecordedGate, RecordedMetrics } from '../../data/card/recorded.ts';
import { figure, interval, metricName } from '../../data/card/wording.ts';
import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  type ComparedMetric,
  type Estimate,
  type Evaluation,
  type EvaluationMetric,
} from '../../policy/evaluation.ts';
import { count } from '../../policy/figures.ts';
import { table } from '../commands/run-command.ts';

/** What the evaluation found, as a table with intervals; of what an older build recorded what can be shown. */
export function describeEvaluation({ evaluation }: RecordedMetrics): string {
  if (evaluation.kind === 'none') return 'it was not evaluated';
  if (evaluation.kind === 'measured') return measured(evaluation.evaluation);
  const { figures } = evaluation;
  if (figures === null) return 'its evaluation is of an older build and can not be shown';
  const rows = Object.entries(figures.challengerMetrics).map(([name, own]) => {
    const champion = figures.championMetrics?.[name];
    return [name, interval(own), champion === undefined ? '-' : interval(champion)];
  });
  const head = ['metric', 'this version', championName(figures.champion)];
  const gain = figures.gain === null ? '' : `; gain in the gate's metric ${interval(figures.gain, { sign: true })}`;
  return `${population(figures)}, of an older build${gain}\n${table([head, ...rows])}`;
}

export interface MetricRow {
  name: string;
  challenger: Estimate;
  champion: Estimate | null;
  gain: Estimate | null;
}

/** The figures of the whole holdout by metric, in the order in which metrics are always shown. */
export function metricRows({ overall, k }: Evaluation): MetricRow[] {
  const compared = (metric: EvaluationMetric): metric is ComparedMetric =>
    COMPARED_METRICS.some((known) => known === metric);
  return EVALUATION_METRICS.map((metric) => ({
    name: metricName(metric, k),
    challenger: overall.challenger[metric],
    champion: overall.champion?.[metric] ?? null,
    gain: compared(metric) ? (overall.gain?.[metric] ?? null) : null,
  }));
}

/** The verdict with its reasons; with `rules` every rule, too. */
export function describeGate(gate: RecordedGate | null, { rules }: { rules: boolean }): string {
  if (gate === null) return 'gate: no verdict on record';
  const reasons = gate.reasons.map(({ message }) => `  ${message}`);
  const needed = gate.neededRows === undefined ? [] : [`  ${count(gate.neededRows)} rows would decide`];
  const head = [`gate: ${gate.kind}`, ...reasons, ...needed];
  if (!rules || gate.rules.length === 0) return head.join('\n');
  const rows = gate.rules.map(({ rule, kind, reason }) => [rule, kind, reason.message]);
  return [...head, '', table([['rule', 'says', 'because'], ...rows])].join('\n');
}

/** `holdout: 12,345 rows of 678 users`. */
export function population({ rows, users }: { rows: number; users: number }): string {
  return `holdout: ${count(rows)} rows of ${count(users)} users`;
}

function measured(evaluation: Evaluation): string {
  const { overall, champion, slices, latency, modelBytes } = evaluation;
  const rows = metricRows(evaluation).map(({ name, challenger, champion: other, gain }) => [
    ...[name, interval(challenger), other === null ? '-' : interval(other)],
    gain === null ? '-' : interval(gain, { sign: true }),
  ]);
  const head = ['metric', 'this version', championName(champion), 'gain (more is better)'];
  const served = latency.map(({ candidates, challenger }) => `${figure(challenger.p99Ms)} ms for ${candidates}`);
  const notes = [
    `90 % intervals; ${count(slices.length)} slices measured beside it`,
    ...(served.length === 0 ? [] : [`p99 of a request's scoring: ${served.join(', ')} candidates`]),
    `model of ${count(modelBytes)} bytes`,
  ];
  return [population(overall), table([head, ...rows]), notes.join('; ')].join('\n');
}

function championName(champion: number | null): string {
  return champion === null ? 'no champion' : `champion ${champion}`;
}
