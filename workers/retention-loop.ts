import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ArtifactInventory } from '../store/artifact-inventory.ts';
import type { Database } from '../store/database.ts';
import { applyRetention } from '../store/retention.ts';

const EVERY_MS = 3_600_000;
/** Not while a worker starts, and not all workers at once. */
const FIRST_AFTER_MS = { least: 60_000, spread: 240_000 };

/**
 * Applies retention once an hour until stopped; what another process is doing at that time it does not do again. What fails
 * is logged and tried again in the next hour. Files that nobody refers to stay: `freshet retention LINE --apply --orphans`.
 */
export function startRetention({
  db,
  inventory,
  logger,
  firstAfterMs = FIRST_AFTER_MS.least + Math.random() * FIRST_AFTER_MS.spread,
  everyMs = EVERY_MS,
}: {
  db: Database;
  inventory: ArtifactInventory;
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
        const result = await applyRetention({ db, inventory }, { signal });
        if (result.kind === 'done' && result.removed.length > 0)
          logger.info({ files: result.removed.length, bytes: result.bytes }, 'retention removed artifacts');
      } catch (error) {
        logger.warn({ error: String(error) }, 'retention could not be applied, trying again in an hour');
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
