import { z } from 'zod';
import { duration } from './duration.ts';

export const TRIGGERS = ['performance', 'drift', 'newExamples'] as const;
/** What starts a cycle besides the schedule and a person, the most urgent first. */
export type Trigger = (typeof TRIGGERS)[number];

export const triggersSection = z
  .object({
    watch: z
      .array(z.enum(TRIGGERS))
      .default([...TRIGGERS])
      .describe('Which triggers may start a cycle; an empty list leaves the schedule and people.'),
    every: duration
      .default(600_000)
      .describe(
        'Operating. 10m: how often they are looked at. A look is a few indexed sums; a change that matters lasts longer.',
      ),
    newExamples: z
      .number()
      .int()
      .min(1)
      .default(10_000)
      .describe(
        "Labelled impressions since the newest snapshot's cutoff that are worth a cycle, one `schedule.every` after the last start at the earliest: enough for an AUC known to 0.01.",
      ),
    window: duration
      .default(3_600_000)
      .describe('Operating. 1h: the recent stretch that drift and performance look at; shorter ones are noise.'),
    minImpressions: z
      .number()
      .int()
      .min(30)
      .default(1_000)
      .describe('In the recent stretch, and in the reference; with fewer nothing is known.'),
    z: z
      .number()
      .positive()
      .default(4)
      .describe(
        'How far beyond chance a shift must be, besides its size: there are 144 looks a day, at impressions that come in slates.',
      ),
    drift: z
      .object({
        maxScoreShift: z
          .number()
          .positive()
          .default(0.3)
          .describe(
            "Relative: stable's recent mean score against its mean score on the holdout it was evaluated on. On KuaiRand honest hours differ by at most 0.11.",
          ),
        maxClickThroughShift: z
          .number()
          .positive()
          .default(0.3)
          .describe(
            "Relative: stable's recent click-through rate against the positive rate of that holdout. On KuaiRand hours differ from half a day of the day before by 0.05 in the median, 0.23 at most.",
          ),
      })
      .strict()
      .prefault({}),
    performance: z
      .object({
        reference: duration
          .default(7_200_000)
          .describe('Operating. 2h: the first hours of the stable version, which its recent stretch is compared with.'),
        maxLogLossRise: z
          .number()
          .positive()
          .default(0.1)
          .describe(
            'Relative rise of the log loss divided by the entropy of the click-through rate, so that a busier hour is no worse model. Of the hours of KuaiRand one in a hundred rises by 0.07, one in ten thousand by 0.1.',
          ),
      })
      .strict()
      .prefault({}),
  })
  .strict()
  .prefault({});
