import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import type { Feature } from '../config/schema.ts';
import type { FeatureRows } from '../features/featurizer.ts';
import { BatchQueue, type Scoring } from './batch-queue.ts';
import { ModelError, rowWidths } from './model-session.ts';
import { startThread } from './start-thread.ts';
import type { FileContent, ThreadAnswer, ThreadInput, ThreadRequest } from './thread-protocol.ts';

export { ModelTimeout, type Scoring } from './batch-queue.ts';

/** A version in a thread of its own: neither loading nor scoring it stalls the thread that answers requests. */
export interface ThreadedModel {
  /**
   * Probabilities in [0, 1], one a row, and what they cost. `rows` are copied, not taken: the caller logs them afterwards. Requests that wait
   * at the same time are scored in one run.
   *
   * @throws ModelTimeout when there is no answer after `withinMs`, or at once when too many requests wait already.
   * @throws ModelError when the model throws, answers NaN, or its thread ended.
   */
  score(rows: FeatureRows, withinMs: number): Promise<Scoring>;
  /** For how long the oldest request that has no answer has been waiting, in ms; 0 when none waits. */
  waitingMs(): number;
  /**
   * Refuses what still waits and lets the thread end by itself. It is never terminated: that aborts the whole process
   * when ONNX Runtime is at work in it. A thread that hangs is left behind.
   */
  close(): Promise<void>;
}

export interface ThreadedModelInput {
  /** For messages: `version 7 of "news-feed"`. */
  title: string;
  features: readonly Feature[];
  /**
   * Where the ONNX file is. A function may have files measured by the version's thread first: the calling thread need not
   * read a large model.
   */
  path: string | ((measure: (path: string) => Promise<FileContent>) => Promise<string>);
  /** For measuring a file, and for loading and warming the model. */
  loadWithinMs?: number;
  maxWaiting?: number;
}

const CLOSE_WITHIN_MS = 2_000;

/**
 * Starts a thread, loads and warms the model there and resolves when it can score.
 *
 * @throws ModelError that names the version and what to do: a missing, damaged or broken file, or one that breaks the
 *   contract of `openModel`; what `path` throws.
 */
export async function openThreadedModel(input: ThreadedModelInput): Promise<ThreadedModel> {
  const { title, path, features, loadWithinMs = 60_000, maxWaiting = 256 } = input;
  const workerData: ThreadInput = { features };
  const worker = startThread({ beside: import.meta.url, entry: './model-thread', workerData });
  const send = (request: ThreadRequest): void => {
    worker.postMessage(request);
  };
  const queue = new BatchQueue({ title, widths: rowWidths(features), maxWaiting, send });
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  worker.on('error', (error) => {
    queue.end(`its thread failed: ${error instanceof Error ? error.message : String(error)}`);
  });
  worker.on('exit', () => {
    queue.end('its thread has ended');
  });
  worker.on('message', (answer: ThreadAnswer) => {
    if (answer.kind === 'scored') queue.scored(answer);
  });

  const release = async (): Promise<void> => {
    send({ kind: 'close' });
    const givenUp = new AbortController();
    await Promise.race([exited, sleep(CLOSE_WITHIN_MS, undefined, { signal: givenUp.signal }).catch(() => undefined)]);
    givenUp.abort();
    // A thread that hangs must not keep the process alive.
    worker.unref();
  };

  const ask = (request: ThreadRequest): Promise<ThreadAnswer> => {
    send(request);
    return answered({ worker, exited, title, withinMs: loadWithinMs });
  };

  try {
    const found =
      typeof path === 'string' ? path : await path((file) => measured(ask({ kind: 'measure', path: file })));
    await ask({ kind: 'open', path: found });
  } catch (error) {
    await release();
    throw error;
  }

  return {
    score: (rows, withinMs) => queue.score(rows, withinMs),
    waitingMs: () => queue.waitingMs(),
    async close() {
      queue.end('it was closed');
      await release();
    },
  };
}

async function measured(asked: Promise<ThreadAnswer>): Promise<FileContent> {
  const answer = await asked;
  if (answer.kind !== 'measured') throw new ModelError(`expected the content of a file, got "${answer.kind}"`);
  return { sha256: answer.sha256, bytes: answer.bytes };
}

/** What a thread that is loading answers next. @throws ModelError when that is a failure, or nothing. */
async function answered({
  worker,
  exited,
  title,
  withinMs,
}: {
  worker: Worker;
  exited: Promise<unknown>;
  title: string;
  withinMs: number;
}): Promise<ThreadAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (problem: string): void => {
      clearTimeout(timer);
      reject(new ModelError(`${title} can not be loaded: ${problem}`));
    };
    const timer = setTimeout(() => {
      fail(`it took longer than ${String(withinMs)} ms`);
    }, withinMs);
    worker.once('message', (answer: ThreadAnswer) => {
      clearTimeout(timer);
      if (answer.kind === 'failed') fail(answer.message);
      else resolve(answer);
    });
    worker.once('error', (error) => {
      fail(error instanceof Error ? error.message : String(error));
    });
    void exited.then(() => {
      fail('its thread ended while loading');
    });
  });
}
