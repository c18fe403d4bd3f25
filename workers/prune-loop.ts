import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from '../store/database.ts';
import { pruneHealthSums } from '../store/prune-health-sums.ts';

const EVERY_MS = 3_600_000;
/** Not while a worker starts, and not all workers at once. */
const FIRST_AFTER_MS = { least: 60_000, spread: 240_000 };

/** Removes health sums that nothing reads any more, once an hour until stopped. What fails is logged and tried again in the next hour. */
export function startPruning({
  db,
  logger,
  firstAfterMs = FIRST_AFTER_MS.least + Math.random() * FIRST_AFTER_MS.spread,
  everyMs = EVERY_MS,
}: {
  db: Database;
  logger: Logger;
  firstAfterMs?: number;
  everyMs?: number;
}): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<void> => wait(ms, undefined, { signal }).catch(() => undefined);
  const loop = (async () => {
    await pause(firstAfterMs);
    while (!signal.aborted) {
      try {
        const { removed, problems } = await pruneHealthSums(db, { signal });
        if (removed > 0) logger.info({ rows: removed }, 'old health sums were removed');
        if (problems.length > 0) logger.warn({ problems }, 'the health sums of some lines were not pruned');
      } catch (error) {
        logger.warn({ error: String(error) }, 'health sums could not be pruned, trying again in an hour');
      }
      await pause(everyMs);
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await loop;
    },
  };
}
