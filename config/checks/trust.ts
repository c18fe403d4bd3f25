import { z } from 'zod';
import { share } from '../fields.ts';
import { checkSection } from './section.ts';

/** Checks of whether what trains is what serves, and whether it tells the truth about the label. */
export const trustChecks = {
  featureParity: checkSection('block', {
    maxMissingGap: share
      .default(0.2)
      .describe(
        'Missing share when served minus missing share when trained on. A larger gap is training/serving skew.',
      ),
  }),
  leakage: checkSection('block', {
    maxSingleFeatureAuc: z
      .number()
      .min(0.5)
      .max(1)
      .default(0.85)
      .describe('A feature that alone ranks the label this well was most likely written after it.'),
    minAucBound: z
      .number()
      .min(0.5)
      .max(1)
      .default(0.75)
      .describe('The lower bound of an AUC above the maximum must lie above this, or it only warns.'),
    minSupport: z.number().int().min(10).default(200).describe('Rows under this number say nothing about leakage.'),
    minCoverage: share
      .gt(0)
      .default(0.01)
      .describe(
        "A value or range with a smaller share of the rows is left alone: it spoils little, and honest ones that are always clicked exist (KuaiRand's surfaces 9 and 10: 0.1 % of the rows).",
      ),
    maxNegativeRatio: share
      .default(0.25)
      .describe(
        'The share of negatives where a feature has a value or lies in a range, over their share overall: a lower one makes a click nearly certain. KuaiRand: 0.54 at the least in what is known before (any 4 h), 0.01 to 0.06 in what leaks.',
      ),
    maxPositiveRatio: share
      .default(0.1)
      .describe(
        'The same for positives. Stricter, since surfaces and items that are hardly ever clicked are common: KuaiRand has one with 10 % of the rows at 0.19; 0.06 where the time played is 0.',
      ),
    minContrast: share
      .default(0.25)
      .describe(
        'How far its label rate must at least lie from the overall one: where one in fifty is clicked, never clicked is nothing odd.',
      ),
    significance: share
      .gt(0)
      .max(0.5)
      .default(0.05)
      .describe(
        'Chance of a false block in a snapshot whose features all lie just at the limits; shared by all values and ranges that are looked at.',
      ),
    sampleRows: z
      .number()
      .int()
      .min(1_000)
      .default(100_000)
      .describe('Rows that are looked at, chosen by a hash: 1 % of them are 1,000, which settle any rate to 0.05.'),
  }),
  leakageTime: checkSection('block', {
    maxLateShare: share
      .default(0.001)
      .describe(
        'Share of fresh rows whose value became known only after the impression. Not 0: clocks of two systems differ by milliseconds.',
      ),
  }),
  leakageOverlap: checkSection('block', {}),
  feedbackLoop: checkSection('warn', {
    maxFall: share
      .default(0.5)
      .describe(
        "How far exploration share, effective number of items or coverage may lie below the median of the recent snapshots. A trend, not a level: nearly all labels are the model's choice by construction. Half, since it also moves by the hour: KuaiRand's 4 h windows show the variety of 170 to 990 items, 36 of 37 of them more than half their median.",
      ),
    minReports: z.number().int().min(1).default(3).describe('Earlier snapshots without which there is no trend.'),
  }),
  scoreParity: checkSection('block', {
    maxDifference: z
      .number()
      .positive()
      .default(1e-4)
      .describe('Largest difference of a logged score and the same row scored again by the same version.'),
    maxShare: share
      .default(0.001)
      .describe(
        'Share of rows that may differ by more. Both sides agree by construction: even one in a thousand is odd.',
      ),
    sampleRows: z
      .number()
      .int()
      .min(100)
      .max(100_000)
      .default(5_000)
      .describe('Rows of each version that are scored again: skew in 0.2 % of the rows is found 9 times in 10.'),
  }),
};
