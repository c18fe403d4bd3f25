import { z } from 'zod';
import { duration } from '../duration.ts';
import { share } from '../fields.ts';
import { checkSection } from './section.ts';

const minRatio = share
  .default(0.68)
  .describe(
    "Rows over what the seasons before predict at today's level. Half-loaded hours lie near 0.5; the lowest of 2,700 clean hours of a real feed at 0.71.",
  );
const minZ = z
  .number()
  .positive()
  .default(3)
  .describe(
    'And this many standard deviations of the counts (their own noise and that of earlier hours) below it, so that thin hours may vary. Grows with the number of hours.',
  );

/** Checks of when and how much data came in. */
export const arrivalChecks = {
  minRows: checkSection('block', {}),
  malformed: checkSection('block', {
    maxShare: share
      .default(0.01)
      .describe(
        'Rows that can not be read over all that were: a few torn lines are usual, one in a hundred is a broken writer.',
      ),
  }),
  freshness: checkSection('block', {
    maxLag: duration.default(7_200_000).describe('Event. 2h: newest matured row against now minus the label maturity.'),
    recentWindow: duration.default(14_400_000).describe('Event. 4h: one cycle.'),
    minRecentFraction: share
      .default(0.1)
      .describe(
        'Share of the fresh rows of the newest two recent windows that fall in the newest one, before replay is added.',
      ),
  }),
  recency: checkSection('block', {}),
  volume: checkSection('block', {
    minRatio: z
      .number()
      .positive()
      .default(0.6)
      .describe('Rows of the recent window over the same phase one season back. Half-loaded stretches lie near 0.5.'),
    maxRatio: z
      .number()
      .positive()
      .default(4)
      .describe('Loose on purpose: a doubled table is recognised by its keys, not by its volume.'),
  }),
  volumeHourly: checkSection('block', { minRatio, minZ }),
  volumeArrival: checkSection('block', { minRatio, minZ }),
  duplicates: checkSection('block', {
    maxIncrease: share
      .default(0.15)
      .describe(
        'Share of repeated rows in an hour over that of nine in ten earlier hours. Loaded twice gives 0.5; clean hours of a real feed rise by 0.05 at most.',
      ),
    maxWithoutHistory: share
      .default(0.4)
      .describe('Share of repeated rows while there are no earlier hours to compare with. Loaded twice gives 0.5.'),
  }),
  clock: checkSection('block', {
    maxFuture: share
      .default(0.001)
      .describe('Rows dated after the snapshot over fresh rows. Clocks in step are milliseconds apart.'),
    maxBeforeEvent: share
      .default(0.03)
      .describe(
        'Share of an hour that arrived before it happened, over that of nearly all earlier hours: one gateway in thirty.',
      ),
    minShift: duration
      .default(300_000)
      .describe('Event. 5m: shippers that are slower than usual by less are no clock that jumped.'),
    minProfileHours: z
      .number()
      .int()
      .min(6)
      .default(8)
      .describe('A shift of the daily profile is looked for in windows of at least this many hours.'),
  }),
};
