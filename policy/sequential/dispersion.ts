import { logLikelihoodOfDispersion, type LookModel } from './change-point.ts';

/** How far two arms that serve the same model drift apart, on the scale of the model's shift. */
export interface Dispersion {
  /** Mean of the posterior. */
  estimate: number;
  /** Its 60 % quantile: what to plan with. One that is too small costs false alarms, one that is too large time. */
  planned: number;
}

export interface DispersionSettings {
  /** Looks that a drift lasts. */
  blockLooks: number;
  /** What two arms of the same model are expected to have; its uncertainty is half of it. Without history 1.13 of it is planned with. */
  prior: number;
  /** The least that is planned with: no history is so long that arms are known to be the same. */
  floor: number;
}

const PLANNED = 0.6;
const STEPS = 16;
/** Of the prior's scale: the largest standard deviation that is considered. */
const REACH = 4;
/** Candidates whose posterior is below exp(-8) of the best one's are left out. */
const NEGLIGIBLE = 8;

/**
 * The dispersion of a history in which both arms served the same model, by its posterior under a normal prior: chance
 * within the looks is taken out, and what the history does not tell is the prior's, not 0. An empty history is allowed.
 *
 * @param history runs of looks, each without a gap.
 * @throws RangeError when the prior is not a positive number.
 */
export function estimateDispersion<Look>(
  history: readonly (readonly Look[])[],
  model: Pick<LookModel<Look>, 'at' | 'information'>,
  { blockLooks, prior, floor }: DispersionSettings,
): Dispersion {
  if (!(prior > 0 && prior < Infinity))
    throw new RangeError(`the prior of a dispersion must be a positive number, got ${String(prior)}`);
  const most = REACH * prior;
  const posterior = (dispersion: number): number =>
    logLikelihoodOfDispersion(history, model, { blockLooks, dispersion, most }) -
    (2 * (dispersion / prior - 1)) ** 2 / 2;
  // Finer near 0, where a small drift among many events matters; then once more where the posterior lies.
  const coarse = steps(0, most, 2).map((dispersion) => ({ dispersion, log: posterior(dispersion) }));
  const best = Math.max(...coarse.map(({ log }) => log));
  const inside = coarse.flatMap(({ log }, index) => (log > best - NEGLIGIBLE ? [index] : []));
  const from = coarse[Math.max(0, (inside[0] ?? 0) - 1)]?.dispersion ?? 0;
  const to = coarse[Math.min(STEPS, (inside.at(-1) ?? STEPS) + 1)]?.dispersion ?? most;
  const fine = steps(from, to, 1).map((dispersion) => ({ dispersion, log: posterior(dispersion) }));
  const { mean, quantile } = summarise(fine, PLANNED);
  return { estimate: mean, planned: Math.max(floor, quantile) };
}

function steps(from: number, to: number, power: number): number[] {
  return Array.from({ length: STEPS + 1 }, (_, step) => from + (to - from) * (step / STEPS) ** power);
}

/** Of a density given at equal steps, linear between them. */
function summarise(
  points: readonly { dispersion: number; log: number }[],
  probability: number,
): { mean: number; quantile: number } {
  const best = Math.max(...points.map(({ log }) => log));
  const density = points.map(({ log }) => Math.exp(log - best));
  const masses = density.slice(1).map((value, index) => (value + (density[index] as number)) / 2);
  const total = masses.reduce((sum, mass) => sum + mass, 0);
  const width = (points[1]?.dispersion ?? 0) - (points[0]?.dispersion ?? 0);
  let mean = 0;
  let below = 0;
  let quantile = points.at(-1)?.dispersion ?? 0;
  let found = false;
  for (const [index, mass] of masses.entries()) {
    const start = points[index]?.dispersion ?? 0;
    mean += ((start + width / 2) * mass) / total;
    if (!found && below + mass >= probability * total) {
      quantile = start + (width * (probability * total - below)) / mass;
      found = true;
    }
    below += mass;
  }
  return { mean, quantile };
}

/** Two looks, one after the other, of what both arms did. */
export interface OverdispersionModel<Look> {
  /** Square of the standardised difference between two looks: 1 in the mean when rows are independent. Null when they say nothing. */
  pairSquare: (a: Look, b: Look) => number | null;
}

/** Of the normal: as sure one must be that rows are not independent. */
const SURE = 1.645;
const FEWEST_PAIRS = 30;

/**
 * By how much the variance within a look exceeds that of independent rows, at least 1: the clicks of one request, and the
 * requests of one user, go together. From neighbouring looks, between which the drift seldom changes (von Neumann 1941), as
 * a one-sided lower 95 % bound: what it leaves is the drift's. A look's evidence is divided by it (quasi-likelihood,
 * Wedderburn 1974).
 */
export function overdispersion<Look>(
  history: readonly (readonly Look[])[],
  { pairSquare }: OverdispersionModel<Look>,
): number {
  let pairs = 0;
  let sum = 0;
  let squares = 0;
  for (const looks of history) {
    for (let index = 1; index < looks.length; index++) {
      const square = pairSquare(looks[index - 1] as Look, looks[index] as Look);
      if (square === null) continue;
      pairs += 1;
      sum += square;
      squares += square * square;
    }
  }
  if (pairs < FEWEST_PAIRS) return 1;
  const mean = sum / pairs;
  const deviation = Math.sqrt(Math.max(0, squares / pairs - mean * mean) / pairs);
  return Math.max(1, mean - SURE * deviation);
}
