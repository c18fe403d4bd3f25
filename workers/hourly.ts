import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';

const EVERY_MS = 3_600_000;
/** Not while a worker starts, and not all workers at once. */
const FIRST_AFTER_MS = { least: 60_000, spread: 240_000 };

export interface HourlyTimes {
  firstAfterMs?: number;
  everyMs?: number;
}

/** Does work once an hour until stopped. What fails is logged as `problem`, and tried again in the next hour. */
export function startHourly(
  work: (signal: AbortSignal) => Promise<void>,
  {
    logger,
    problem,
    firstAfterMs = FIRST_AFTER_MS.least + Math.random() * FIRST_AFTER_MS.spread,
    everyMs = EVERY_MS,
  }: HourlyTimes & { logger: Logger; problem: string },
): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<void> => wait(ms, undefined, { signal }).catch(() => undefined);
  const loop = (async () => {
    await pause(firstAfterMs);
    while (!signal.aborted) {
      await work(signal).catch((error: unknown) => {
        logger.warn({ error: String(error) }, `${problem}, trying again in an hour`);
      });
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
