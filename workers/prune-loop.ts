import type { Logger } from 'pino';
import type { Database } from '../store/database.ts';
import { pruneHealthSums } from '../store/prune-health-sums.ts';
import { startHourly, type HourlyTimes } from './hourly.ts';

/** Removes health sums that nothing reads any more, once an hour until stopped. */
export function startPruning({ db, logger, ...times }: HourlyTimes & { db: Database; logger: Logger }): {
  stop: () => Promise<void>;
} {
  return startHourly(
    async (signal) => {
      const { removed, problems } = await pruneHealthSums(db, { signal });
      if (removed > 0) logger.info({ rows: removed }, 'old health sums were removed');
      if (problems.length > 0) logger.warn({ problems }, 'the health sums of some lines were not pruned');
    },
    { ...times, logger, problem: 'health sums could not be pruned' },
  );
}
