import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { FeatureRows } from '../../features/featurizer.ts';
import { BatchQueue } from '../../scoring/batch-queue.ts';
import { openModel, rowWidths } from '../../scoring/model-session.ts';
import { rowsIn, viewBatch, type SharedBatch } from '../../scoring/shared-batch.ts';
import { openThreadedModel } from '../../scoring/threaded-model.ts';
import { FEATURES } from '../gateway/ranking-model.ts';

/** A loaded and warm version, wherever its session is. */
export interface Scorer {
  score(rows: FeatureRows): Promise<Float32Array>;
  close(): Promise<void>;
}

/** What crosses to a version's process: the rows of several requests. */
export interface ProcessBatch {
  batch: number;
  counts: readonly number[];
  rows: FeatureRows;
}

export type ProcessAnswer = { kind: 'ready' } | { kind: 'scored'; batch: number; scores: Float32Array; runMs: number };

const title = 'the version';
const DEADLINE_MS = 10_000;
const MAX_WAITING = 256;

/** Where a version's session is. */
export const SCORERS = { own: openOwn, thread: openThread, process: openProcess };

/** In the thread that answers requests. */
async function openOwn(path: string): Promise<Scorer> {
  const model = await openModel(path, FEATURES);
  return { score: (rows) => model.score(rows), close: () => model.close() };
}

/** In a thread of its own, as in the gateway. */
async function openThread(path: string): Promise<Scorer> {
  const model = await openThreadedModel({ title, path, features: FEATURES, maxWaiting: MAX_WAITING });
  return {
    score: async (rows) => (await model.score(rows, DEADLINE_MS)).scores,
    close: () => model.close(),
  };
}

/** In a process of its own: the gateway's queue, whose batches are copied into messages instead of shared. */
async function openProcess(path: string): Promise<Scorer> {
  const child = fork(new URL('./model-process.js', import.meta.url), [path], { serialization: 'advanced' });
  const widths = rowWidths(FEATURES);
  const memories = new Map<number, SharedBatch>();
  const queue = new BatchQueue({
    ...{ title, widths, maxWaiting: MAX_WAITING },
    send(request) {
      if (request.kind !== 'score') return;
      const { batch, counts, memory } = request;
      if (memory !== undefined) memories.set(batch, viewBatch(memory.buffer, { capacity: memory.capacity, widths }));
      const known = memories.get(batch);
      if (known === undefined) throw new Error(`batch ${String(batch)} came without its memory`);
      const count = counts.reduce((sum, one) => sum + one, 0);
      child.send({ batch, counts, rows: rowsIn(known, { count, widths }) } satisfies ProcessBatch);
    },
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.once('exit', () => {
      reject(new Error('the process of the version has ended'));
    });
    child.on('message', (answer: ProcessAnswer) => {
      if (answer.kind === 'ready') {
        resolve();
      } else {
        memories.get(answer.batch)?.scores.set(answer.scores);
        queue.scored({ ...answer, problems: null });
      }
    });
  });
  await ready;
  return {
    score: async (rows) => (await queue.score(rows, DEADLINE_MS)).scores,
    async close() {
      queue.end('it was closed');
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}
