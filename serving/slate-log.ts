import type { Worker } from 'node:worker_threads';
import type { FeedbackRecord } from '../data/event-log/records.ts';
import type { EventLogStats } from '../data/event-log/writer.ts';
import type { ColumnNames, Featurizer, FeatureRows } from '../features/featurizer.ts';
import { startThread } from '../scoring/start-thread.ts';
import { LogWatch, noDrops, type DropCounts, type LogDrop, type LogEvent } from './log-events.ts';
import { RowBuffer } from './row-buffer.ts';
import type { LoggedSlate, LogThreadAnswer, LogThreadInput, SlateHead } from './slate-protocol.ts';
import { SupervisedThread } from './supervised-thread.ts';

/** The rows that a featurizer made of a request. */
export interface FeaturizedRows {
  featurizer: Featurizer;
  rows: FeatureRows;
}

export interface ServedSlate {
  head: SlateHead;
  /** Of the answer: names the impressions. */
  token: string;
  itemIds: readonly string[];
  scores: readonly number[];
  /** The candidates that were chosen, by position: rows of `features`. */
  candidates: readonly number[];
  /** What is logged of each; a later one's feature replaces an earlier one's of the same name. */
  features: readonly FeaturizedRows[];
}

export interface SlateLogOptions extends LogThreadInput {
  /** The line's event time now, in Unix ms; 0 when it is not known. */
  eventNow: (line: string) => number;
  /** Records that may wait for the thread; beyond it new ones are dropped and counted. */
  maxWaitingRecords?: number;
  /** Hears when records begin and cease to be lost, when the log can not be written, and when its thread ends by itself. */
  tell: (event: LogEvent) => void;
  /** Starts the thread; its own module when left out. */
  start?: (input: LogThreadInput) => Worker;
}

export interface SlateLogStats {
  /** Handed over or to be handed over, and not yet the writer's. */
  waiting: number;
  /** With the writer, and not yet in a segment. */
  unsealed: number;
  /** Records lost since the process started, by reason. */
  dropped: DropCounts;
}

export interface SlateLog {
  /** Never blocks and never throws: what is handed over is encoded and written by another thread. */
  appendSlate(slate: ServedSlate): void;
  appendFeedback(records: readonly FeedbackRecord[]): void;
  stats(): SlateLogStats;
  /** Writes all that was handed over, and stops. */
  close(): Promise<void>;
}

/** Handed over at the latest after this, or when so many slates are there. */
const HAND_OVER_AFTER_MS = 20;
const HAND_OVER_SLATES = 128;
/** How often is looked whether records are being lost. */
const LOOK_EVERY_MS = 1_000;

/**
 * Opens this process's end of the event log in a thread of its own. Should the thread end by itself, it is started again a few
 * times, with growing pauses; meanwhile records wait, while there is room.
 *
 * @throws Error when the folders can not be made.
 */
export async function openSlateLog(options: SlateLogOptions): Promise<SlateLog> {
  const { root, processId, sealEveryMs } = options;
  const workerData: LogThreadInput = { root, processId, ...(sealEveryMs === undefined ? {} : { sealEveryMs }) };
  const start =
    options.start ?? ((input) => startThread({ beside: import.meta.url, entry: './log-thread', workerData: input }));
  const log = new ThreadedSlateLog(options);
  await log.open(() => start(workerData));
  return log;
}

type WriterStats = Pick<EventLogStats, 'buffered' | 'droppedBy' | 'failedSeals' | 'publishedSegments' | 'lastError'>;

class ThreadedSlateLog implements SlateLog {
  readonly #options: SlateLogOptions;
  readonly #maxWaiting: number;
  readonly #watch: LogWatch;
  readonly #columns = new Map<string, number>();
  /** By index; a thread that begins learns them all. */
  readonly #columnNames: ColumnNames[] = [];
  readonly #nameKeys = new WeakMap<Featurizer, string>();
  readonly #rows = new RowBuffer();
  /** Set by `open`, before anything can be appended. */
  #thread!: SupervisedThread;
  #slates: LoggedSlate[] = [];
  #feedback: FeedbackRecord[] = [];
  /** Of the two above. */
  #collected = 0;
  /** Handed over, and not yet the writer's. */
  #inFlight = 0;
  /** What was lost here, and by the writers of threads that have ended. */
  readonly #dropped = noDrops();
  #writer: WriterStats | null = null;
  #timer: NodeJS.Timeout | undefined;
  readonly #lookTimer: NodeJS.Timeout;
  #closing = false;
  #givenUp = false;

