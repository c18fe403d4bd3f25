import type { Feature } from '../config/schema.ts';
import type { ModelError } from './model-session.ts';

/** What a version's thread is started with. */
export interface ThreadInput {
  features: readonly Feature[];
}

/** A file's content, as the artifact store names it. */
export interface FileContent {
  sha256: string;
  bytes: number;
}

/** Score the rows of shared batch `batch`: of the first `counts[0]` rows one request's, and so on. */
export interface BatchRequest {
  kind: 'score';
  batch: number;
  counts: readonly number[];
  /** The batch's memory, the first time and when it has grown. */
  memory?: { buffer: SharedArrayBuffer; capacity: number };
}

/**
 * `measure` reads a file to its end, `open` loads the model and warms it, `close` ends the thread once it has answered what
 * came before.
 */
export type ThreadRequest =
  { kind: 'measure'; path: string } | { kind: 'open'; path: string } | BatchRequest | { kind: 'close' };

/** A `ModelError` on its way to the thread that asked. */
export interface Problem {
  message: string;
  kind: ModelError['kind'];
}

export type ThreadAnswer =
  | ({ kind: 'measured' } & FileContent)
  | { kind: 'ready' }
  | { kind: 'failed'; message: string }
  /** The scores stand in the batch, whose run took `runMs`; `problems` has what went wrong, by request, where something did. */
  | { kind: 'scored'; batch: number; runMs: number; problems: readonly (Problem | null)[] | null };
