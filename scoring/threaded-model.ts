import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import type { FeatureRows } from '../features/featurizer.ts';
import { ModelError } from './model-session.ts';
import { startThread } from './start-thread.ts';
import { sharedClockMs, type ThreadAnswer, type ThreadInput, type ThreadRequest } from './thread-protocol.ts';

/** The model gave no answer in the time it had, or has so much waiting that it could not. */
export class ModelTimeout extends ModelError {
  override readonly name = 'ModelTimeout';
}

/** A version in a thread of its own: neither loading nor scoring it stalls the thread that answers requests. */
export interface ThreadedModel {
  /**
   * Probabilities in [0, 1], one a row. `rows` are copied, not taken: the caller logs them afterwards.
   *
   * @throws ModelTimeout when there is no answer after `withinMs`, or at once when too many requests wait already.
   * @throws ModelError when the model throws, answers NaN, or its thread ended.
   */
  score(rows: FeatureRows, withinMs: number): Promise<Float32Array>;
  /**
   * Refuses what still waits and lets the thread end by itself. It is never terminated: that aborts the whole process
   * when ONNX Runtime is at work in it. A thread that hangs is left behind.
   */
  close(): Promise<void>;
}

export interface ThreadedModelInput extends ThreadInput {
  /** For messages: `version 7 of "news-feed"`. */
  title: string;
  loadWithinMs?: number;
  maxWaiting?: number;
}

const CLOSE_WITHIN_MS = 2_000;

interface Waiting {
  resolve(scores: Float32Array): void;
  reject(error: ModelError): void;
}

/**
 * Starts a thread, loads and warms the model there and resolves when it can score.
 *
 * @throws ModelError that names the version and what to do: a missing, damaged or broken file, or one that breaks the
 *   contract of `openModel`.
 */
export async function openThreadedModel(input: ThreadedModelInput): Promise<ThreadedModel> {
  const { title, path, features, loadWithinMs = 60_000, maxWaiting = 256 } = input;
  const workerData: ThreadInput = { path, features };
  const worker = startThread({ beside: import.meta.url, entry: './model-thread', workerData });
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  let ended: ModelError | null = null;

  const end = (problem: string): void => {
    ended ??= new ModelError(`${title}: ${problem}`);
    for (const request of waiting.values()) request.reject(ended);
    waiting.clear();
  };
  worker.on('error', (error) => {
    end(`its thread failed: ${error instanceof Error ? error.message : String(error)}`);
  });
  worker.on('exit', () => {
    end('its thread has ended');
  });
  worker.on('message', (answer: ThreadAnswer) => {
    if (answer.kind !== 'scored' && answer.kind !== 'refused') return;
    const asked = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (answer.kind === 'scored') asked?.resolve(answer.scores);
    else asked?.reject(new ModelError(`${title}: ${answer.message}`));
  });

  const exited = new Promise((resolve) => worker.once('exit', resolve));
  const send = (request: ThreadRequest): void => {
    worker.postMessage(request);
  };
  const release = async (): Promise<void> => {
    send({ kind: 'close' });
    const givenUp = new AbortController();
    await Promise.race([exited, sleep(CLOSE_WITHIN_MS, undefined, { signal: givenUp.signal }).catch(() => undefined)]);
    givenUp.abort();
    // A thread that hangs must not keep the process alive.
    worker.unref();
  };

  try {
    await loaded({ worker, title, withinMs: loadWithinMs });
  } catch (error) {
    await release();
    throw error;
  }

  return {
    score(rows, withinMs) {
      if (ended !== null) return Promise.reject(ended);
      if (waiting.size >= maxWaiting) {
        return Promise.reject(new ModelTimeout(`${title}: ${String(waiting.size)} requests wait for it already`));
      }
      const id = ++lastId;
      return new Promise<Float32Array>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new ModelTimeout(`${title}: no answer within ${String(withinMs)} ms`));
        }, withinMs);
        // The entry stays until the thread has answered, so that `maxWaiting` counts what is in its queue.
        waiting.set(id, {
          resolve(scores) {
            clearTimeout(timer);
            resolve(scores);
          },
          reject(error) {
            clearTimeout(timer);
            reject(error);
          },
        });
        send({ kind: 'score', id, rows, expiresAtMs: sharedClockMs() + withinMs });
      });
    },
    async close() {
      end('it was closed');
      await release();
    },
  };
}

async function loaded({ worker, title, withinMs }: { worker: Worker; title: string; withinMs: number }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (problem: string): void => {
      clearTimeout(timer);
      reject(new ModelError(`${title} can not be loaded: ${problem}`));
    };
    const timer = setTimeout(() => {
      fail(`it took longer than ${String(withinMs)} ms`);
    }, withinMs);
    worker.once('message', (answer: ThreadAnswer) => {
      if (answer.kind === 'failed') {
        fail(answer.message);
      } else {
        clearTimeout(timer);
        resolve();
      }
    });
    worker.once('error', (error) => {
      fail(error instanceof Error ? error.message : String(error));
    });
    worker.once('exit', () => {
      fail('its thread ended while loading');
    });
  });
}
