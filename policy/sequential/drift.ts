/**
 * Two arms that serve the same model still differ by more than chance: other users, other machines. The difference is
 * taken to be drawn from N(0, dispersion^2) and to last for a block of looks. Where the blocks begin is not known, and now
 * and then one ends before its time: the likelihood is summed over all of it by the forward recursion of a hidden Markov
 * model (Rabiner 1989) whose state is the drift and the age of its block.
 */

export interface DriftGrid {
  points: Float64Array;
  /** Normal weights, which add up to 1. */
  weights: Float64Array;
}

/** Of the grid, in standard deviations of the drift. */
const REACH = 4;
/** Of the grid, in standard deviations of what is summed: the trapezoidal rule is off by 2 exp(-2 (pi / 1.5)^2), some 1e-4. */
const SPACING = 1.5;
const FEWEST_POINTS = 9;
const MOST_POINTS = 401;

/**
 * @param dispersion standard deviation of the drift; 0: there is none.
 * @param information the most that one block tells of the drift (1 / variance): more of it needs a finer grid.
 * @throws RangeError when either is not a number of at least 0.
 */
export function driftGrid(dispersion: number, information: number): DriftGrid {
  if (!(dispersion >= 0 && Number.isFinite(dispersion)))
    throw new RangeError(`the dispersion must be a number of at least 0, got ${String(dispersion)}`);
  if (!(information >= 0)) throw new RangeError(`the information must be at least 0, got ${String(information)}`);
  if (dispersion === 0) return { points: new Float64Array(1), weights: new Float64Array(1).fill(1) };
  const width = 1 / Math.sqrt(1 + information * dispersion ** 2);
  const half = Math.ceil(REACH / (SPACING * width));
  const size = Math.min(MOST_POINTS, Math.max(FEWEST_POINTS, 2 * half + 1));
  const z = Float64Array.from({ length: size }, (_, index) => REACH * ((2 * index) / (size - 1) - 1));
  const total = z.reduce((sum, value) => sum + Math.exp(-(value * value) / 2), 0);
  return {
    points: z.map((value) => value * dispersion),
    weights: z.map((value) => Math.exp(-(value * value) / 2) / total),
  };
}

/** The chance that a block ends before its time, a look. */
const EARLY_END = 0.05;

/**
 * How much of the probability lies where: by the look of a block's cycle at which the block began, then by grid point. Not
 * normalised; every operation is linear. Nothing is allocated after the constructor.
 */
export class DriftMeasure {
  readonly #cells: Float64Array;
  readonly #weights: Float64Array;
  readonly #phases: number;
  /** By phase. */
  readonly #sums: Float64Array;
  #factor = 1;
  #total = 0;

  constructor({ weights }: DriftGrid, blockLooks: number) {
    this.#weights = weights;
    this.#phases = weights.length === 1 ? 1 : blockLooks;
    this.#sums = new Float64Array(this.#phases);
    this.#cells = new Float64Array(this.#phases * weights.length);
  }

  /** Of all states, after the newest look. */
  get total(): number {
    return this.#total * this.#factor;
  }

  /** Spreads `total` over all states as they are before the first look. */
  begin(total: number): void {
    this.#total = total;
    this.#factor = 1;
    this.#sums.fill(total / this.#phases);
    const size = this.#weights.length;
    for (let cell = 0; cell < this.#cells.length; cell++)
      this.#cells[cell] = ((this.#weights[cell % size] as number) * total) / this.#phases;
  }

  scale(factor: number): void {
    this.#factor *= factor;
  }

  /** What may have become of the drift when look number `look` begins, and `weight` times that of `other`, which has advanced already. */
  advance(look: number, weight: number, other: DriftMeasure | null): void {
    const cells = this.#cells;
    const weights = this.#weights;
    const more = other === null ? cells : other.#cells;
    const size = weights.length;
    const renewed = size === 1 ? -1 : look % this.#phases;
    const kept = size === 1 ? this.#factor : (1 - EARLY_END) * this.#factor;
    const early = size === 1 ? 0 : (EARLY_END * this.#total * this.#factor) / this.#phases;
    let cell = 0;
    for (let phase = 0; phase < this.#phases; phase++) {
      const keeps = phase === renewed ? 0 : kept;
      const fresh = phase === renewed ? kept * (this.#sums[phase] as number) + early : early;
      for (let point = 0; point < size; point++, cell++)
        cells[cell] =
          keeps * (cells[cell] as number) + fresh * (weights[point] as number) + weight * (more[cell] as number);
    }
    this.#factor = 1;
  }

  /** Weighs every state with the likelihood of the look at its grid point. */
  weigh(likelihood: Float64Array): void {
    const cells = this.#cells;
    const size = this.#weights.length;
    let cell = 0;
    this.#total = 0;
    for (let phase = 0; phase < this.#phases; phase++) {
      let sum = 0;
      for (let point = 0; point < size; point++, cell++) {
        const weighed = (cells[cell] as number) * (likelihood[point] as number);
        cells[cell] = weighed;
        sum += weighed;
      }
      this.#sums[phase] = sum;
      this.#total += sum;
    }
  }
}
