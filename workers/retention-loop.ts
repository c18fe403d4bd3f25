import type { Logger } from 'pino';
import type { ArtifactInventory } from '../store/artifact-inventory.ts';
import type { Database } from '../store/database.ts';
import { applyRetention } from '../store/retention.ts';
import { HOURLY, startRepeating, type RepeatingTimes } from './repeating.ts';

/**
 * Applies retention once an hour until stopped; what another process is doing at that time it does not do again. Files that
 * nobody refers to stay: `freshet retention LINE --apply --orphans`.
 */
export function startRetention({
  db,
  inventory,
  logger,
  ...times
}: RepeatingTimes & { db: Database; inventory: ArtifactInventory; logger: Logger }): { stop: () => Promise<void> } {
  return startRepeating(
    async (signal) => {
      const result = await applyRetention({ db, inventory }, { signal });
      if (result.kind === 'done' && result.removed.length > 0)
        logger.info({ files: result.removed.length, bytes: result.bytes }, 'retention removed artifacts');
    },
    { ...times, logger, beat: HOURLY, problem: 'retention could not be applied, trying again in an hour' },
  );
}
