import { z } from 'zod';
import { share } from '../fields.ts';
import { checkSection } from './section.ts';

/** Checks of how the data's distributions moved against yesterday, last week and the training reference. */
export const driftChecks = {
  driftFeatures: checkSection('block', {
    warnAt: z
      .number()
      .positive()
      .default(1.5)
      .describe(
        'In multiples of the customary limits (PSI 0.2, KS 0.1, JS 0.1, L-infinity 0.1, normalised Wasserstein 0.1). Clean hours of KuaiRand reach 2.0 against the day before.',
      ),
    blockAt: z
      .number()
      .positive()
      .default(2.5)
      .describe('KS 0.25 say, and a second measure nearly as far: a shift by two thirds of a standard deviation.'),
    precedent: z
      .number()
      .min(1)
      .default(2)
      .describe(
        'A move of up to this many times the largest between earlier snapshots is as usual: the age of a fixed catalogue jumps at midnight.',
      ),
  }),
  driftLabel: checkSection('block', {
    warnRatio: z
      .number()
      .gt(1)
      .default(1.2)
      .describe('Positive rate over (or under) that of the reference. Clean 4 h windows of KuaiRand: 0.885 to 1.181.'),
    blockRatio: z
      .number()
      .gt(1)
      .default(1.3)
      .describe('Of a fall: a label join that lost a quarter of its clicks. A rise may be a better model.'),
    hardRatio: z
      .number()
      .gt(1)
      .default(2)
      .describe('Either way, and before a season has passed: twice or half as many positives is no model.'),
    minZ: z.number().positive().default(4).describe('Guard against small samples, of two proportions.'),
  }),
  driftPredictions: checkSection('block', {
    warnAt: z.number().positive().default(1.5).describe('As for features, over the logged scores of one version.'),
    blockAt: z.number().positive().default(4).describe('Above the limit for features: scores move with all of them.'),
  }),
  driftConcept: checkSection('block', {
    warnEffect: share
      .default(0.07)
      .describe(
        'Root mean square shift of the label rate by bin of a feature, less noise. Clean 4 h windows of KuaiRand stay under 0.07.',
      ),
    blockEffect: share
      .default(0.1)
      .describe('Shuffled labels reach 0.13 on KuaiRand (the surface no longer tells anything), inverted ones 0.27.'),
    minZ: z.number().positive().default(4).describe('Guard against small samples.'),
  }),
  estimatedPerformance: checkSection('warn', {
    maxAucDrop: share
      .default(0.03)
      .describe('Expected AUC of the freshest hours under that of the labelled ones, when the intervals do not meet.'),
    maxLogLossRise: share
      .default(0.1)
      .describe('Expected log loss of the freshest hours over that of the labelled ones, relative.'),
    minRows: z.number().int().min(20).default(200).describe('Fewer rows estimate nothing.'),
  }),
};
