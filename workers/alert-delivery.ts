import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from '../store/database.ts';
import { deliverDue, type AlertChannel } from '../store/outbox.ts';

/** An alert waits at most this long on top of its channel. */
const DELIVER_EVERY_MS = 1_000;

/** Delivers what is in the outbox until stopped. A failing channel or database is logged and tried again. */
export function startAlertDelivery({
  db,
  channels,
  logger,
}: {
  db: Database;
  channels: readonly AlertChannel[];
  logger: Logger;
}): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const loop = (async () => {
    while (!signal.aborted) {
      await deliverDue(db, { channels }).catch((error: unknown) => {
        logger.error({ error }, 'alerts could not be delivered, trying again');
      });
      await wait(DELIVER_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await loop;
    },
  };
}
