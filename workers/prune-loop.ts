import type { Logger } from 'pino';
import type { Database } from '../store/database.ts';
import { pruneHealthSums } from '../store/prune-health-sums.ts';
import { HOURLY, startRepeating, type RepeatingTimes } from './repeating.ts';

/** Removes health sums that nothing reads any more, once an hour until stopped. */
export function startPruning({ db, logger, ...times }: RepeatingTimes & { db: Database; logger: Logger }): {
  stop: () => Promise<void>;
} {
  return startRepeating(
    async (signal) => {
      const { removed, problems } = await pruneHealthSums(db, { signal });
      if (removed > 0) logger.info({ rows: removed }, 'old health sums were removed');
      if (problems.length > 0) logger.warn({ problems }, 'the health sums of some lines were not pruned');
    },
    { ...times, logger, beat: HOURLY, problem: 'health sums could not be pruned, trying again in an hour' },
  );
}
