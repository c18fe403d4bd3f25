import type { Worker } from 'node:worker_threads';
import type { FeedbackRecord } from '../data/event-log/records.ts';
import type { EventLogStats } from '../data/event-log/writer.ts';
import type { Featurizer, FeatureRows } from '../features/featurizer.ts';
import { startThread } from '../scoring/start-thread.ts';
import { RowBuffer } from './row-buffer.ts';
import type { LoggedSlate, LogThreadAnswer, LogThreadInput, LogThreadRequest, SlateHead } from './slate-protocol.ts';

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
  /** Called once should the thread end by itself: from then on nothing is logged. */
  onLost: (problem: string) => void;
}

export interface SlateLog {
  /** Never blocks and never throws: what is handed over is encoded and written by another thread. */
  appendSlate(slate: ServedSlate): void;
  appendFeedback(records: readonly FeedbackRecord[]): void;
  stats(): Pick<EventLogStats, 'buffered' | 'dropped'>;
  /** Writes all that was handed over, and stops. */
  close(): Promise<void>;
}

/** Handed over at the latest after this, or when so many slates are there. */
const HAND_OVER_AFTER_MS = 20;
const HAND_OVER_SLATES = 128;

/**
 * Opens this process's end of the event log in a thread of its own.
 *
 * @throws Error when the folders can not be made.
 */
export async function openSlateLog(options: SlateLogOptions): Promise<SlateLog> {
  const { root, processId, sealEveryMs } = options;
  const workerData: LogThreadInput = { root, processId, ...(sealEveryMs === undefined ? {} : { sealEveryMs }) };
  const worker = startThread({ beside: import.meta.url, entry: './log-thread', workerData });
  await ready(worker);
  return new ThreadedSlateLog(worker, options);
}

class ThreadedSlateLog implements SlateLog {
  readonly #worker: Worker;
  readonly #options: SlateLogOptions;
  readonly #maxWaiting: number;
  readonly #closed: Promise<void>;
  readonly #columns = new Map<string, number>();
  readonly #nameKeys = new WeakMap<Featurizer, string>();
  readonly #rows = new RowBuffer();
  #slates: LoggedSlate[] = [];
  #feedback: FeedbackRecord[] = [];
  /** Handed over or to be handed over, and not yet the writer's. */
  #waiting = 0;
  #dropped = 0;
  #stats: Pick<EventLogStats, 'buffered' | 'dropped'> = { buffered: 0, dropped: 0 };
  #timer: NodeJS.Timeout | undefined;
  #closing = false;
  #lost = false;

  constructor(worker: Worker, options: SlateLogOptions) {
    this.#worker = worker;
    this.#options = options;
    this.#maxWaiting = options.maxWaitingRecords ?? 100_000;
    this.#closed = new Promise((resolve) => {
      worker.once('exit', () => {
        if (!this.#closing) this.#lose('the thread of the event log has ended');
        resolve();
      });
    });
    worker.on('message', (answer: LogThreadAnswer) => {
      this.#hear(answer);
    });
    worker.on('error', (error) => {
      this.#lose(`the thread of the event log failed: ${error instanceof Error ? error.message : String(error)}`);
    });
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

  stats(): Pick<EventLogStats, 'buffered' | 'dropped'> {
    const { buffered, dropped } = this.#stats;
    return { buffered: buffered + this.#waiting, dropped: dropped + this.#dropped };
  }

  async close(): Promise<void> {
    this.#handOver();
    this.#closing = true;
    if (!this.#lost) this.#send({ kind: 'close' });
    await this.#closed;
  }

  #hasRoom(records: number): boolean {
    if (this.#lost || this.#closing || this.#waiting + records > this.#maxWaiting) {
      this.#dropped += records;
      return false;
    }
    this.#waiting += records;
    this.#timer ??= setTimeout(() => {
      this.#handOver();
    }, HAND_OVER_AFTER_MS);
    return true;
  }

  #handOver(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lost || (this.#slates.length === 0 && this.#feedback.length === 0)) return;
    const { ids, dense } = this.#rows.take();
    this.#send({ kind: 'batch', slates: this.#slates, ids, dense, feedback: this.#feedback }, [
      ids.buffer,
      dense.buffer,
    ]);
    this.#slates = [];
    this.#feedback = [];
  }

  #hear(answer: LogThreadAnswer): void {
    if ('stats' in answer) this.#stats = answer.stats;
    if (answer.kind === 'taken') this.#waiting -= answer.records;
    if (answer.kind === 'askEventNow') {
      this.#send({ kind: 'eventNow', id: answer.id, eventMs: this.#options.eventNow(answer.line) });
    }
  }

  #lose(problem: string): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#dropped += this.#waiting;
    this.#waiting = 0;
    this.#options.onLost(problem);
  }

  /** The index of the names of these columns; the thread learns them the first time. */
  #columnsOf(features: readonly FeaturizedRows[]): number {
    const key = features.map(({ featurizer }) => this.#nameKey(featurizer)).join('|');
    let index = this.#columns.get(key);
    if (index === undefined) {
      index = this.#columns.size;
      this.#columns.set(key, index);
      const names = {
        categorical: features.flatMap(({ featurizer }) => featurizer.categorical),
        numeric: features.flatMap(({ featurizer }) => featurizer.numeric),
      };
      this.#send({ kind: 'columns', index, names });
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

  #send(message: LogThreadRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }
}

async function ready(worker: Worker): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', (answer: LogThreadAnswer) => {
      worker.off('error', reject);
      if (answer.kind === 'failed') reject(new Error(answer.message));
      else resolve();
    });
  });
}
