import { CALIBRATION_BINS } from '../../policy/ranking-metrics.ts';
import { halvesOf, negativesOf, positivesOf, type Runs } from './bootstrap-runs.ts';
import { LANES } from './bootstrap-sums.ts';

/** Every second byte, so that there is room for a sum. */
const EVEN = 0x00ff_00ff;
const LOW = 0xffff;

/**
 * AUC and expected calibration error of the rows, each as often as its user's weight says: of `LANES` replicates in one pass.
 * Two 32-bit numbers hold sums of weights of the four, 16 bits each, lanes 0 and 2 in `even`, 1 and 3 in `odd`; what they
 * would not hold is added up elsewhere at the end of each cell. The AUC is that of the rows repeated; bins of the
 * calibration error are those of the rows themselves.
 *
 * @returns by metric, then lane. NaN where a class has no weight.
 */
export function aucAndCalibrationError(runs: Runs, weights: Uint32Array): Float64Array {
  const { users, heads, cellEnds } = runs;
  const totals = new Totals(runs);
  let row = 0;
  let run = 0;
  for (let cell = 0; cell < cellEnds.length; cell++) {
    // Of this cell: weights of its negatives, doubled since a tie is half a win, of its positives, and pairs won.
    let evenNegatives = 0;
    let oddNegatives = 0;
    let evenPositives = 0;
    let oddPositives = 0;
    let won0 = 0;
    let won1 = 0;
    let won2 = 0;
    let won3 = 0;
    for (const runEnd = cellEnds[cell] as number; run < runEnd; run++) {
      const head = heads[run] as number;
      const halves = halvesOf(head);
      let even = 0;
      let odd = 0;
      for (const end = row + negativesOf(head); row < end; row++) {
        const weight = weights[users[row] as number] as number;
        even = (even + (weight & EVEN)) | 0;
        odd = (odd + ((weight >>> 8) & EVEN)) | 0;
      }
      evenNegatives = (evenNegatives + Math.imul(halves, even)) | 0;
      oddNegatives = (oddNegatives + Math.imul(halves, odd)) | 0;
      even = 0;
      odd = 0;
      for (const end = row + positivesOf(head); row < end; row++) {
        const weight = weights[users[row] as number] as number;
        even = (even + (weight & EVEN)) | 0;
        odd = (odd + ((weight >>> 8) & EVEN)) | 0;
      }
      evenPositives = (evenPositives + even) | 0;
      oddPositives = (oddPositives + odd) | 0;
      won0 = (won0 + Math.imul(even & LOW, evenNegatives & LOW)) | 0;
      won1 = (won1 + Math.imul(odd & LOW, oddNegatives & LOW)) | 0;
      won2 = (won2 + Math.imul(even >>> 16, evenNegatives >>> 16)) | 0;
      won3 = (won3 + Math.imul(odd >>> 16, oddNegatives >>> 16)) | 0;
    }
    totals.add(0, { cell, won: won0, positives: evenPositives & LOW, negatives: evenNegatives & LOW });
    totals.add(1, { cell, won: won1, positives: oddPositives & LOW, negatives: oddNegatives & LOW });
    totals.add(2, { cell, won: won2, positives: evenPositives >>> 16, negatives: evenNegatives >>> 16 });
    totals.add(3, { cell, won: won3, positives: oddPositives >>> 16, negatives: oddNegatives >>> 16 });
  }
  return Float64Array.of(...totals.aucs(), ...totals.calibrationErrors());
}

/** Sums over cells, by lane. Pairs won and negatives are doubled. */
class Totals {
  readonly #runs: Runs;
  readonly #won = new Float64Array(LANES);
  readonly #positives = new Float64Array(LANES);
  readonly #negatives = new Float64Array(LANES);
  /** Probabilities minus positives, by bin and lane. */
  readonly #excess = new Float64Array(CALIBRATION_BINS * LANES);

  constructor(runs: Runs) {
    this.#runs = runs;
  }

  add(
    lane: number,
    { cell, won, positives, negatives }: Record<'cell' | 'won' | 'positives' | 'negatives', number>,
  ): void {
    const before = this.#negatives[lane] as number;
    this.#won[lane] = (this.#won[lane] as number) + won + positives * before;
    this.#negatives[lane] = before + negatives;
    this.#positives[lane] = (this.#positives[lane] as number) + positives;
    const index = (this.#runs.cellBins[cell] as number) * LANES + lane;
    const predicted = (positives + negatives / 2) * (this.#runs.cellScores[cell] as number);
    this.#excess[index] = (this.#excess[index] as number) + predicted - positives;
  }

  /** Without positives or negatives 0 / 0. */
  aucs(): Float64Array {
    return this.#won.map((won, lane) => won / ((this.#positives[lane] as number) * (this.#negatives[lane] as number)));
  }

  calibrationErrors(): Float64Array {
    const errors = new Float64Array(LANES);
    for (const [index, excess] of this.#excess.entries()) {
      const lane = index % LANES;
      const rows = (this.#positives[lane] as number) + (this.#negatives[lane] as number) / 2;
      errors[lane] = (errors[lane] as number) + Math.abs(excess) / rows;
    }
    return errors;
  }
}
