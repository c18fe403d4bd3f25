import type { Logger } from 'pino';
import type { ArtifactInventory } from '../store/artifact-inventory.ts';
import type { Database } from '../store/database.ts';
import { applyRetention } from '../store/retention.ts';
import { startHourly, type HourlyTimes } from './hourly.ts';

/**
 * Applies retention once an hour until stopped; what another process is doing at that time it does not do again. Files that
 * nobody refers to stay: `freshet retention LINE --apply --orphans`.
 */
export function startRetention({
  db,
  inventory,
  logger,
  ...times
}: HourlyTimes & { db: Database; inventory: ArtifactInventory; logger: Logger }): { stop: () => Promise<void> } {
  return startHourly(
    async (signal) => {
      const result = await applyRetention({ db, inventory }, { signal });
      if (result.kind === 'done' && result.removed.length > 0)
        logger.info({ files: result.removed.length, bytes: result.bytes }, 'retention removed artifacts');
    },
    { ...times, logger, problem: 'retention could not be applied' },
  );
}
