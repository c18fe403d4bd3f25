import { normalCdf } from '../statistics.ts';
import { chiSquareQuantile, chiSquareSurvival } from './counts.ts';
import { type Distribution, pool, totalWeight } from './distribution.ts';
import { kolmogorovQuantile, kolmogorovSurvival } from './kolmogorov-smirnov.ts';
import { seededNormal } from './seeded-normal.ts';
import { at, requireLevel, requireSameLength, requireWeights, sum } from './vectors.ts';
import type { Fence } from './wasserstein.ts';

/**
 * How a distance is distributed when nothing has drifted: samples of m and n observations never agree exactly, and how
 * far apart they are by chance depends on their sizes. Throughout, h = m n / (m + n).
 */
export interface NullDistribution {
  /** The distance that samples of these sizes stay below with probability `q` under no drift. */
  quantile(q: number): number;
  /** P(a distance of at least this one | no drift). */
  pValue(distance: number): number;
}

/**
 * PSI h follows a chi-square distribution with k - 1 degrees of freedom, k the bins in use (Yurdakul 2018, "Statistical
 * Properties of Population Stability Index"). Wants 5 expected observations a bin.
 */
export function psiNull(reference: ArrayLike<number>, current: ArrayLike<number>): NullDistribution {
  const { h, df } = sizes(reference, current);
  return {
    quantile: (q) => chiSquareQuantile(checked(q), df) / h,
    pValue: (distance) => chiSquareSurvival(distance * h, df),
  };
}

/**
 * 8 h JS^2 follows a chi-square distribution with k - 1 degrees of freedom, as PSI h does: to second order all
 * f-divergences are one (Menendez, Pardo, Pardo & Pardo 1997, "The Jensen-Shannon divergence").
 */
export function jensenShannonNull(reference: ArrayLike<number>, current: ArrayLike<number>): NullDistribution {
  const { h, df } = sizes(reference, current);
  return {
    quantile: (q) => Math.sqrt(chiSquareQuantile(checked(q), df) / (8 * h)),
    pValue: (distance) => chiSquareSurvival(8 * h * distance * distance, df),
  };
}

/** Kolmogorov's limit; see `kolmogorovSmirnov` for the exact p-value of small samples. */
export function kolmogorovSmirnovNull(m: number, n: number): NullDistribution {
  return { quantile: (q) => kolmogorovQuantile(q, m, n), pValue: (d) => kolmogorovSurvival(d, m, n) };
}

/**
 * L-infinity has no closed form: sqrt(h) times the differences of shares is normal in the limit, with the covariance of
 * a multinomial draw, p_i (1 - p_i) and -p_i p_j of the pooled shares. Its largest entry is simulated (8,000 fixed
 * draws; fewer beyond 64 bins).
 *
 * @throws RangeError as the distances on counts do, and with more than 1,000 bins: pool the rare ones first.
 */
export function lInfinityNull(reference: ArrayLike<number>, current: ArrayLike<number>): NullDistribution {
  const { h, pooled } = sizes(reference, current);
  if (pooled.length > MAX_BINS) {
    throw new RangeError(`${pooled.length} bins in use, at most ${MAX_BINS} are simulated: pool the rare ones first`);
  }
  const bins = pooled.length;
  const roots = Float64Array.from(pooled, Math.sqrt);
  const normals = sharedNormals();
  const draws = new Float64Array(Math.min(DRAWS, Math.floor(normals.length / bins)));
  for (let draw = 0; draw < draws.length; draw++) {
    const start = draw * bins;
    let common = 0;
    for (let bin = 0; bin < bins; bin++) common += (roots[bin] as number) * (normals[start + bin] as number);
    let largest = 0;
    for (let bin = 0; bin < bins; bin++) {
      const root = roots[bin] as number;
      largest = Math.max(largest, Math.abs(root * ((normals[start + bin] as number) - root * common)));
    }
    draws[draw] = largest / Math.sqrt(h);
  }
  const variance = pooled.reduce((largest, share) => Math.max(largest, share * (1 - share)), 0);
  return simulated(draws, Math.sqrt(variance / h));
}

/**
 * Normalised Wasserstein inside a fence: sqrt(h) W tends to the integral of |B(F(x))| over the fence, B a Brownian
 * bridge and F the pooled distribution (del Barrio, Gine & Matran 1999). Simulated with 8,000 fixed bridges at 63
 * quantiles.
 */
export function wassersteinNull(reference: Distribution, current: Distribution, fence: Fence): NullDistribution {
  const h = harmonic(reference.effectiveCount, current.effectiveCount);
  const widths = quantileWidths(pool(reference, current), fence);
  const unit = fence.scale === 0 ? 0 : 1 / (fence.scale * Math.sqrt(h));
  const draws = new Float64Array(DRAWS);
  const points = absoluteBridges();
  let point = 0;
  for (let draw = 0; draw < DRAWS; draw++) {
    let area = 0;
    // Indexed without at(): this loop is most of a comparison's time.
    for (let cell = 0; cell < GRID - 1; cell++) area += (points[point++] as number) * (widths[cell] as number);
    draws[draw] = area * unit;
  }
  return simulated(draws, deviationOf(widths) * unit);
}

