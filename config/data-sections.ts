import { z } from 'zod';
import { CHECK_CODES } from './checks/index.ts';
import { duration } from './duration.ts';
import { columnName, share } from './fields.ts';

export { CHECK_CODES, CHECK_SETTINGS, checksSection, type CheckCode, type Severity } from './checks/index.ts';

const featureSource = z
  .enum(['candidate', 'user', 'context'])
  .default('candidate')
  .describe('Which part of the rank request carries the value.');

const joined = z
  .object({
    path: z
      .string()
      .min(1)
      .describe('Parquet file or glob that holds the column; `{log}` stands for the replayed log.'),
    column: columnName.describe('The column of that file that becomes the feature.'),
    on: z
      .object({ userId: columnName.optional(), itemId: columnName.optional(), eventTimeMs: columnName.optional() })
      .strict()
      .describe(
        "The columns of that file that equal the impression's user, item and event time (Unix ms): all three; with `knownAt` the user, the item or both, since the time is then `knownAt`'s.",
      ),
    knownAt: columnName
      .optional()
      .describe(
        'The column of that file that says when the value became known (Unix ms): the newest value known before the impression is taken. Without it nobody can tell that the value was known in time.',
      ),
    parity: z
      .literal('unverified')
      .describe(
        'Must be said: a feature that was not logged when it was served is not known to be the same at serving.',
      ),
  })
  .strict()
  .refine(
    ({ knownAt: since, on }) =>
      since === undefined
        ? [on.userId, on.itemId, on.eventTimeMs].every((column) => column !== undefined)
        : on.userId !== undefined || on.itemId !== undefined,
    'without "knownAt", "on" needs userId, itemId and eventTimeMs; with it userId, itemId or both',
  );

const knownAt = columnName
  .optional()
  .describe(
    'A column of the source that says when the value became known (a time as `source.timeUnit` says). A value known only after its impression is leakage.',
  );

const maxMissing = share.optional().describe('Largest share of rows without a value.');

export const featureSchema = z.discriminatedUnion(
  'kind',
  [
    z
      .object({
        kind: z.literal('categorical'),
        name: columnName,
        from: featureSource,
        field: columnName.optional().describe("The field of the request; the feature's name when left out."),
        buckets: z
          .number()
          .int()
          .min(2)
          .max(50_000_000)
          .default(100_003)
          .describe('Rows of the embedding table; ids are taken modulo this. A prime spreads regular ids.'),
        dim: z.number().int().min(1).max(512).default(8).describe('Width of the embedding.'),
        knownAt,
        expect: z
          .object({
            values: z
              .array(z.union([z.string(), z.number(), z.boolean()]))
              .min(1)
              .optional()
              .describe('The only values there are (an enumeration), as requests carry them.'),
            maxMissing,
          })
          .strict()
          .optional(),
      })
      .strict(),
    z
      .object({
        kind: z.literal('numeric'),
        name: columnName,
        from: featureSource,
        field: columnName.optional().describe("The field of the request; the feature's name when left out."),
        transform: z
          .enum(['none', 'log1p'])
          .default('none')
          .describe('Applied inside the ONNX graph, before standardising: log1p for counts and durations.'),
        knownAt,
        expect: z
          .object({ min: z.number().optional(), max: z.number().optional(), maxMissing })
          .strict()
          .optional()
          .describe('What values may be; anything else is a changed unit, format or column.'),
        joined: joined
          .optional()
          .describe(
            'Take the training value from a table instead of the serving log. Declares a possible training/serving skew.',
          ),
      })
      .strict(),
  ],
  { error: 'unknown feature kind: expected "categorical" or "numeric"' },
);

export const silenceSchema = z
  .object({
    guard: z.enum([...CHECK_CODES, 'shadow.divergence']).describe('The check or guard that is silenced.'),
    until: z.iso
      .datetime({ offset: true })
      .describe('Operating time at which the guard is back on. A silence without an end is how incidents start.'),
    reason: z.string().min(10).describe('Who reads this in a year must understand why (10 characters at least).'),
  })
  .strict();

