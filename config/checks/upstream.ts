import { z } from 'zod';
import { share } from '../fields.ts';
import { checkSection } from './section.ts';

/**
 * Checks of what upstream systems changed: columns, types, units, formats, missing values. "Clean" in the reasons below is
 * the largest of 27 columns of KuaiRand in its 117 windows of 4 h (300 to 4,500 rows), each against the same hours of the
 * day before.
 */
export const upstreamChecks = {
  schema: checkSection('block', {}),
  sourceSchema: checkSection('block', {}),
  values: checkSection('block', {
    maxViolations: share
      .default(0.001)
      .describe(
        'Share of rows outside the range or the enumeration that a feature declares in `expect`. One in a thousand: a few odd rows warn, a changed unit or column breaks far more.',
      ),
  }),
  unit: checkSection('block', {
    minFactor: z
      .number()
      .gt(1)
      .default(2)
      .describe('Smallest change of scale that is one. Below 2 lies what prices and lengths do by themselves.'),
    minShare: share
      .default(0.05)
      .describe(
        'Smallest share of the values in another unit that blocks; how small a one can be seen depends on the rows (a third in windows of 1,000).',
      ),
  }),
  constant: checkSection('block', {
    maxTopIncrease: share
      .default(0.25)
      .describe(
        'Rise of the share of the most frequent value. Clean: at most 0.16; a default in a third of the rows: 0.3.',
      ),
    minOthersKept: share
      .default(0.1)
      .describe('Rows of all other values, over what there were. Clean: at least 0.37; a frozen column has none.'),
  }),
  format: checkSection('block', {
    maxShare: share
      .default(0.05)
      .describe('Share of values that can not be read as numbers, whatever it was before: they train as missing.'),
    maxIncrease: share
      .default(0.01)
      .describe(
        'Rise of that share. One in a hundred: typing errors are rarer, a new format is in every row of a producer.',
      ),
  }),
  missing: checkSection('block', {
    maxIncrease: share
      .default(0.1)
      .describe('Rise of the missing share that blocks. Clean: at most 0.03, and the model sees a default instead.'),
    warnIncrease: share.default(0.03).describe('Change of the missing share, up or down, that warns.'),
    maxZeroIncrease: share
      .default(0.1)
      .describe('Rise of the share of zeros among the numbers: missing values in disguise. Clean: at most 0.04.'),
  }),
  outliers: checkSection('block', {
    maxShare: share
      .default(0.01)
      .describe('Rise of the share of values beyond the fences. Clean: at most 0.02 in 300 rows, within the noise.'),
    maxSpread: z
      .number()
      .gt(1)
      .default(3)
      .describe(
        'Growth of the deviation by values out of all proportion: beyond 3 standardising squeezes the others into a third of their range. Clean: at most 1.7.',
      ),
  }),
  cardinality: checkSection('block', {
    maxGrowth: z
      .number()
      .gt(1)
      .default(2.5)
      .describe('Growth of the distinct values among equally many rows. Clean: at most 1.7.'),
    minRepeats: share
      .default(0.25)
      .describe(
        'Rows that repeat a value, over what there were: for ids, which can not grow much. Clean: at least 0.83, and 0.39 for users at another hour of the day; with a suffix for each row none is left.',
      ),
    minKept: share
      .default(0.33)
      .describe('Distinct values left of those there were. Clean: at least 0.59 where there are more than a handful.'),
  }),
  categories: checkSection('block', {
    maxNew: share
      .default(0.1)
      .describe(
        'Share of rows with a new value, for an enumeration, and of one new value for ids. Clean: at most 0.02.',
      ),
    warnNew: share.default(0.05).describe('Share of rows with a new value that warns, for an enumeration.'),
    minKnown: share
      .default(0.03)
      .describe(
        'Rows with a known id, over what chance would bring. Clean: users 0.24 and videos 0.7, users of another hour 0.10; ids that were encoded anew: 0.',
      ),
  }),
  label: checkSection('block', {
    minPositiveRate: share.default(0.0005).describe('Below this the label join is broken rather than the feed.'),
    maxPositiveRate: share.default(0.95).describe('Above this the label is constant in effect.'),
  }),
};
