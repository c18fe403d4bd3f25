import type { GateConfig } from '../config/schema.ts';
import { count, difference, recorded } from './figures.ts';
import type { Reason } from './verdict.ts';

/** One row on both sides; null where a side says no number. */
export interface ParityRow {
  impressionId: string;
  trainer: number | null;
  onnx: number | null;
}

/** What the trainer's own framework and `model.onnx` in ONNX Runtime say of the same rows. */
export interface Parity {
  /** Why nothing could be compared; then all figures are 0 or null. */
  problem: string | null;
  /** Rows of the snapshot's train part. */
  trainRows: number;
  /** Predictions looked at. */
  predictions: number;
  /** Of them, those whose row is in the snapshot. */
  rows: number;
  /** One of the predictions whose row is not; null when all are known. */
  unknownRow: string | null;
  /** Rows on which a side says no probability, and the first of them. */
  notNumbers: number;
  firstNotNumber: ParityRow | null;
  /** Of |trainer - onnx| over the rows where both are numbers; null without any. */
  maxDelta: number | null;
  meanDelta: number | null;
  /** Where the difference is largest. */
  worst: ParityRow | null;
}

export interface ParityVerdict {
  /** Only `pass` goes on: `reject` is known to be wrong, `hold` is not known. */
  kind: 'pass' | 'reject' | 'hold';
  reasons: Reason[];
}

/**
 * Whether the model that will be served is the model that was trained: on every compared row the difference is at most
 * `tolerance`, and there are at least `minRows` of them, or as many as the train part has where it has fewer. What is not known never
 * passes.
 */
export function decideParity({
  parity,
  config: { tolerance, minRows },
}: {
  parity: Parity;
  config: GateConfig['parity'];
}): ParityVerdict {
  const { problem, trainRows, predictions, rows, unknownRow, notNumbers, firstNotNumber, worst } = parity;
  const { maxDelta, meanDelta } = parity;
  const numbers = recorded({
    predictions,
    rows,
    maxDelta,
    meanDelta,
    tolerance,
    ...rowNumbers(firstNotNumber ?? worst),
  });
  const verdict = (kind: ParityVerdict['kind'], code: string, message: string): ParityVerdict => ({
    kind,
    reasons: [{ code: `parity.${code}`, message, numbers }],
  });

  if (problem !== null)
    return verdict('hold', 'unreadable', `model.onnx could not be compared with the trainer: ${problem}`);
  if (!(predictions > 0)) {
    const message =
      'The trainer left no predictions to compare model.onnx with: it has to write predictions.parquet for up to 10,000 rows of the train part (docs/trainer-contract.md).';
    return verdict('hold', 'no-predictions', message);
  }
  if (!(rows === predictions)) {
    const message = `${count(predictions - rows)} of the trainer's ${count(predictions)} predictions are of rows that the snapshot does not have, such as ${String(unknownRow)}: predictions.parquet has to name the impression_id of rows of the train part.`;
    return verdict('hold', 'unknown-rows', message);
  }
  const needed = Math.min(minRows, trainRows);
  if (!(rows >= Math.max(1, needed))) {
    const message = `The trainer left predictions of ${count(rows)} rows, fewer than the ${count(needed)} that it takes to tell: it has to write predictions.parquet for up to 10,000 rows of the train part.`;
    return verdict('hold', 'too-few-rows', message);
  }
  if (notNumbers !== 0) {
    const message = `On ${count(notNumbers)} of ${count(rows)} rows a side says no probability: ${described(firstNotNumber)}. ${ADVICE}`;
    return verdict('reject', 'not-a-number', message);
  }
  const found = `on ${count(rows)} rows by at most ${told(maxDelta)} (mean ${told(meanDelta)}, ${described(worst)})`;
  if (maxDelta === null || !(maxDelta <= tolerance)) {
    const message = `model.onnx is not the model that was trained: they differ ${found}; at most ${told(tolerance)} is allowed. ${ADVICE}`;
    return verdict('reject', 'onnx', message);
  }
  return verdict('pass', 'pass', `model.onnx answers as the trained model does: they differ ${found}.`);
}

const ADVICE =
  'Look at the export: preprocessing, id tables, the constant position, the bias correction; "freshet trainer check" shows it on a tiny snapshot.';

function described(row: ParityRow | null): string {
  if (row === null) return 'no row is named';
  const said = (value: number | null): string =>
    value === null ? 'no probability' : String(Number(value.toPrecision(6)));
  return `${row.impressionId}: trainer ${said(row.trainer)}, ONNX ${said(row.onnx)}`;
}

function rowNumbers(row: ParityRow | null): Record<string, number | string | null> {
  return row === null ? {} : { impressionId: row.impressionId, trainer: row.trainer, onnx: row.onnx };
}

function told(value: number | null): string {
  return value === null ? 'an unknown amount' : difference(value);
}