export const labelSection = z
  .object({
    event: z.enum(['click', 'dwell']).default('click').describe('The feedback that makes an impression positive.'),
    minDwell: duration
      .default(10_000)
      .describe('Event. With `dwell`: at least this long counts as positive (10s: a read, not a glance).'),
    maturity: duration
      .default(86_400_000)
      .describe(
        'Event. Labels are complete after this; younger impressions wait for the next snapshot. 24h where labels are slow. The most that is waited when the maturity is measured.',
      ),
    maturityFrom: z
      .enum(['measured', 'config'])
      .default('measured')
      .describe(
        '`measured`: the age by which `maturityShare` of the labels have arrived, at most `maturity`; `config`: always `maturity`.',
      ),
    maturityShare: share.min(0.5).default(0.95).describe('The rest of the labels would double the wait or worse.'),
    minDelays: z
      .number()
      .int()
      .min(1)
      .default(500)
      .describe('With fewer measured delays than this `maturity` holds: the 95 % quantile of 500 has an error of 1 %.'),
    proxy: z
      .object({
        event: z.enum(['click', 'dwell']).describe('An early feedback that stands in for the label.'),
        minDwell: duration.default(10_000).describe('Event. With `dwell`: at least this long counts as positive.'),
        maturity: duration.describe(
          'Event. Complete after this; rows older than this train with it until their label is in.',
        ),
      })
      .strict()
      .optional()
      .describe(
        'For labels that take days: rows train with the proxy now, and once more with the true label where that differs.',
      ),
    tokenTtl: duration.default(172_800_000).describe('Event. Feedback later than this is refused: twice the maturity.'),
  })
  .strict()
  .prefault({});

export const snapshotSection = z
  .object({
    maxWindow: duration
      .default(604_800_000)
      .describe('Event. At most a week: bounds a cold start and a line that was skipped for long.'),
    season: duration
      .default(86_400_000)
      .describe('Event. A day: traffic is compared with the same phase one season back.'),
    holdoutShare: share.default(0.2).describe('The newest share of the window tests this cycle and trains the next.'),
    replayShare: share
      .max(0.5)
      .default(0.08)
      .describe('5-10 % of the training rows come from history, against forgetting.'),
    minRows: z.number().int().min(1).default(1_000).describe('Fewer rows than this train nothing.'),
    maxTrainRows: z
      .number()
      .int()
      .min(1)
      .optional()
      .describe('More fresh rows than this are sampled, whole requests by a hash of their id.'),
    historicalShare: share
      .max(0.05)
      .default(0.005)
      .describe('Share of requests that never train: the fixed set that measures forgetting is frozen from them.'),
    historicalRows: z
      .number()
      .int()
      .min(0)
      .default(5_000)
      .describe(
        'Size of the fixed historical holdout, frozen once so many reserved rows are there; 5,000 rows put the error of an AUC near 0.008. 0 leaves it out.',
      ),
    profileSample: z
      .number()
      .int()
      .min(1_000)
      .max(1_000_000)
      .default(10_000)
      .describe('Rows kept in a profile: ranks of quantiles are right to 1 % (95 of 100 times) at 10,000.'),
  })
  .strict()
  .prefault({});

export const logSection = z
  .object({
    user: columnName,
    item: columnName,
    timeMs: columnName.describe('Unix milliseconds of the impression.'),
    label: columnName.describe('0 or 1.'),
    dwellMs: columnName.optional(),
    postClick: columnName
      .optional()
      .describe('A column that is written after the impression: what the demo joins to show training/serving skew.'),
    timeZoneOffset: duration.default(0).describe("Added to the time to find the log's days."),
    tables: z
      .array(z.object({ path: z.string().min(1), key: columnName, as: z.enum(['user', 'candidate']) }).strict())
      .default([])
      .describe('Side tables (CSV or Parquet beside the log) joined by user or item before the request is sent.'),
  })
  .strict()
  .optional()
  .describe('Columns of a log that is replayed as traffic.');
