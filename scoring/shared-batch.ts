import type { FeatureRows } from '../features/featurizer.ts';

/** Values a row of a model's inputs has. */
export interface RowWidths {
  ids: number;
  dense: number;
}

/**
 * Room for a batch of rows and their scores in memory that the answering and the scoring thread share: numbers cross
 * without being copied into messages.
 */
export interface SharedBatch {
  buffer: SharedArrayBuffer;
  /** Rows that fit. */
  capacity: number;
  ids: BigInt64Array;
  dense: Float32Array;
  scores: Float32Array;
}

const ID_BYTES = BigInt64Array.BYTES_PER_ELEMENT;
const NUMBER_BYTES = Float32Array.BYTES_PER_ELEMENT;

export function allocateBatch(capacity: number, widths: RowWidths): SharedBatch {
  const bytes = capacity * (widths.ids * ID_BYTES + (widths.dense + 1) * NUMBER_BYTES);
  return viewBatch(new SharedArrayBuffer(bytes), { capacity, widths });
}

/** The same memory as the other thread sees it. */
export function viewBatch(
  buffer: SharedArrayBuffer,
  { capacity, widths }: { capacity: number; widths: RowWidths },
): SharedBatch {
  const denseAt = capacity * widths.ids * ID_BYTES;
  const scoresAt = denseAt + capacity * widths.dense * NUMBER_BYTES;
  return {
    buffer,
    capacity,
    ids: new BigInt64Array(buffer, 0, capacity * widths.ids),
    dense: new Float32Array(buffer, denseAt, capacity * widths.dense),
    scores: new Float32Array(buffer, scoresAt, capacity),
  };
}

/** Puts rows behind the `at` that are there. */
export function putRows(
  batch: SharedBatch,
  { rows, at, widths }: { rows: FeatureRows; at: number; widths: RowWidths },
): void {
  if (widths.ids > 0) batch.ids.set(rows.ids, at * widths.ids);
  if (widths.dense > 0) batch.dense.set(rows.dense, at * widths.dense);
}

/** A copy of the first `count` rows: ONNX Runtime takes no shared memory. */
export function rowsIn(batch: SharedBatch, { count, widths }: { count: number; widths: RowWidths }): FeatureRows {
  return {
    count,
    ids: batch.ids.slice(0, count * widths.ids),
    dense: batch.dense.slice(0, count * widths.dense),
  };
}
