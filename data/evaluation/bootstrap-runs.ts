import type { CalibrationBin } from '../../policy/evaluation.ts';
import { CALIBRATION_BINS, endOfBin } from '../../policy/ranking-metrics.ts';
import type { ScoredRows } from './scored-rows.ts';

/**
 * A model's rows by ascending score, laid out for passes that need not look at scores and labels: a run is some negatives and
 * the positives that follow them, a cell some runs with neighbouring scores. All arrays lie in shared memory.
 *
 * The negatives of a tie with positives are there twice, before and behind these, each time with half their weight.
 */
export interface Runs {
  /** The user of each row. */
  users: Uint32Array;
  /** Of each run, packed: number of negatives, of positives, and twice the weight that its negatives have. */
  heads: Uint32Array;
  /** Of each cell: where its runs end. */
  cellEnds: Uint32Array;
  /** Mean score of the cell's rows. */
  cellScores: Float64Array;
  /** Calibration bin of the cell. */
  cellBins: Uint8Array;
}

/**
 * Rows of a cell. A row weighs 12 at most and its weight may be doubled: with P positives and N negatives sums of weights
 * stay below 24 N, which 16 bits hold, and sums of products of two below 12 P 24 N, which 31 bits hold.
 */
const MAX_CELL = 2_730;

const COUNT_BITS = 12;
const COUNT = (1 << COUNT_BITS) - 1;
export const negativesOf = (head: number): number => head & COUNT;
export const positivesOf = (head: number): number => (head >>> COUNT_BITS) & COUNT;
export const halvesOf = (head: number): number => head >>> (2 * COUNT_BITS);

/**
 * Cells of a calibration bin. In a replicate the rows of a cell count with their mean score, which leaves out some of the
 * variance of the calibration error: of scores that are spread evenly over a bin 1/64 of their part of it, and that part is
 * small beside the labels'.
 */
const CELLS_A_BIN = 8;

/**
 * @param order rows of the segment by ascending score.
 * @returns also the bins of `calibrationBins`.
 */
export function runsOf(
  rows: ScoredRows,
  scores: Float32Array,
  order: Uint32Array,
): { runs: Runs; curve: CalibrationBin[] } {
  const writer = new RunWriter(rows, order.length);
  const curve: CalibrationBin[] = [];
  for (let start = 0; start < order.length;) {
    const end = tieEnd(scores, order, endOfBin(start, order.length, CALIBRATION_BINS));
    const inBin = order.subarray(start, end);
    const size = Math.ceil(inBin.length / CELLS_A_BIN);
    for (let cell = 0; cell < inBin.length;) {
      const cellEnd = tieEnd(scores, inBin, Math.min(cell + size, inBin.length));
      const inCell = inBin.subarray(cell, cellEnd);
      writer.startCell({ score: meanOf(scores, inCell), bin: curve.length });
      writeTies(writer, scores, inCell);
      writer.endCell();
      cell = cellEnd;
    }
    curve.push({ rows: inBin.length, predicted: meanOf(scores, inBin), observed: meanOf(rows.labels, inBin) });
    start = end;
  }
  return { runs: writer.finish(), curve };
}

function writeTies(writer: RunWriter, scores: Float32Array, rows: Uint32Array): void {
  for (let start = 0; start < rows.length;) {
    const end = tieEnd(scores, rows, start + 1);
    writer.tie(rows.subarray(start, end));
    start = end;
  }
}

function meanOf(values: Uint8Array | Float32Array, rows: Uint32Array): number {
  let sum = 0;
  for (const row of rows) sum += values[row] as number;
  return sum / rows.length;
}

/** The first end of a tie that is at least `place`. */
function tieEnd(scores: Float32Array, order: Uint32Array, place: number): number {
  const last = scores[order[place - 1] as number];
  let end = place;
  while (end < order.length && scores[order[end] as number] === last) end++;
  return end;
}

class RunWriter {
  readonly #rows: ScoredRows;
  readonly #users: Uint32Array;
  readonly #heads: Uint32Array;
  readonly #cells: { end: number; score: number; bin: number }[] = [];
  #cell = { score: 0, bin: 0 };
  #cellStart = 0;
  #length = 0;
  #runs = 0;
  #negatives = 0;
  #positives = 0;
  #halves = 2;

  constructor(rows: ScoredRows, count: number) {
    this.#rows = rows;
    // Negatives may be there twice.
    this.#users = new Uint32Array(2 * count);
    this.#heads = new Uint32Array(2 * count);
  }

  startCell(cell: { score: number; bin: number }): void {
    this.#cell = cell;
    this.#cellStart = this.#length;
  }

  /** All rows with one score. */
  tie(rows: Uint32Array): void {
    const { labels, users } = this.#rows;
    let positives = 0;
    for (const row of rows) positives += labels[row] as number;
    const mixed = positives > 0 && positives < rows.length;
    const halves = mixed ? 1 : 2;
    for (const row of rows) if (labels[row] === 0) this.#negative(users[row] as number, halves);
    for (const row of rows) if (labels[row] === 1) this.#positive(users[row] as number);
    if (!mixed) return;
    for (const row of rows) if (labels[row] === 0) this.#negative(users[row] as number, halves);
  }

  endCell(): void {
    this.#endRun();
    this.#cells.push({ end: this.#runs, ...this.#cell });
    this.#cellStart = this.#length;
  }

  finish(): Runs {
    return {
      users: shared(this.#users.subarray(0, this.#length)),
      heads: shared(this.#heads.subarray(0, this.#runs)),
      cellEnds: shared(Uint32Array.from(this.#cells, ({ end }) => end)),
      cellScores: shared(Float64Array.from(this.#cells, ({ score }) => score)),
      cellBins: shared(Uint8Array.from(this.#cells, ({ bin }) => bin)),
    };
  }

  #negative(user: number, halves: number): void {
    if (this.#positives > 0 || this.#halves !== halves) this.#endRun();
    this.#halves = halves;
    this.#add(user);
    this.#negatives++;
  }

  #positive(user: number): void {
    this.#add(user);
    this.#positives++;
  }

  #add(user: number): void {
    if (this.#length - this.#cellStart === MAX_CELL) this.endCell();
    this.#users[this.#length++] = user;
  }

  #endRun(): void {
    if (this.#negatives + this.#positives > 0)
      this.#heads[this.#runs++] =
        this.#negatives | (this.#positives << COUNT_BITS) | (this.#halves << (2 * COUNT_BITS));
    this.#negatives = 0;
    this.#positives = 0;
  }
}

/** A copy in memory that threads share. */
export function shared<T extends Uint8Array | Uint32Array | Float64Array>(values: T): T {
  const copy = new (values.constructor as new (buffer: SharedArrayBuffer) => T)(
    new SharedArrayBuffer(values.byteLength),
  );
  copy.set(values);
  return copy;
}
