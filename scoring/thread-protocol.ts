import type { Feature } from '../config/schema.ts';
import type { FeatureRows } from '../features/featurizer.ts';

/** What a version's thread is started with. */
export interface ThreadInput {
  /** The ONNX file, its content verified. */
  path: string;
  features: readonly Feature[];
}

/** `expiresAtMs` is on {@link sharedClockMs}. */
export interface ScoreRequest {
  kind: 'score';
  id: number;
  rows: FeatureRows;
  expiresAtMs: number;
}

/** `close` ends the thread once it has answered what came before. */
export type ThreadRequest = ScoreRequest | { kind: 'close' };

export type ThreadAnswer =
  | { kind: 'ready' }
  | { kind: 'failed'; message: string }
  | { kind: 'scored'; id: number; scores: Float32Array<ArrayBuffer> }
  | { kind: 'refused'; id: number; message: string };

/** Milliseconds of the monotonic clock that all threads of a process share. */
export const sharedClockMs = (): number => Number(process.hrtime.bigint()) / 1e6;
