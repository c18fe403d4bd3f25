import type { GateConfig } from '../../config/schema.ts';
import {
  COMPARED_METRICS,
  type ComparedMetric,
  type Estimate,
  type Evaluation,
  type EvaluationMetric,
  type Figures,
  type SliceFigures,
} from '../../policy/evaluation.ts';
import { decideGate, type GateVerdict, type RuleVerdict } from '../../policy/gate.ts';
import { lineConfig } from './line-config.ts';

export const defaults = lineConfig().gate;

/** z of a one-sided 95 % bound. */
export const Z95 = 1.6448536269514722;

export function interval(lower: number, upper: number, estimate = (lower + upper) / 2): Estimate {
  return { estimate, lower, upper, standardError: (upper - lower) / (2 * Z95) };
}

/** With the bounds of a normal distribution. */
export function normal(estimate: number, standardError: number): Estimate {
  return { ...interval(estimate - Z95 * standardError, estimate + Z95 * standardError, estimate), standardError };
}

const metrics: Record<EvaluationMetric, Estimate> = {
  auc: interval(0.69, 0.71),
  logLoss: interval(0.17, 0.19),
  normalizedEntropy: interval(0.88, 0.92),
  ndcg: interval(0.4, 0.42),
  mrr: interval(0.3, 0.32),
  hitRate: interval(0.6, 0.62),
  calibration: interval(0.97, 1.03),
  calibrationError: interval(0.001, 0.003),
};

function gains(gain: Estimate): Record<ComparedMetric, Estimate> {
  return Object.fromEntries(COMPARED_METRICS.map((metric) => [metric, gain])) as Record<ComparedMetric, Estimate>;
}

/** A challenger as good as the champion, and known to be. */
export const wellFigures: Figures = {
  rows: 20_000,
  positives: 900,
  users: 4_000,
  groups: 2_000,
  groupsWithoutPositive: 1_200,
  challenger: metrics,
  champion: metrics,
  gain: gains(interval(-0.001, 0.003)),
};

export const well: Evaluation = {
  champion: 3,
  overall: wellFigures,
  slices: [],
  gaps: [],
  notes: [],
  calibrationCurve: { challenger: [], champion: [] },
  maxScoreChange: 0.04,
  championMissing: [],
  historical: null,
  latency: [{ candidates: 50, challenger: { p50Ms: 1, p99Ms: 4 }, champion: { p50Ms: 0.8, p99Ms: 3 } }],
  modelBytes: 100_000,
  championBytes: 90_000,
  k: 10,
  replicates: 1_000,
  seed: 1,
};

export interface Change {
  evaluation?: Partial<Evaluation>;
  overall?: Partial<Figures>;
  challenger?: Partial<Record<EvaluationMetric, Estimate>>;
  championMetrics?: Partial<Record<EvaluationMetric, Estimate>>;
  /** In every metric, or in some. */
  gain?: Estimate | Partial<Record<ComparedMetric, Estimate>>;
  config?: Partial<GateConfig>;
  hasChampion?: boolean;
}

export function changed(change: Change): Evaluation {
  const { gain } = change;
  const all = gain !== undefined && 'estimate' in gain;
  const overall: Figures = {
    ...wellFigures,
    challenger: { ...metrics, ...change.challenger },
    champion: { ...metrics, ...change.championMetrics },
    gain: all ? gains(gain) : { ...gains(interval(-0.001, 0.003)), ...gain },
    ...change.overall,
  };
  return { ...well, overall, ...change.evaluation };
}

export function decide(change: Change = {}): GateVerdict {
  const config = { ...defaults, ...change.config };
  return decideGate({ evaluation: changed(change), config, hasChampion: change.hasChampion ?? true });
}

/** Of the line's first challenger. */
export const first: Change = {
  hasChampion: false,
  overall: { champion: null, gain: null },
  evaluation: {
    champion: null,
    maxScoreChange: null,
    championBytes: null,
    latency: [{ candidates: 50, challenger: { p50Ms: 1, p99Ms: 4 }, champion: null }],
  },
};

/** A part of slice `surface`. */
export function part(value: string, gain: Estimate | null, population: Partial<Figures> = {}): SliceFigures {
  const { rows, positives, users, groups, groupsWithoutPositive } = { ...wellFigures, rows: 5_000, users: 1_000 };
  const counts = { rows, positives, users, groups, groupsWithoutPositive, ...population };
  const figures = gain === null ? null : { ...wellFigures, ...counts, gain: gains(gain) };
  return { slice: 'surface', value, ...counts, figures };
}

/** A rule on a part of slice `surface` that no evaluation here has. */
export const absentPart: GateConfig['slices'][number] = {
  ...{ slice: 'surface', metric: 'auc', tolerance: 0, minRows: 1 },
  ...{ correction: 'holm', required: ['x'], onInconclusive: 'pass' },
};

export const codes = ({ reasons }: GateVerdict): string[] => reasons.map(({ code }) => code);

export function rulesOf({ rules }: GateVerdict, name: string): RuleVerdict[] {
  return rules.filter(({ rule }) => rule === name);
}

export function throughJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