  constructor(options: SlateLogOptions) {
    this.#options = options;
    this.#maxWaiting = options.maxWaitingRecords ?? 100_000;
    this.#watch = new LogWatch(options.tell);
    this.#lookTimer = setInterval(() => {
      this.#watch.look(this.stats().dropped, performance.now());
    }, LOOK_EVERY_MS);
    this.#lookTimer.unref();
  }

  async open(start: () => Worker): Promise<void> {
    try {
      this.#thread = await SupervisedThread.open(start, {
        onBegun: () => {
          this.#writer = null;
          this.#watch.sealed(null);
          // The first has nothing to learn yet, and no handle to be told by.
          if (this.#columnNames.length > 0) this.#teach();
        },
        onMessage: (answer) => {
          this.#hear(answer);
        },
        onEnded: (problem, restartInMs) => {
          this.#onEnded(problem, restartInMs);
        },
      });
    } catch (error) {
      clearInterval(this.#lookTimer);
      throw error;
    }
  }

  appendSlate({ head, token, itemIds, scores, candidates, features }: ServedSlate): void {
    if (!this.#hasRoom(itemIds.length)) return;
    for (const candidate of candidates) this.#rows.add(features, candidate);
    this.#slates.push({ head, token, itemIds, scores, columns: this.#columnsOf(features) });
    if (this.#slates.length >= HAND_OVER_SLATES) this.#handOver();
  }

  appendFeedback(records: readonly FeedbackRecord[]): void {
    if (this.#hasRoom(records.length)) this.#feedback.push(...records);
  }

  stats(): SlateLogStats {
    const dropped = { ...this.#dropped };
    for (const [reason, records] of Object.entries(this.#writer?.droppedBy ?? {}))
      dropped[reason as LogDrop] += records;
    return { waiting: this.#collected + this.#inFlight, unsealed: this.#writer?.buffered ?? 0, dropped };
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (await this.#thread.prepareToClose()) {
      this.#handOver();
      this.#thread.post({ kind: 'close' });
    }
    await this.#thread.ended;
    clearInterval(this.#lookTimer);
    clearTimeout(this.#timer);
    this.#watch.look(this.stats().dropped, performance.now());
  }

  #hasRoom(records: number): boolean {
    const reason = this.#whyNot(records);
    if (reason !== null) {
      this.#dropped[reason] += records;
      return false;
    }
    this.#collected += records;
    this.#timer ??= setTimeout(() => {
      this.#handOver();
    }, HAND_OVER_AFTER_MS);
    return true;
  }

  #whyNot(records: number): LogDrop | null {
    if (this.#closing) return 'closed';
    if (this.#givenUp) return 'threadEnded';
    return this.#collected + this.#inFlight + records > this.#maxWaiting ? 'threadBehind' : null;
  }

  #handOver(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#thread.running || this.#collected === 0) return;
    const { ids, dense } = this.#rows.take();
    this.#thread.post({ kind: 'batch', slates: this.#slates, ids, dense, feedback: this.#feedback }, [
      ids.buffer,
      dense.buffer,
    ]);
    this.#slates = [];
    this.#feedback = [];
    this.#inFlight += this.#collected;
    this.#collected = 0;
  }

  #hear(answer: LogThreadAnswer): void {
    if ('stats' in answer) {
      this.#writer = answer.stats;
      this.#watch.sealed(answer.stats);
    }
    if (answer.kind === 'taken') this.#inFlight -= answer.records;
    if (answer.kind === 'askEventNow') {
      this.#thread.post({ kind: 'eventNow', id: answer.id, eventMs: this.#options.eventNow(answer.line) });
    }
  }

  /** The thread learns the names of columns, and takes what has waited for it. */
  #teach(): void {
    for (const [index, names] of this.#columnNames.entries()) this.#thread.post({ kind: 'columns', index, names });
    this.#handOver();
  }

  #onEnded(problem: string, restartInMs: number | null): void {
    const { dropped, unsealed } = this.stats();
    Object.assign(this.#dropped, dropped);
    const lost = this.#inFlight + unsealed;
    this.#inFlight = 0;
    this.#writer = null;
    this.#dropped.threadEnded += lost;
    if (restartInMs !== null) {
      this.#options.tell({ kind: 'threadEnded', problem, lost, restartInMs });
      return;
    }
    this.#givenUp = true;
    this.#dropped.threadEnded += this.#collected;
    this.#collected = 0;
    if (!this.#closing) this.#options.tell({ kind: 'threadGivenUp', problem });
  }

  /** The index of the names of these columns; the thread learns them the first time. */
  #columnsOf(features: readonly FeaturizedRows[]): number {
    const key = features.map(({ featurizer }) => this.#nameKey(featurizer)).join('|');
    let index = this.#columns.get(key);
    if (index === undefined) {
      const names = {
        categorical: features.flatMap(({ featurizer }) => featurizer.categorical),
        numeric: features.flatMap(({ featurizer }) => featurizer.numeric),
      };
      index = this.#columnNames.push(names) - 1;
      this.#columns.set(key, index);
      this.#thread.post({ kind: 'columns', index, names });
    }
    return index;
  }

  #nameKey(featurizer: Featurizer): string {
    let key = this.#nameKeys.get(featurizer);
    if (key === undefined) {
      key = JSON.stringify([featurizer.categorical, featurizer.numeric]);
      this.#nameKeys.set(featurizer, key);
    }
    return key;
  }
}
