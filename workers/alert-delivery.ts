import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from '../store/database.ts';
import { deliverDue, type DeliveryReport } from '../store/deliveries.ts';
import type { AlertChannel } from '../store/outbox.ts';

/** An alert waits at most this long on top of its channel. */
const DELIVER_EVERY_MS = 1_000;

/**
 * Delivers what is in the outbox until stopped, to each channel in a loop of its own: one that is dead keeps no other
 * waiting. What fails is logged once until it works again; an alert that is refused for good is logged whole.
 */
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
  const loops = channels.map(async (only) => {
    const log = new ChannelLog(only.name, logger);
    while (!signal.aborted) {
      await deliverDue(db, { channels, only, signal }).then(
        (report) => {
          log.tried(report);
        },
        (error: unknown) => {
          logger.error({ err: error, channel: only.name }, 'alerts could not be delivered, trying again');
        },
      );
      await wait(DELIVER_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  });
  return {
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}

class ChannelLog {
  readonly #channel: string;
  readonly #logger: Logger;
  #failing = false;

  constructor(channel: string, logger: Logger) {
    this.#channel = channel;
    this.#logger = logger;
  }

  tried({ taken, failed, refused }: DeliveryReport): void {
    const channel = this.#channel;
    for (const { alert, error } of refused) {
      this.#logger.error({ channel, alert, reason: error }, 'an alert was refused and is not sent again');
    }
    const [first] = failed;
    if (first !== undefined && !this.#failing) {
      this.#logger.warn({ channel, reason: first.error, alerts: failed.length }, 'alerts are not taken, trying again');
      this.#failing = true;
    } else if (first === undefined && taken > 0 && this.#failing) {
      this.#logger.info({ channel }, 'alerts are taken again');
      this.#failing = false;
    }
  }
}
