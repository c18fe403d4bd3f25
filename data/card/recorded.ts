import { z } from 'zod';
import { COMPARED_METRICS, EVALUATION_METRICS, type Evaluation } from '../../policy/evaluation.ts';
import type { Reason } from '../../policy/verdict.ts';

/** What a version's metrics say, as far as this build can read them. What JSON made null is NaN again. */
export interface RecordedMetrics {
  evaluation: RecordedEvaluation;
  gate: RecordedGate | null;
  training: {
    metrics: [name: string, value: number | null][];
    examples: number | null;
    warnings: Reason[];
  };
  parity: z.output<typeof parity> | null;
  /** Tries to extend the holdout, in their order. */
  extensions: z.output<typeof extension>[];
}

export type RecordedEvaluation =
  | { kind: 'measured'; evaluation: Evaluation }
  /** Of an older build: what of it can be shown. */
  | { kind: 'older'; figures: z.output<typeof olderEvaluation> | null }
  | { kind: 'none' };

export type RecordedGate = z.output<typeof gate>;

const number = z
  .number()
  .nullable()
  .transform((value) => value ?? NaN);
const estimate = z.object({ estimate: number, lower: number, upper: number, standardError: number });
const by = <T extends string>(names: readonly T[]) =>
  z.object(Object.fromEntries(names.map((name) => [name, estimate])) as Record<T, typeof estimate>);
const population = { rows: number, positives: number, users: number, groups: number, groupsWithoutPositive: number };

const figures = z.object({
  ...population,
  challenger: by(EVALUATION_METRICS),
  champion: by(EVALUATION_METRICS).nullable(),
  gain: by(COMPARED_METRICS).nullable(),
});
const reason = z.object({
  code: z.string(),
  message: z.string(),
  numbers: z.record(z.string(), z.union([z.number(), z.string(), z.null()])).default({}),
});
const bins = z.array(z.object({ rows: number, predicted: number, observed: number }));
const quantiles = z.object({ p50Ms: number, p99Ms: number });
const historical = z.object({ auc: number, logLoss: number });

const evaluation: z.ZodType<Evaluation> = z.object({
  champion: z.number().nullable(),
  overall: figures,
  slices: z.array(z.object({ ...population, slice: z.string(), value: z.string(), figures: figures.nullable() })),
  gaps: z.array(
    z.object({
      slice: z.string(),
      metric: z.enum(COMPARED_METRICS),
      best: z.string(),
      worst: z.string(),
      gap: estimate,
      championGap: estimate.nullable(),
    }),
  ),
  notes: z.array(reason),
  calibrationCurve: z.object({ challenger: bins, champion: bins.nullable() }),
  maxScoreChange: z.number().nullable(),
  championMissing: z.array(z.string()),
  historical: z.object({ rows: number, challenger: historical, champion: historical.nullable() }).nullable(),
  latency: z.array(z.object({ candidates: number, challenger: quantiles, champion: quantiles.nullable() })),
  modelBytes: number,
  championBytes: z.number().nullable(),
  k: z.number(),
  replicates: number,
  seed: number,
});

const interval = z.object({ estimate: number, lower: number, upper: number });
/** Before slices came: one list of metrics a model, and the gain in the gate's metric. */
const olderEvaluation = z.object({
  rows: number,
  positives: number,
  users: number,
  champion: z.number().nullable().catch(null),
  challengerMetrics: z.record(z.string(), interval),
  championMetrics: z.record(z.string(), interval).nullable().catch(null),
  gain: interval.nullable().catch(null),
});

const rule = z.object({
  rule: z.string(),
  kind: z.string(),
  reason,
  neededRows: z.number().optional().catch(undefined),
});
const gate = z.object({
  kind: z.string(),
  reasons: z.array(reason).catch([]),
  rules: z.array(rule).catch([]),
  neededRows: z.number().optional().catch(undefined),
  neededUsers: z.number().optional().catch(undefined),
});

const parity = z.object({
  rows: number,
  maxDelta: z.number().nullable(),
  meanDelta: z.number().nullable(),
});

const extension = z.object({
  attempt: z.number(),
  used: z.boolean(),
  snapshotId: z.string().nullable(),
  rows: z.number(),
  message: z.string(),
});

const metrics = z.object({
  training: z.record(z.string(), z.unknown()).catch({}),
  examples: z.number().nullable().catch(null),
  warnings: z.array(reason).catch([]),
  parity: parity.nullable().catch(null),
  gate: gate.nullable().catch(null),
  extensions: z.array(extension).catch([]),
  evaluation: z.unknown().optional(),
});

/** Reads the metrics of a version of any build: what can not be read is told as missing or as of an older build. */
export function readMetrics(recorded: Record<string, unknown>): RecordedMetrics {
  const { training, examples, warnings, ...rest } = metrics.parse(recorded);
  return {
    ...rest,
    evaluation: readEvaluation(rest.evaluation),
    training: {
      examples,
      warnings,
      metrics: Object.entries(training).map(([name, value]) => [name, typeof value === 'number' ? value : null]),
    },
  };
}

function readEvaluation(recorded: unknown): RecordedEvaluation {
  if (recorded === null || recorded === undefined) return { kind: 'none' };
  const measured = evaluation.safeParse(recorded);
  if (measured.success) return { kind: 'measured', evaluation: measured.data };
  return { kind: 'older', figures: olderEvaluation.safeParse(recorded).data ?? null };
}
