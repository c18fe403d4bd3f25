import { setImmediate } from 'node:timers/promises';
import { startThread } from '../../scoring/start-thread.ts';
import { resultSize, runNext, STOP, type BootstrapWork } from './bootstrap-replicates.ts';
import type { Segment } from './bootstrap-segment.ts';
import { LANES } from './bootstrap-sums.ts';

/** Visits of a row that are worth a further thread: about half a second of work, where a thread starts within 0.1 to 0.3 s. */
const VISITS_A_THREAD = 2e8;

/**
 * The bootstrap replicates of all segments, each user having one weight in all of them. The calling thread takes part, and
 * lets its event loop run every `LANES` replicates. The results do not depend on the number of threads.
 *
 * @param checkpoint called on the calling thread before every `LANES` replicates that it does; what it throws ends all threads.
 * @returns of each segment an array for `replicatesOf`. All threads have ended then, as they have when this throws.
 */
export async function runReplicates({
  segments,
  userCount,
  replicates,
  seed,
  threads,
  checkpoint,
}: {
  segments: Segment[];
  userCount: number;
  replicates: number;
  seed: number;
  threads: number;
  checkpoint: () => void;
}): Promise<Float64Array[]> {
  const results = segments.map(
    ({ models }) => new Float64Array(new SharedArrayBuffer(8 * resultSize(models.length, replicates))),
  );
  const control = new Int32Array(new SharedArrayBuffer(8));
  const work: BootstrapWork = { segments, userCount, replicates, seed, results, control };
  const helpers = Array.from({ length: threadsWorthwhile(work, threads) - 1 }, () => startHelper(work));
  const ended = Promise.allSettled(helpers);
  try {
    do {
      checkpoint();
      await setImmediate();
    } while (runNext(work));
  } catch (error) {
    Atomics.store(control, STOP, 1);
    await ended;
    throw error;
  }
  const failed = (await ended).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
  return results;
}

function threadsWorthwhile({ segments, replicates }: BootstrapWork, threads: number): number {
  const rows = segments.reduce((sum, { population, models }) => sum + population.rows * models.length, 0);
  return Math.max(
    1,
    Math.min(threads, Math.ceil(replicates / LANES), Math.ceil((rows * replicates) / VISITS_A_THREAD)),
  );
}

/** Resolves when the thread has ended. */
async function startHelper(work: BootstrapWork): Promise<void> {
  const thread = startThread({ beside: import.meta.url, entry: './bootstrap-thread', workerData: work });
  await new Promise<void>((resolve, reject) => {
    let failure: unknown = null;
    thread.once('error', (error) => {
      Atomics.store(work.control, STOP, 1);
      failure = error;
    });
    thread.once('exit', (code) => {
      if (failure === null && code === 0) resolve();
      else reject(new Error(`a thread of the bootstrap ended with code ${String(code)}`, { cause: failure }));
    });
  });
}
