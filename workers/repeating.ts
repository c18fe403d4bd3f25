import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';

/** Milliseconds. What is left out comes from the beat. */
export interface RepeatingTimes {
  firstAfterMs?: number;
  everyMs?: number;
}

/** Milliseconds. The first time comes by chance: not while a worker starts, and not in all workers at once. */
export interface Beat {
  everyMs: number;
  firstAfterMs: { least: number; spread: number };
}

export const HOURLY: Beat = { everyMs: 3_600_000, firstAfterMs: { least: 60_000, spread: 240_000 } };

/** Does work again and again until stopped. What fails is logged as `problem`, and tried again the next time. */
export function startRepeating(
  work: (signal: AbortSignal) => Promise<void>,
  {
    beat,
    logger,
    problem,
    firstAfterMs = beat.firstAfterMs.least + Math.random() * beat.firstAfterMs.spread,
    everyMs = beat.everyMs,
  }: RepeatingTimes & { beat: Beat; logger: Logger; problem: string },
): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<void> => wait(ms, undefined, { signal }).catch(() => undefined);
  const loop = (async () => {
    await pause(firstAfterMs);
    while (!signal.aborted) {
      await work(signal).catch((error: unknown) => {
        logger.warn({ error: String(error) }, problem);
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
