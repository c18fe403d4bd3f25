import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { BatchModel } from './model-session.ts';
import { allocateBatch, rowsIn, viewBatch, type RowWidths, type SharedBatch } from './shared-batch.ts';
import { lowerPriority } from './thread-priority.ts';
import type {
  BatchRequest,
  FileContent,
  Problem,
  ThreadAnswer,
  ThreadInput,
  ThreadRequest,
} from './thread-protocol.ts';

/**
 * Entry of the thread of one version: measures and loads it when it is told to, behind the threads that answer, and says so;
 * then scores what it is sent until it is ended.
 */

const READ_BYTES = 1_048_576;
/** Requests of a batch, 50 candidates each, and for how long warming may take. */
const WARM_UP = { requests: [1, 4, 16], rows: 50, times: 5, withinMs: 200 };

const raisePriority = lowerPriority();
const batches = new Map<number, SharedBatch>();
let model: BatchModel | null = null;
let last = Promise.resolve();

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function answer(message: ThreadAnswer): void {
  parentPort?.postMessage(message);
}

/** Here and now: the pool that reads files otherwise has no low priority. */
function measured(path: string): FileContent {
  const file = openSync(path, 'r');
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    for (let bytes = 0; ;) {
      const read = readSync(file, buffer);
      if (read === 0) return { sha256: hash.digest('hex'), bytes };
      hash.update(buffer.subarray(0, read));
      bytes += read;
    }
  } finally {
    closeSync(file);
  }
}

async function opened(path: string): Promise<BatchModel> {
  const { features } = workerData as ThreadInput;
  // Not before the priority is lowered: it loads ONNX Runtime.
  const { openModel } = await import('./model-session.ts');
  const loaded = await openModel(path, features);
  await warm(loaded);
  return loaded;
}

/** Batches as they will come, so that no request waits for code to be compiled or memory to be found. */
async function warm(loaded: BatchModel): Promise<void> {
  const { widths } = loaded;
  const { requests, rows, times, withinMs } = WARM_UP;
  const untilMs = performance.now() + withinMs;
  const batch = missingRows(Math.max(...requests) * rows, widths);
  for (const size of requests.flatMap((size) => Array.from({ length: times }, () => size))) {
    if (performance.now() > untilMs) return;
    const counts = Array.from({ length: size }, () => rows);
    batch.scores.fill(0);
    for (const result of await loaded.scoreEach(rowsIn(batch, { count: size * rows, widths }), counts)) {
      if (result instanceof Float32Array) batch.scores.set(result);
    }
  }
}

function missingRows(count: number, widths: RowWidths): SharedBatch {
  const batch = allocateBatch(count, widths);
  batch.dense.fill(NaN);
  return batch;
}

async function score({ batch: number, counts, memory }: BatchRequest): Promise<void> {
  if (model === null) throw new Error('asked to score before the model was open');
  const { widths } = model;
  if (memory !== undefined) batches.set(number, viewBatch(memory.buffer, { capacity: memory.capacity, widths }));
  const batch = batches.get(number);
  if (batch === undefined) throw new Error(`batch ${String(number)} came without its memory`);
  const count = counts.reduce((sum, one) => sum + one, 0);
  const startedMs = performance.now();
  const results = await model.scoreEach(rowsIn(batch, { count, widths }), counts);
  const runMs = performance.now() - startedMs;
  let at = 0;
  let problems: (Problem | null)[] | null = null;
  for (const [index, result] of results.entries()) {
    if (result instanceof Float32Array) batch.scores.set(result, at);
    else (problems ??= counts.map(() => null))[index] = { message: result.message, kind: result.kind };
    at += counts[index] ?? 0;
  }
  answer({ kind: 'scored', batch: number, runMs, problems });
}

async function close(): Promise<void> {
  // Giving a large model's memory back takes its time, too.
  lowerPriority();
  await model?.close();
  parentPort?.close();
}

async function obey(request: ThreadRequest): Promise<void> {
  if (request.kind === 'score') return score(request);
  if (request.kind === 'close') return close();
  try {
    if (request.kind === 'measure') {
      answer({ kind: 'measured', ...measured(request.path) });
    } else {
      model = await opened(request.path);
      raisePriority();
      answer({ kind: 'ready' });
    }
  } catch (error) {
    answer({ kind: 'failed', message: messageOf(error) });
  }
}

parentPort?.on('message', (request: ThreadRequest) => {
  last = last.then(() => obey(request));
});
