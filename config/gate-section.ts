import { z } from 'zod';
import { duration } from './duration.ts';
import { columnName } from './fields.ts';
import { COMPARED_METRICS, EVALUATION_METRICS } from './metrics.ts';

const comparedMetric = z.enum(COMPARED_METRICS);
const anyMetric = z.enum(EVALUATION_METRICS);

const tolerance = z.number().min(0);
/** A rule without a limit would look like one. */
const hasLimit = (rule: Record<string, unknown>, ...names: string[]): boolean =>
  names.some((name) => rule[name] !== undefined);
const sliceName = columnName.describe('Name of a slice of `evaluation.slices`.');

const sliceSchema = z.union([
  z
    .object({
      name: columnName,
      column: columnName.describe('A column of the snapshot: a feature, `position`, `arm`, `version`, ...'),
      values: z
        .array(z.union([z.string(), z.number(), z.boolean()]))
        .min(1)
        .optional()
        .describe(
          'The values to tell apart, as requests carry them; of a categorical feature they also give its ids their names. The most frequent ones when left out.',
        ),
    })
    .strict(),
  z
    .object({
      name: columnName,
      expression: z
        .string()
        .min(1)
        .describe("SQL over the snapshot's columns, read by DuckDB: `duration_ms > 60000`, `floor(position / 10)`."),
    })
    .strict(),
  z
    .object({
      name: columnName,
      novelty: z
        .enum(['user', 'item'])
        .describe('`new`: in no row that the challenger or its parents trained on since their training in full.'),
    })
    .strict(),
]);

export const evaluationSection = z
  .object({
    k: z.number().int().min(1).max(1_000).default(10).describe('Cut-off of NDCG and hit rate: what a user sees first.'),
    maxRows: z
      .number()
      .int()
      .min(1_000)
      .default(2_000_000)
      .describe(
        'Of the holdout; of more, a sample of whole users is evaluated. Two million rows put the error of an AUC near 0.0005, and a minute of work.',
      ),
    slices: z
      .array(sliceSchema)
      .max(32)
      .default([
        { name: 'users', novelty: 'user' },
        { name: 'items', novelty: 'item' },
      ])
      .describe('Parts of the holdout that are measured by themselves.'),
    sliceMinRows: z
      .number()
      .int()
      .min(1)
      .default(200)
      .describe('A part with fewer rows is counted, not measured: its bounds would say nothing.'),
    sliceMaxValues: z
      .number()
      .int()
      .min(2)
      .max(50)
      .default(12)
      .describe('Of a slice; the rarer values are put together as `other`.'),
    latencyCandidates: z
      .array(z.number().int().min(1).max(10_000))
      .max(8)
      .default([1, 50, 500])
      .describe('Sizes of the requests whose scoring is timed.'),
  })
  .strict()
  .prefault({});

const extendSection = z
  .object({
    every: duration.default(1_800_000).describe('Operating. Time to wait for more labelled rows.'),
    times: z.number().int().min(1).max(48).default(2).describe('At most; a cycle does not outlast the next one.'),
    then: z.enum(['ask', 'reject']).default('reject').describe('When the rows still do not decide.'),
  })
  .strict()
  .prefault({});

