import { z } from 'zod';
import { duration } from './duration.ts';
import { columnName, share } from './fields.ts';

export const CHECK_CODES = [
  'volume.min-rows',
  'freshness',
  'recency',
  'volume',
  'schema',
  'feature-parity',
  'leakage',
  'label',
] as const;
export type CheckCode = (typeof CHECK_CODES)[number];

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
      .object({ userId: columnName, itemId: columnName, eventTimeMs: columnName })
      .describe("The columns of that file that equal the impression's user, item and event time (Unix ms)."),
    parity: z
      .literal('unverified')
      .describe(
        'Must be said: a feature that was not logged when it was served is not known to be the same at serving.',
      ),
  })
  .strict();

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
        'Event. Labels are complete after this; younger impressions wait for the next snapshot. 24h where labels are slow.',
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
  })
  .strict()
  .prefault({});

export const checksSection = z
  .object({
    freshness: z
      .object({
        maxLag: duration
          .default(7_200_000)
          .describe('Event. 2h: newest matured row against now minus the label maturity.'),
        recentWindow: duration.default(14_400_000).describe('Event. 4h: one cycle.'),
        minRecentFraction: share
          .default(0.1)
          .describe(
            'Share of the fresh rows of the newest two recent windows that fall in the newest one, before replay is added.',
          ),
      })
      .strict()
      .prefault({}),
    volume: z
      .object({
        minRatio: z
          .number()
          .positive()
          .default(0.6)
          .describe(
            'Rows of the recent window over the same phase one season back. Half-loaded stretches lie near 0.5.',
          ),
        maxRatio: z
          .number()
          .positive()
          .default(4)
          .describe('Loose on purpose: a doubled table is recognised by its keys, not by its volume.'),
      })
      .strict()
      .prefault({}),
    featureParity: z
      .object({
        maxMissingGap: share
          .default(0.2)
          .describe(
            'Missing share when served minus missing share when trained on. A larger gap is training/serving skew.',
          ),
      })
      .strict()
      .prefault({}),
    leakage: z
      .object({
        maxSingleFeatureAuc: z
          .number()
          .min(0.5)
          .max(1)
          .default(0.85)
          .describe('A feature that alone ranks the label this well was most likely written after it.'),
        minSupport: z.number().int().min(10).default(200).describe('Rows under this number say nothing about leakage.'),
      })
      .strict()
      .prefault({}),
    label: z
      .object({
        minPositiveRate: share.default(0.0005).describe('Below this the label join is broken rather than the feed.'),
        maxPositiveRate: share.default(0.95).describe('Above this the label is constant in effect.'),
      })
      .strict()
      .prefault({}),
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
