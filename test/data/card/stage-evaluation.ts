import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  type Estimate,
  type Evaluation,
  type Figures,
  type SliceFigures,
} from '../../../policy/evaluation.ts';

/** What was measured of the staged version, and what its gate said. */

function estimate(value: number, width: number): Estimate {
  return { estimate: value, lower: value - width, upper: value + width * 1.04, standardError: width / 1.645 };
}

const CHALLENGER = {
  auc: 0.7834,
  logLoss: 0.3121,
  normalizedEntropy: 0.8612,
  ndcg: 0.4127,
  mrr: 0.3311,
  hitRate: 0.6412,
  calibration: 1.013,
  calibrationError: 0.0061,
};
const CHAMPION = {
  auc: 0.7791,
  logLoss: 0.3138,
  normalizedEntropy: 0.8659,
  ndcg: 0.4088,
  mrr: 0.3298,
  hitRate: 0.6399,
  calibration: 1.064,
  calibrationError: 0.0093,
};
const GAIN = {
  auc: 0.0043,
  logLoss: 0.0017,
  normalizedEntropy: 0.0047,
  ndcg: 0.0039,
  mrr: 0.0013,
  hitRate: 0.0013,
  calibrationError: 0.0032,
};

function metricsOf<T extends string>(
  names: readonly T[],
  values: Record<T, number>,
  width: number,
  shift = 0,
): Record<T, Estimate> {
  return Object.fromEntries(names.map((name) => [name, estimate(values[name] + shift, width)])) as Record<T, Estimate>;
}

export function figures({
  rows = 48_211,
  shift = 0,
  width = 0.0041,
}: { rows?: number; shift?: number; width?: number } = {}): Figures {
  return {
    rows,
    positives: Math.round(rows * 0.0914),
    users: Math.round(rows / 3.7),
    groups: Math.round(rows / 9.8),
    groupsWithoutPositive: Math.round(rows / 21),
    challenger: metricsOf(EVALUATION_METRICS, CHALLENGER, width, shift),
    champion: metricsOf(EVALUATION_METRICS, CHAMPION, width),
    gain: metricsOf(COMPARED_METRICS, GAIN, width / 2.2, shift),
  };
}

function part(slice: string, value: string, rows: number, shift: number | null): SliceFigures {
  const found = shift === null ? null : figures({ rows, shift, width: 0.9 / Math.sqrt(rows) });
  const { positives, users, groups, groupsWithoutPositive } = found ?? figures({ rows });
  return { slice, value, rows, positives, users, groups, groupsWithoutPositive, figures: found };
}

function curve(slope: number): Evaluation['calibrationCurve']['challenger'] {
  return Array.from({ length: 15 }, (_, index) => {
    const predicted = 0.004 * 1.45 ** index;
    return { rows: 3_214 - index, predicted, observed: predicted * slope + 0.002 * Math.sin(index * 1.7) };
  });
}

export function evaluation(change: Partial<Evaluation> = {}): Evaluation {
  return {
    champion: 11,
    overall: figures(),
    slices: [
      part('surface', 'home', 30_120, 0.001),
      part('surface', 'search', 12_402, -0.002),
      part('surface', 'push notification, evening digest', 5_510, -0.011),
      part('surface', 'widget', 179, null),
      part('users', 'known', 44_100, 0),
      part('users', 'new', 4_111, 0.006),
    ],
    gaps: [
      {
        slice: 'surface',
        metric: 'auc',
        best: 'home',
        worst: 'search',
        gap: estimate(0.031, 0.009),
        championGap: estimate(0.034, 0.009),
      },
    ],
    notes: [],
    calibrationCurve: { challenger: curve(0.99), champion: curve(0.93) },
    maxScoreChange: 0.1311,
    championMissing: [],
    historical: { rows: 9_000, challenger: { auc: 0.771, logLoss: 0.321 }, champion: { auc: 0.7725, logLoss: 0.3204 } },
    latency: [1, 50, 500].map((candidates) => ({
      candidates,
      challenger: { p50Ms: 0.11 * candidates ** 0.4, p99Ms: 0.3 * candidates ** 0.4 },
      champion: { p50Ms: 0.12 * candidates ** 0.4, p99Ms: 0.31 * candidates ** 0.4 },
    })),
    modelBytes: 4_812_331,
    championBytes: 4_812_331,
    k: 10,
    replicates: 1_000,
    seed: 7,
    ...change,
  };
}

type RecordedGate = {
  kind: string;
  reasons: { code: string; message: string }[];
  rules?: unknown[];
  neededRows?: number;
};

export const PASSED: RecordedGate = {
  kind: 'pass',
  reasons: [
    {
      code: 'gate.comparison.pass',
      message:
        'Not inferior: in auc the challenger gains 0.0043 over version 11 (95 % bounds 0.0024 to 0.0062, 48,211 rows of 13,030 users); the lower bound is at least -0.002.',
    },
  ],
  rules: [
    {
      rule: 'thresholds.auc',
      kind: 'pass',
      reason: {
        code: 'gate.threshold.auc',
        message: "The challenger's auc 0.7834 does not break the threshold: at least 0.55.",
      },
    },
    {
      rule: 'nonInferior.auc',
      kind: 'pass',
      reason: { code: 'gate.comparison.pass', message: 'Not inferior: in auc the challenger gains 0.0043.' },
    },
    {
      rule: 'slices.surface.auc',
      kind: 'notApplicable',
      reason: { code: 'gate.slices', message: 'widget has 179 rows, fewer than 1,000.' },
    },
  ],
};

export function metrics(change: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    training: { seconds: 31.4, trainLogLoss: 0.3099, dormantUnits: 0.021, newIds: 1_204 },
    examples: 412_901,
    parity: { problem: null, rows: 10_000, maxDelta: 1.2e-7, meanDelta: 1.1e-8 },
    evaluation: evaluation(),
    gate: PASSED,
    warnings: [],
    ...change,
  };
}
