import { parentPort, workerData } from 'node:worker_threads';
import type { Evaluation } from '../../policy/evaluation.ts';
import { ModelError } from '../../scoring/model-session.ts';
import { DataError } from '../data-error.ts';
import { compareModels } from './compare-models.ts';
import type { ThreadInput } from './evaluate.ts';

/** What the thread of one evaluation posts, once. */
export type ThreadReport = { kind: 'done'; evaluation: Evaluation } | { kind: 'badData' | 'failed'; message: string };

async function report({ input, stop }: ThreadInput): Promise<ThreadReport> {
  const checkpoint = (): void => {
    if (Atomics.load(stop, 0) !== 0) throw new Error('the evaluation was stopped');
  };
  try {
    return { kind: 'done', evaluation: await compareModels(input, checkpoint) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { kind: repeatsItself(error) ? 'badData' : 'failed', message };
  }
}

/** Bad rows and a broken model are as bad on the next try. */
function repeatsItself(error: unknown): boolean {
  return error instanceof DataError || (error instanceof Error && error.cause instanceof ModelError);
}

parentPort?.postMessage(await report(workerData as ThreadInput));
