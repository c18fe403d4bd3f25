import type { Feature } from '../config/schema.ts';

/** What a version's thread is started with. */
export interface ThreadInput {
  /** The ONNX file, its content verified. */
  path: string;
  features: readonly Feature[];
}

/** Score the rows of shared batch `batch`: of the first `counts[0]` rows one request's, and so on. */
export interface BatchRequest {
  kind: 'score';
  batch: number;
  counts: readonly number[];
  /** The batch's memory, the first time and when it has grown. */
  memory?: { buffer: SharedArrayBuffer; capacity: number };
}

/** `close` ends the thread once it has answered what came before. */
export type ThreadRequest = BatchRequest | { kind: 'close' };

export type ThreadAnswer =
  | { kind: 'ready' }
  | { kind: 'failed'; message: string }
  /** The scores stand in the batch, whose run took `runMs`; `problems` has what went wrong, by request, where something did. */
  | { kind: 'scored'; batch: number; runMs: number; problems: readonly (string | null)[] | null };