const DRAWS = 8_000;
const GRID = 64;
const MAX_BINS = 1_000;
/** Draws that must lie beyond a distance for their share to be its p-value. */
const MIN_BEYOND = 50;
const SEED = 20_180_101;
let normals: Float32Array | null = null;
let bridges: Float32Array | null = null;

/** DRAWS x GRID normal numbers of a fixed seed: a constant that is computed when it is first needed. */
function sharedNormals(): Float32Array {
  if (normals === null) {
    const next = seededNormal(SEED);
    normals = new Float32Array(DRAWS * GRID);
    for (let index = 0; index < normals.length; index++) normals[index] = next();
  }
  return normals;
}

/** |B(i / GRID)| at the inner grid points of DRAWS Brownian bridges, one after the other; another such constant. */
function absoluteBridges(): Float32Array {
  if (bridges !== null) return bridges;
  const steps = sharedNormals();
  bridges = new Float32Array(DRAWS * (GRID - 1));
  for (let draw = 0; draw < DRAWS; draw++) {
    const end = sum(steps.subarray(draw * GRID, (draw + 1) * GRID));
    let walked = 0;
    for (let point = 1; point < GRID; point++) {
      walked += at(steps, draw * GRID + point - 1);
      bridges[draw * (GRID - 1) + point - 1] = Math.abs(walked - (point / GRID) * end) / Math.sqrt(GRID);
    }
  }
  return bridges;
}

/**
 * The distribution of a norm of a centred Gaussian by draws of it. Beyond the last 50 draws p falls as the tail of a
 * normal variable with the norm's largest standard deviation `sigma` in any direction, which is what such a norm's tail
 * does (Marcus & Shepp 1972), so that small p-values are not cut off at 1 / draws.
 */
function simulated(draws: Float64Array, sigma: number): NullDistribution {
  draws.sort();
  const count = draws.length;
  const anchor = at(draws, count - MIN_BEYOND);
  return {
    quantile: (q) => at(draws, Math.min(count - 1, Math.floor(checked(q) * count))),
    pValue: (distance) => {
      if (distance <= 0) return 1;
      if (distance <= anchor) return (count - firstAtLeast(draws, distance)) / count;
      const tail = normalCdf(-distance / sigma);
      return tail === 0 ? 0 : ((MIN_BEYOND / count) * tail) / normalCdf(-anchor / sigma);
    },
  };
}

/**
 * The stretch of values, inside the fence, for which each inner grid quantile i / GRID stands: every gap between pooled
 * values goes to the nearest one, scaled so that the mean of |B|, which is as sqrt(F (1 - F)), is kept (it matters in
 * the tails).
 */
function quantileWidths(pooled: Distribution, fence: Fence): Float64Array {
  const widths = new Float64Array(GRID - 1);
  const total = totalWeight(pooled);
  for (let index = 1; index < pooled.values.length; index++) {
    const from = Math.max(fence.low, at(pooled.values, index - 1));
    const to = Math.min(fence.high, at(pooled.values, index));
    if (to <= from) continue;
    const share = at(pooled.cumulative, index - 1) / total;
    const cell = Math.min(GRID - 1, Math.max(1, Math.round(share * GRID)));
    const grid = cell / GRID;
    const ratio = Math.sqrt((share * (1 - share)) / (grid * (1 - grid)));
    widths[cell - 1] = at(widths, cell - 1) + (to - from) * ratio;
  }
  return widths;
}

/** Standard deviation of a variable that passes width i with probability 1 - (i + 1) / GRID. */
function deviationOf(widths: Float64Array): number {
  let value = 0;
  let mean = 0;
  let square = 0;
  for (let index = 0; index < GRID; index++) {
    mean += value / GRID;
    square += (value * value) / GRID;
    if (index < GRID - 1) value += at(widths, index);
  }
  return Math.sqrt(Math.max(0, square - mean * mean));
}

function firstAtLeast(ascending: Float64Array, wanted: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(ascending, middle) >= wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}

function sizes(reference: ArrayLike<number>, current: ArrayLike<number>): { h: number; df: number; pooled: number[] } {
  requireSameLength(reference, current, 'the counts of reference and current');
  requireWeights(reference, 'the counts of the reference');
  requireWeights(current, 'the counts of the current sample');
  const m = sum(reference);
  const n = sum(current);
  const pooled = Array.from(
    { length: reference.length },
    (_, bin) => (at(reference, bin) + at(current, bin)) / (m + n),
  ).filter((share) => share > 0);
  return { h: harmonic(m, n), df: pooled.length - 1, pooled };
}

function harmonic(m: number, n: number): number {
  return (m * n) / (m + n);
}

function checked(q: number): number {
  requireLevel(q, 'the quantile');
  return q;
}