export const gateSection = z
  .object({
    metric: comparedMetric.default('auc').describe('What challenger and champion are compared by.'),
    tolerance: tolerance
      .default(0.002)
      .describe('Non-inferiority margin: pass when the one-sided lower 95 % bound of the gain is at least minus this.'),
    notWorse: z
      .array(z.object({ metric: comparedMetric, tolerance }).strict())
      .default([])
      .describe('The same in further metrics.'),
    minGain: z
      .array(
        z
          .object({
            metric: comparedMetric,
            by: z.number().positive(),
            relative: z.boolean().default(false).describe("`by` is a share of the champion's value."),
          })
          .strict(),
      )
      .default([])
      .describe('The challenger must be better by this: pass by the lower bound, reject by the upper one.'),
    thresholds: z
      .array(
        z
          .object({ metric: anyMetric, min: z.number().optional(), max: z.number().optional() })
          .strict()
          .refine((rule) => hasLimit(rule, 'min', 'max'), 'a threshold needs min, max or both'),
      )
      .default([{ metric: 'auc', min: 0.55 }])
      .describe('Absolute; each blocks only if the whole interval lies on the wrong side.'),
    calibration: z
      .object({
        min: z.number().positive().default(0.9),
        max: z.number().positive().default(1.1),
      })
      .strict()
      .nullable()
      .prefault({})
      .describe(
        "Predicted over observed. Blocks only if the whole interval lies outside and it is worse than the champion's: of honest four-hour blocks of a real log 60 % lie outside 0.98 to 1.02. null: off.",
      ),
    slices: z
      .array(
        z
          .object({
            slice: sliceName,
            metric: comparedMetric.default('auc'),
            tolerance: tolerance.default(0.01),
            minRows: z.number().int().min(1).default(1_000).describe('Smaller parts are told, not judged.'),
            correction: z
              .enum(['holm', 'none'])
              .default('holm')
              .describe('For many parts at once: of twenty equal ones, one looks worse by chance.'),
            required: z
              .array(z.string())
              .default([])
              .describe('Values that must be there, with `minRows` rows: the gate holds without them.'),
            onInconclusive: z
              .enum(['pass', 'inconclusive'])
              .default('pass')
              .describe(
                'A small part rarely proves that it is not worse; by default only proof that it is worse counts.',
              ),
          })
          .strict(),
      )
      .default([])
      .describe('Non-inferiority on each part of a slice.'),
    segmentGap: z
      .array(z.object({ slice: sliceName, metric: comparedMetric.default('auc'), max: z.number().positive() }).strict())
      .default([])
      .describe("Largest difference between a slice's best and worst part; blocks if its whole interval lies above."),
    latency: z
      .array(
        z
          .object({
            candidates: z.number().int().min(1).describe('One of `evaluation.latencyCandidates`.'),
            maxP50: duration.optional(),
            maxP99: duration.optional(),
            maxRatio: z.number().positive().optional().describe("Of the median over the champion's."),
          })
          .strict()
          .refine((rule) => hasLimit(rule, 'maxP50', 'maxP99', 'maxRatio'), 'expected maxP50, maxP99 or maxRatio'),
      )
      .default([])
      .describe('Real time of scoring one request on the machine that evaluates.'),
    size: z
      .object({
        maxBytes: z.number().int().positive().optional(),
        maxRatio: z.number().positive().optional().describe("Over the champion's."),
      })
      .strict()
      .refine((rule) => hasLimit(rule, 'maxBytes', 'maxRatio'), 'expected maxBytes, maxRatio or both')
      .optional()
      .describe('Of model.onnx, which every gateway holds in memory.'),
    replicates: z
      .number()
      .int()
      .min(200)
      .max(100_000)
      .default(1_000)
      .describe('Bootstrap replicates; 1,000 put the 95 % bound within 2 % of its own width.'),
    parity: z
      .object({
        tolerance: z
          .number()
          .positive()
          .max(0.01)
          .default(1e-4)
          .describe(
            'Largest difference between what the trainer and model.onnx say of a row: float32 sums in another order stay far below it.',
          ),
        minRows: z
          .number()
          .int()
          .min(1)
          .max(10_000)
          .default(100)
          .describe('Rows to compare; all of the train part where it has fewer.'),
      })
      .strict()
      .prefault({})
      .describe('That the model that will be served is the one that was trained, before the gate.'),
    onInconclusive: z
      .enum(['extend', 'ask', 'reject'])
      .default('reject')
      .describe('Unknown never promotes by itself. extend: wait for more labelled rows and evaluate on all of them.'),
    extend: extendSection,
    approval: z.enum(['never', 'onInconclusive', 'always']).default('never'),
    approvalDeadline: duration
      .default(14_400_000)
      .describe('Operating. One cycle: then the next has better data. No answer means reject.'),
    approvalReminder: duration
      .default(7_200_000)
      .describe('Operating. An alert repeats that a version waits, each time this has passed, until the deadline.'),
  })
  .strict()
  .prefault({});

export const retentionSection = z
  .object({
    versions: z
      .number()
      .int()
      .min(0)
      .default(30)
      .describe('Newest versions that keep their artifacts, whatever became of them.'),
    for: duration.default(2_592_000_000).describe('Operating. Versions younger than a month keep them too.'),
    stables: z
      .number()
      .int()
      .min(3)
      .default(3)
      .describe(
        'Last versions that were stable, with all that training them again needs: parents, checkpoints, snapshots.',
      ),
  })
  .strict()
  .prefault({})
  .describe('When files of versions leave the artifact store. Lineage and figures stay for ever.');
