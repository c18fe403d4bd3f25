import type { EvaluationConfig, Feature } from '../../config/schema.ts';
import type { Evaluation } from '../../policy/evaluation.ts';
import { startThread } from '../../scoring/start-thread.ts';
import { DataError } from '../data-error.ts';
import type { ThreadReport } from './evaluation-thread.ts';

/** A version to evaluate: the path of its ONNX file, or its bytes, and the spec it was trained with. */
export interface EvaluatedModel {
  model: string | Uint8Array;
  features: readonly Feature[];
}

/** Where the rows are that the challenger and its parents trained on; `lacking` says why they can not all be read. */
export type SeenRows = { kind: 'files'; paths: readonly string[] } | { kind: 'lacking'; why: string };

export interface EvaluationInput {
  /** Local paths of the holdout's Parquet files; no row is in two of them. */
  holdout: readonly string[];
  /** Local paths of the fixed historical holdout; empty where there is none. */
  historical?: readonly string[];
  challenger: EvaluatedModel;
  champion: (EvaluatedModel & { version: number }) | null;
  config: EvaluationConfig;
  /** Slices that the gate has rules for: where not all fit into the result, these come first. */
  judgedSlices?: readonly string[];
  /** For slices by novelty; without it there are none. */
  seen?: SeenRows;
  /** Of the bootstrap, and its seed. */
  replicates: number;
  seed: number;
}

/** What the evaluation's thread is started with: the input, and a flag that is not 0 once it is to stop. */
export interface ThreadInput {
  input: EvaluationInput;
  stop: Int32Array<SharedArrayBuffer>;
}

/**
 * Scores challenger and champion on the same holdout rows and compares them: metrics with paired bootstrap bounds over
 * users, overall and by slice, calibration, largest score change, latency, size. Each model gets the columns of its own
 * spec; a column that the files do not have is fed as missing. Runs in a thread of its own, so that the caller's event
 * loop stays free for heartbeats.
 *
 * The same input gives the same figures, latency aside. Without rows, or with one class only, figures are NaN, which
 * the gate holds on.
 *
 * @param options.signal rejects at once with the signal's reason; the thread stops after the batch or replicate it is
 * at. It is never terminated: that aborts the whole process when ONNX Runtime is at work in it.
 * @throws DataError when the holdout can not be read; Error when a model can not be loaded or answers no probability,
 * naming which.
 */
export async function evaluate(input: EvaluationInput, options: { signal?: AbortSignal } = {}): Promise<Evaluation> {
  const { signal } = options;
  signal?.throwIfAborted();
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const workerData: ThreadInput = { input, stop };
  const thread = startThread({ beside: import.meta.url, entry: './evaluation-thread', workerData });
  return await new Promise<Evaluation>((resolve, reject) => {
    const abort = (): void => {
      Atomics.store(stop, 0, 1);
      thread.unref();
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', abort, { once: true });
    thread.once('message', (report: ThreadReport) => {
      if (report.kind === 'done') resolve(report.evaluation);
      else reject(report.kind === 'badData' ? new DataError(report.message) : new Error(report.message));
    });
    thread.once('error', reject);
    thread.once('exit', (code) => {
      signal?.removeEventListener('abort', abort);
      reject(new Error(`the evaluation's thread ended with code ${String(code)} and without a result`));
    });
  });
}
