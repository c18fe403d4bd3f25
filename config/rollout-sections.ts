import { z } from 'zod';
import { duration } from './duration.ts';
import { columnName, share } from './fields.ts';

export const shadowSection = z
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
    maxErrorRate: share.default(0.01).describe('Copies that it threw at, or did not answer within two seconds.'),
    maxNaNRate: share
      .default(0)
      .describe('Copies answered with NaN or infinity. Stable scored the same rows: a model that works never does.'),
    maxDroppedShare: share
      .default(0.2)
      .describe(
        'Copies given up because a gateway was busy. Of more than a fifth, what is left is of quiet moments: nothing is known.',
      ),
    maxScoreShift: z
      .number()
      .positive()
      .default(0.15)
      .describe('Absolute difference of the mean scores, paired. A refreshed model moves by hundredths.'),
    maxLatencyRatio: z.number().positive().default(3).describe("Challenger's mean scoring time over the stable's."),
    maxScorePsi: z
      .number()
      .positive()
      .default(2)
      .describe(
        "Of the challenger's score distribution from stable's. Far above the 0.25 of drift checks: the first refresh of a champion that had seen one day moves by 0.9 (KuaiRand), later ones by 0.05; a model that lost a column by 3.",
      ),
    minRankAgreement: z
      .number()
      .min(-1)
      .max(1)
      .default(0.2)
      .describe(
        "Mean Kendall's tau-b of both rankings, cut at `evaluation.k` or at the slate. A refresh agrees at 0.65 to 0.8 (KuaiRand), an unrelated ranking at 0, the reverse at -1. A new architecture may agree less: see `onDivergence`.",
      ),
    onDivergence: z
      .enum(['reject', 'warn'])
      .default('reject')
      .describe('Of score shift, score distribution and rank agreement. Errors, NaN and latency always reject.'),
  })
  .strict()
  .prefault({});

export const canarySection = z
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
      .describe(
        'Share that stays on the old stable until the watch after the promotion ends: there is always a control.',
      ),
    lease: duration
      .default(100_000)
      .describe('Real time. From the start of a renewing check: one check, its slack, and still inside three minutes.'),
    rollbackDeadline: duration
      .default(180_000)
      .describe('Real time. Three minutes from the first failed check to the confirmed rollback; then it pages.'),
    pauseLimit: duration
      .default(14_400_000)
      .describe('Operating. A pause ends after 4h: rolls back, or aborts before shadow.'),
  })
  .strict()
  .prefault({});

export const watchSection = z
  .object({
    window: duration
      .default(1_800_000)
      .describe(
        'Operating. 30m after the promotion, as long as the ramp: damage that comes with time, or with all of the traffic, is found while the old stable is loaded and the holdback on it. 0s leaves the watch out, as `canary.holdback: 0` does.',
      ),
  })
  .strict()
  .prefault({});

const weight = z.number().min(0).max(1);

/** How the mode `sequential` is set; docs/detection.md has what it finds. */
const sequentialSection = z
  .object({
    alpha: z
      .number()
      .gt(0)
      .max(0.1)
      .default(0.01)
      .describe(
        'Share of windows without a difference that may end in a rollback: 90 % of it the evidence, the rest the backstop.',
      ),
    weights: z
      .object({
        errorRate: weight.default(0.2),
        latency: weight.default(0.2),
        clickThroughRate: weight.default(0.2),
        logLoss: weight.default(0.2),
        dwell: weight.default(0.2),
        calibration: weight.default(0.1),
        score: weight.default(0.1),
      })
      .strict()
      .prefault({})
      .refine((weights) => Object.values(weights).some((value) => value > 0), 'at least one weight must be above 0')
      .describe(
        'Shares of alpha. 0 leaves a metric out, as do click-through rate, log loss and dwell where `quality` does not name them.',
      ),
    history: duration
      .default(604_800_000)
      .describe(
        'Operating, not divided by the speed. 7d of ramps, whose holdback beside stable shows how far arms of one version drift apart.',
      ),
    dispersion: z
      .number()
      .positive()
      .max(1)
      .default(0.25)
      .describe(
        'Expected without history: the standard deviation of the logarithm of the ratio of two arms of one version, a minute at a time.',
      ),
  })
  .strict()
  .prefault({});

export const healthSection = z
  .object({
    mode: z
      .enum(['consecutive', 'sequential'])
      .default('consecutive')
      .describe(
        '`consecutive`: failed checks in a row roll back. `sequential`: evidence is looked at in every bucket and one alarm rolls back; checks in a row are its backstop.',
      ),
    sequential: sequentialSection,
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
      .array(z.enum(['logLoss', 'clickThroughRate', 'dwell']))
      .min(1)
      .default(['clickThroughRate', 'logLoss'])
      .describe(
        'Compared canary against concurrent stable; `dwell` where clients send it. A replayed log can not answer differently to a better ranking: such lines compare log loss only.',
      ),
    maxDwell: duration
      .default(600_000)
      .describe(
        'Real time. 10m: a longer dwell counts as this, since one tab left open would outweigh a thousand readers.',
      ),
    maxCalibrationWorsening: z
      .number()
      .min(1)
      .nullable()
      .default(1.7)
      .describe(
        "How much further from 1 than stable's the canary's ratio of clicks promised to clicks may be, as a factor. `null`: not judged. Refreshing moves it by a tenth or two; a model that is broken is off by 2 and more.",
      ),
    maxScoreRatio: z
      .number()
      .min(1)
      .nullable()
      .default(2)
      .describe(
        "The canary's mean score over stable's, or the inverse. `null`: not judged. A refreshed model follows a click-through rate that moves by a tenth or two; `shadow.maxScoreShift` has the same in absolute terms.",
      ),
    maxErrorRate: share.default(0.02).describe('Canary requests that stable had to answer.'),
    maxLatency: duration.default(250).describe('Real time. Mean canary scoring time.'),
    prometheus: z
      .array(
        z
          .object({
            name: columnName,
            query: z.string().min(1).describe('Instant query; `{line}`, `{version}` and `{arm}` are replaced.'),
            count: z
              .string()
              .min(1)
              .optional()
              .describe('Query of the observations behind it: below `minCount` the check is `insufficient`.'),
            minCount: z.number().positive().default(30).describe('Only with `count`.'),
            max: z.number().optional(),
            min: z.number().optional(),
          })
          .strict(),
      )
      .default([])
      .describe('Further limits read from Prometheus (PROMETHEUS_URL).'),
  })
  .strict()
  .prefault({});

export const explorationSection = z
  .object({
    share: share
      .max(0.2)
      .default(0.01)
      .describe('1-2 % of traffic is shuffled, its propensity logged: the only data the model did not choose itself.'),
  })
  .strict()
  .prefault({});
