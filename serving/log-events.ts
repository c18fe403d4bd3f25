import type { Logger } from 'pino';
import { WRITER_DROPS, type EventLogStats } from '../data/event-log/writer.ts';

/**
 * Why records were lost before the log had them: too many wait for its thread; the thread ended while it had them; the
 * gateway was closing; and what the writer says.
 */
export const LOG_DROPS = ['threadBehind', 'threadEnded', ...WRITER_DROPS] as const;
export type LogDrop = (typeof LOG_DROPS)[number];
export type DropCounts = Record<LogDrop, number>;

/** What an operator should know of the event log. */
export type LogEvent =
  | { kind: 'dropping'; droppedBy: Partial<DropCounts> }
  | { kind: 'droppingEnded'; records: number; seconds: number }
  | { kind: 'sealsFail'; error: string }
  | { kind: 'sealsWork' }
  /** The thread ended by itself; it starts again after a while. `lost`: what it had not written, as far as is known. */
  | { kind: 'threadEnded'; problem: string; lost: number; restartInMs: number }
  /** It ended once too often: nothing is logged any more. */
  | { kind: 'threadGivenUp'; problem: string };

export function noDrops(): DropCounts {
  return Object.fromEntries(LOG_DROPS.map((reason) => [reason, 0])) as DropCounts;
}

/** Dropping has ended when nothing was dropped for so long: it comes in bursts, and is told once. */
const ENDED_AFTER_MS = 10_000;

/** Notices from running counts when dropping and failing begin and end. */
export class LogWatch {
  readonly #tell: (event: LogEvent) => void;
  #seen = noDrops();
  #dropping: { sinceMs: number; lastMs: number; before: number } | null = null;
  #failedSeals = 0;
  #publishedSegments = 0;
  #failing = false;

  constructor(tell: (event: LogEvent) => void) {
    this.#tell = tell;
  }

  /** @param nowMs of a clock that only goes forward. */
  look(counts: DropCounts, nowMs: number): void {
    const more = LOG_DROPS.map((reason) => [reason, counts[reason] - this.#seen[reason]] as const);
    const added = Object.fromEntries(more.filter(([, records]) => records > 0));
    const before = total(this.#seen);
    this.#seen = { ...counts };
    if (Object.keys(added).length > 0) {
      if (this.#dropping === null) this.#tell({ kind: 'dropping', droppedBy: added });
      this.#dropping = { sinceMs: nowMs, before, ...this.#dropping, lastMs: nowMs };
    } else if (this.#dropping !== null && nowMs - this.#dropping.lastMs >= ENDED_AFTER_MS) {
      const { sinceMs, lastMs, before: earlier } = this.#dropping;
      this.#dropping = null;
      this.#tell({ kind: 'droppingEnded', records: before - earlier, seconds: (lastMs - sinceMs) / 1_000 });
    }
  }

  /** Of the thread that runs now; `null` when another has begun. */
  sealed(stats: Pick<EventLogStats, 'failedSeals' | 'publishedSegments' | 'lastError'> | null): void {
    const { failedSeals, publishedSegments, lastError } = stats ?? {
      failedSeals: 0,
      publishedSegments: 0,
      lastError: '',
    };
    const [failed, published] = [failedSeals > this.#failedSeals, publishedSegments > this.#publishedSegments];
    this.#failedSeals = failedSeals;
    this.#publishedSegments = publishedSegments;
    if (failed && !this.#failing) {
      this.#failing = true;
      this.#tell({ kind: 'sealsFail', error: lastError ?? '' });
    } else if (published && !failed && this.#failing) {
      this.#failing = false;
      this.#tell({ kind: 'sealsWork' });
    }
  }
}

function total(counts: DropCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Says each event in the process's log. */
export function logEvents(logger: Logger): (event: LogEvent) => void {
  return (event) => {
    switch (event.kind) {
      case 'dropping':
        logger.warn(
          { droppedBy: event.droppedBy },
          'the event log drops impressions and feedback: see docs/event-log.md',
        );
        return;
      case 'droppingEnded':
        logger.warn({ records: event.records, seconds: event.seconds }, 'the event log drops nothing any more');
        return;
      case 'sealsFail':
        logger.error({ error: event.error }, 'the event log can not be written: records are kept while there is room');
        return;
      case 'sealsWork':
        logger.warn('the event log can be written again');
        return;
      case 'threadEnded':
        logger.error(
          { lost: event.lost, restartInMs: event.restartInMs },
          `${event.problem}: it is started again; what it had not written is lost`,
        );
        return;
      case 'threadGivenUp':
        logger.error(`${event.problem}: impressions and feedback are lost until the gateway is restarted`);
    }
  };
}
