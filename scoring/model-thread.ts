import { readFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { openModel, type Model } from './model-session.ts';
import {
  sharedClockMs,
  type ScoreRequest,
  type ThreadAnswer,
  type ThreadInput,
  type ThreadRequest,
} from './thread-protocol.ts';

/** Entry of the thread of one version: loads it, says so, then scores what it is sent until it is ended. */

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function answer(message: ThreadAnswer, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

let last = Promise.resolve();

async function score(model: Model, { id, rows, expiresAtMs }: ScoreRequest): Promise<void> {
  // Nobody waits for an expired request: to score it would only delay those behind it.
  if (sharedClockMs() > expiresAtMs) {
    answer({ kind: 'refused', id, message: 'its turn came too late' });
    return;
  }
  try {
    const scores = new Float32Array(await model.score(rows));
    answer({ kind: 'scored', id, scores }, [scores.buffer]);
  } catch (error) {
    answer({ kind: 'refused', id, message: messageOf(error) });
  }
}

async function close(model: Model): Promise<void> {
  await model.close();
  parentPort?.close();
}

try {
  const { path, features } = workerData as ThreadInput;
  const model = await openModel(await readFile(path), features);
  parentPort?.on('message', (request: ThreadRequest) => {
    last = last.then(() => (request.kind === 'score' ? score(model, request) : close(model)));
  });
  answer({ kind: 'ready' });
} catch (error) {
  answer({ kind: 'failed', message: messageOf(error) });
}
