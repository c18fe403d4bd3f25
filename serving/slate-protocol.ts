import type { EventLogStats } from '../data/event-log/writer.ts';
import type { FeedbackRecord, ImpressionRecord } from '../data/event-log/records.ts';
import type { ColumnNames } from '../features/featurizer.ts';

/** What the thread of the event log is started with. */
export interface LogThreadInput {
  root: string;
  processId: string;
  sealEveryMs?: number;
}

/** What all items of a slate share. */
export type SlateHead = Omit<ImpressionRecord, 'impressionId' | 'itemId' | 'position' | 'score' | 'features'>;

/** A served slate, its items by position. Their features follow one another in the batch's numbers. */
export interface LoggedSlate {
  head: SlateHead;
  token: string;
  itemIds: readonly string[];
  scores: readonly number[];
  /** Index of the names of its features, as sent by `columns`. */
  columns: number;
}

export interface LogBatch {
  kind: 'batch';
  slates: readonly LoggedSlate[];
  ids: BigInt64Array;
  dense: Float32Array;
  feedback: readonly FeedbackRecord[];
}

export type LogThreadRequest =
  | LogBatch
  | { kind: 'columns'; index: number; names: ColumnNames }
  /** Answers `askEventNow`. */
  | { kind: 'eventNow'; id: number; eventMs: number }
  | { kind: 'close' };

export type LogThreadAnswer =
  | { kind: 'ready' }
  | { kind: 'failed'; message: string }
  /** `records` of a batch are the writer's now. */
  | { kind: 'taken'; records: number; stats: EventLogStats }
  | { kind: 'stats'; stats: EventLogStats }
  | { kind: 'askEventNow'; id: number; line: string }
  | { kind: 'closed'; stats: EventLogStats };
