import { z } from 'zod';
import { duration } from './duration.ts';

/**
 * The config of one model line: one YAML file, checked here. Each default carries its reason in `describe`,
 * which is also what editors show through the generated JSON Schema (`config/line.schema.json`).
 * Durations are written `4h`, `30m`, `90s` and read as milliseconds. *Operating* durations are of real time and are
 * divided by `--speed`; *event* durations are of the data's own time and are not.
 */

const share = z.number().min(0).max(1);
const slug = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and dashes, such as news-feed');
const columnName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, 'expected a column name: letters, digits and underscores');

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

const feature = z.discriminatedUnion(
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

const silence = z
  .object({
    guard: z.enum([...CHECK_CODES, 'shadow.divergence']).describe('The check or guard that is silenced.'),
    until: z.iso
      .datetime({ offset: true })
      .describe('Operating time at which the guard is back on. A silence without an end is how incidents start.'),
    reason: z.string().min(10).describe('Who reads this in a year must understand why (10 characters at least).'),
  })
  .strict();

export const lineConfigSchema = z
  .object({
    line: slug.describe('Name of the model line; its schedule, routes and versions carry it.'),
    description: z.string().default(''),
    clock: z
      .enum(['wall', 'replay'])
      .default('wall')
      .describe('Event time: `wall` is now; `replay` is driven by a replayer of a log through the event clock.'),
    schedule: z
      .object({
        every: duration
          .default(14_400_000)
          .describe("Operating. 4h: the concept's cadence, which keeps most of the gain of hourly refreshing."),
        catchUp: duration
          .default(14_400_000)
          .describe(
            "Operating. One interval: after an outage one cycle is enough, since a snapshot begins at the parent's cutoff.",
          ),
      })
      .strict()
      .prefault({}),
    features: z.array(feature).min(1, 'a line needs at least one feature').max(512),
    label: z
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
        tokenTtl: duration
          .default(172_800_000)
          .describe('Event. Feedback later than this is refused: twice the maturity.'),
      })
      .strict()
      .prefault({}),
    snapshot: z
      .object({
        maxWindow: duration
          .default(604_800_000)
          .describe('Event. At most a week: bounds a cold start and a line that was skipped for long.'),
        season: duration
          .default(86_400_000)
          .describe('Event. A day: traffic is compared with the same phase one season back.'),
        holdoutShare: share
          .default(0.2)
          .describe('The newest share of the window tests this cycle and trains the next.'),
        replayShare: share
          .max(0.5)
          .default(0.08)
          .describe('5-10 % of the training rows come from history, against forgetting.'),
        minRows: z.number().int().min(1).default(1_000).describe('Fewer rows than this train nothing.'),
      })
      .strict()
      .prefault({}),
    checks: z
      .object({
        freshness: z
          .object({
            maxLag: duration
              .default(7_200_000)
              .describe('Event. 2h: newest matured row against now minus the label maturity.'),
            recentWindow: duration.default(14_400_000).describe('Event. 4h: one cycle.'),
            minRecentFraction: share
              .default(0.1)
              .describe('Share of the fresh rows of the newest two recent windows that fall in the newest one, before replay is added.'),
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
            minSupport: z
              .number()
              .int()
              .min(10)
              .default(200)
              .describe('Rows under this number say nothing about leakage.'),
          })
          .strict()
          .prefault({}),
        label: z
          .object({
            minPositiveRate: share
              .default(0.0005)
              .describe('Below this the label join is broken rather than the feed.'),
            maxPositiveRate: share.default(0.95).describe('Above this the label is constant in effect.'),
          })
          .strict()
          .prefault({}),
      })
      .strict()
      .prefault({}),
    silences: z.array(silence).default([]).describe('Guards that are off for a while, each with a reason and an end.'),
    training: z
      .object({
        command: z
          .array(z.string().min(1))
          .min(1)
          .optional()
          .describe('A trainer of your own that keeps the trainer contract; the reference trainer when left out.'),
        strategy: z
          .enum(['full', 'warmStart'])
          .default('warmStart')
          .describe('Cold starts train in full whatever this says.'),
        learningRate: z
          .number()
          .positive()
          .default(1e-4)
          .describe("Cold rate; for data as large as a feed's. Smaller lines set a larger one."),
        warmFactor: z
          .number()
          .positive()
          .max(1)
          .default(0.1)
          .describe('Warm starts learn at a tenth of the cold rate: they move what is known, not rewrite it.'),
        weightDecay: z.number().min(0).default(1e-4),
        epochs: z
          .number()
          .int()
          .min(1)
          .max(1_000)
          .default(4)
          .describe('Cold epochs; warm starts take max(1, epochs // 4).'),
        batchSize: z.number().int().min(1).default(1_024),
        hidden: z.array(z.number().int().min(1)).min(1).default([64, 32]).describe('Widths of the hidden layers.'),
        freezeBase: z.boolean().default(false).describe('Warm starts train only the top 25 % of the layers.'),
        seed: z.number().int().default(1),
        threads: z.number().int().min(1).default(1).describe('One thread: the same manifest gives the same bytes.'),
        checkpointEvery: duration.default(60_000).describe('Real time. What a killed trainer loses at most.'),
        timeout: duration.default(7_200_000).describe('Real time. A training that takes half a cycle is broken.'),
        minScoreChange: z
          .number()
          .min(0)
          .default(0.005)
          .describe(
            "The cycle warns when new scores differ from the champion's by less than this everywhere: the rate is too small for the data.",
          ),
      })
      .strict()
      .prefault({}),
    gate: z
      .object({
        metric: z.enum(['auc', 'logLoss']).default('auc').describe('What challenger and champion are compared by.'),
        tolerance: z
          .number()
          .min(0)
          .default(0.002)
          .describe(
            'Non-inferiority margin: pass when the one-sided lower 95 % bound of the gain is at least minus this.',
          ),
        thresholds: z
          .array(
            z
              .object({
                metric: z.enum(['auc', 'logLoss', 'calibration']),
                min: z.number().optional(),
                max: z.number().optional(),
              })
              .strict(),
          )
          .default([{ metric: 'auc', min: 0.55 }])
          .describe('Absolute; each blocks only if the whole interval lies on the wrong side.'),
        replicates: z
          .number()
          .int()
          .min(200)
          .max(100_000)
          .default(1_000)
          .describe('Bootstrap replicates; 1,000 put the 95 % bound within 2 % of its own width.'),
        onInconclusive: z.enum(['ask', 'reject']).default('reject').describe('Unknown never promotes by itself.'),
        approval: z.enum(['never', 'onInconclusive', 'always']).default('never'),
        approvalDeadline: duration
          .default(14_400_000)
          .describe('Operating. One cycle: then the next has better data. No answer means reject.'),
      })
      .strict()
      .prefault({}),
    shadow: z
      .object({
        duration: duration
          .default(900_000)
          .describe('Operating. 15m: enough mirrored requests for errors, latency and score distribution.'),
        share: share.default(1).describe('Share of requests that are copied.'),
        minRequests: z
          .number()
          .int()
          .min(1)
          .default(30)
          .describe('Fewer copies than this say nothing: the phase is extended once, then the cycle is rejected.'),
        maxErrorRate: share.default(0.01),
        maxScoreShift: z
          .number()
          .positive()
          .default(0.15)
          .describe('Absolute difference of the mean scores, paired. A refreshed model moves by hundredths.'),
        maxLatencyRatio: z.number().positive().default(3).describe("Challenger's mean scoring time over the stable's."),
        onDivergence: z.enum(['reject', 'warn']).default('reject'),
      })
      .strict()
      .prefault({}),
    canary: z
      .object({
        steps: z
          .array(z.number().gt(0).max(100))
          .min(1)
          .default([1, 5, 25, 50, 100])
          .describe(
            'Percent of traffic; 100 means all but the holdback. Small first: harm is bounded by exposure times detection time.',
          ),
        window: duration.default(1_800_000).describe('Operating. 30m, over the whole ramp.'),
        checkEvery: duration
          .default(60_000)
          .describe('Operating. The detection time of three failures in a row is three of these.'),
        failuresToRollBack: z
          .number()
          .int()
          .min(1)
          .default(3)
          .describe('Consecutive: one noisy minute rolls nothing back.'),
        maxUnknown: duration
          .default(300_000)
          .describe('Operating. `unknown` alone renews the lease for at most this long.'),
        holdback: share
          .max(0.5)
          .default(0.05)
          .describe('Share that stays on the old stable until the window ends: there is always a control.'),
        lease: duration
          .default(100_000)
          .describe(
            'Real time. From the start of a renewing check: one check, its slack, and still inside three minutes.',
          ),
        rollbackDeadline: duration
          .default(180_000)
          .describe('Real time. Three minutes from the first failed check to the confirmed rollback; then it pages.'),
        pauseLimit: duration
          .default(14_400_000)
          .describe('Operating. A pause ends after 4h: rolls back, or aborts before shadow.'),
      })
      .strict()
      .prefault({}),
    health: z
      .object({
        bucket: duration.default(10_000).describe('Operating. Width of the buckets the gateways sum in.'),
        feedbackDelay: duration
          .default(120_000)
          .describe('Operating. Quality reads only buckets older than this, for both arms alike.'),
        minImpressions: z
          .number()
          .int()
          .min(1)
          .default(30)
          .describe('Labelled impressions an arm; below it the check is `insufficient`.'),
        z: z.number().positive().default(2.33).describe('One-sided, 1 % a single look at a fixed time.'),
        quality: z
          .array(z.enum(['logLoss', 'clickThroughRate']))
          .min(1)
          .default(['clickThroughRate', 'logLoss'])
          .describe(
            'Compared canary against concurrent stable. A replayed log can not answer differently to a better ranking: such lines compare log loss only.',
          ),
        maxErrorRate: share.default(0.02).describe('Canary requests that stable had to answer.'),
        maxLatency: duration.default(250).describe('Real time. Mean canary scoring time.'),
        prometheus: z
          .array(
            z
              .object({
                name: columnName,
                query: z.string().min(1).describe('Instant query; `{line}`, `{version}` and `{arm}` are replaced.'),
                max: z.number().optional(),
                min: z.number().optional(),
              })
              .strict(),
          )
          .default([])
          .describe('Further limits read from Prometheus (PROMETHEUS_URL).'),
      })
      .strict()
      .prefault({}),
    exploration: z
      .object({
        share: share
          .max(0.2)
          .default(0.01)
          .describe(
            '1-2 % of traffic is shuffled, its propensity logged: the only data the model did not choose itself.',
          ),
      })
      .strict()
      .prefault({}),
    log: z
      .object({
        user: columnName,
        item: columnName,
        timeMs: columnName.describe('Unix milliseconds of the impression.'),
        label: columnName.describe('0 or 1.'),
        dwellMs: columnName.optional(),
        postClick: columnName
          .optional()
          .describe(
            'A column that is written after the impression: what the demo joins to show training/serving skew.',
          ),
        timeZoneOffset: duration.default(0).describe("Added to the time to find the log's days."),
        tables: z
          .array(z.object({ path: z.string().min(1), key: columnName, as: z.enum(['user', 'candidate']) }).strict())
          .default([])
          .describe('Side tables (CSV or Parquet beside the log) joined by user or item before the request is sent.'),
      })
      .strict()
      .optional()
      .describe('Columns of a log that is replayed as traffic.'),
  })
  .strict()
  .superRefine((config, context) => {
    const seen = new Set<string>();
    for (const [index, item] of config.features.entries()) {
      if (seen.has(item.name)) {
        context.addIssue({
          code: 'custom',
          path: ['features', index, 'name'],
          message: `feature "${item.name}" is declared twice`,
        });
      }
      seen.add(item.name);
    }
    const { steps, window, checkEvery, lease, rollbackDeadline } = config.canary;
    if (steps.some((step, index) => index > 0 && step <= (steps[index - 1] ?? 0))) {
      context.addIssue({ code: 'custom', path: ['canary', 'steps'], message: 'steps must grow' });
    }
    if (checkEvery * steps.length > window) {
      context.addIssue({
        code: 'custom',
        path: ['canary', 'window'],
        message: 'the window must hold at least one check a step',
      });
    }
    if (lease <= checkEvery) {
      context.addIssue({
        code: 'custom',
        path: ['canary', 'lease'],
        message: 'the lease must outlast a check interval, or every canary would expire',
      });
    }
    if (lease >= rollbackDeadline) {
      context.addIssue({
        code: 'custom',
        path: ['canary', 'lease'],
        message: 'the lease must run out before the rollback deadline',
      });
    }
  });

/** A line's config as it is written. */
export type LineConfigInput = z.input<typeof lineConfigSchema>;
/** A line's config as it is read: every default filled in, every duration in milliseconds. */
export type LineConfig = z.output<typeof lineConfigSchema>;
export type Feature = LineConfig['features'][number];
export type GateConfig = LineConfig['gate'];
export type HealthConfig = LineConfig['health'];
export type CanaryConfig = LineConfig['canary'];
export type ShadowConfig = LineConfig['shadow'];
export type Silence = LineConfig['silences'][number];
