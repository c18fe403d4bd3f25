import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { openModel, type BatchModel } from './model-session.ts';
import { rowsIn, viewBatch, type SharedBatch } from './shared-batch.ts';
import type { BatchRequest, ThreadAnswer, ThreadInput, ThreadRequest } from './thread-protocol.ts';

/** Entry of the thread of one version: loads it, says so, then scores what it is sent until it is ended. */

const LOADING_PRIORITY = 10;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function answer(message: ThreadAnswer): void {
  parentPort?.postMessage(message);
}

const batches = new Map<number, SharedBatch>();
let last = Promise.resolve();

async function score(model: BatchModel, { batch: number, counts, memory }: BatchRequest): Promise<void> {
  const { widths } = model;
  if (memory !== undefined) batches.set(number, viewBatch(memory.buffer, { capacity: memory.capacity, widths }));
  const batch = batches.get(number);
  if (batch === undefined) throw new Error(`batch ${String(number)} came without its memory`);
  const count = counts.reduce((sum, one) => sum + one, 0);
  const startedMs = performance.now();
  const results = await model.scoreEach(rowsIn(batch, { count, widths }), counts);
  const runMs = performance.now() - startedMs;
  let at = 0;
  let problems: (string | null)[] | null = null;
  for (const [index, result] of results.entries()) {
    if (result instanceof Float32Array) batch.scores.set(result, at);
    else (problems ??= counts.map(() => null))[index] = result.message;
    at += counts[index] ?? 0;
  }
  answer({ kind: 'scored', batch: number, runMs, problems });
}

async function close(model: BatchModel): Promise<void> {
  await model.close();
  parentPort?.close();
}

/**
 * Runs `work` behind the threads that answer requests where cores are scarce. On Linux priority 0 is that of this thread.
 * Only where it may be raised again (CAP_SYS_NICE): scoring must not stay behind.
 */
async function atLowPriority<T>(work: () => Promise<T>): Promise<T> {
  if (process.platform !== 'linux') return work();
  try {
    setPriority(-1);
  } catch {
    return work();
  }
  setPriority(LOADING_PRIORITY);
  try {
    return await work();
  } finally {
    setPriority(0);
  }
}

try {
  const { path, features } = workerData as ThreadInput;
  const model = await atLowPriority(() => openModel(path, features));
  parentPort?.on('message', (request: ThreadRequest) => {
    last = last.then(() => (request.kind === 'score' ? score(model, request) : close(model)));
  });
  answer({ kind: 'ready' });
} catch (error) {
  answer({ kind: 'failed', message: messageOf(error) });
}
