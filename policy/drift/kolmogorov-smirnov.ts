import { type Sample, toDistribution, totalWeight, walk } from './distribution.ts';
import { requireLevel } from './vectors.ts';

export interface KolmogorovSmirnovResult {
  /** Largest distance of the two distribution functions, in [0, 1]. */
  d: number;
  /** Two-sided: P(a distance of at least d | both samples come from one distribution). */
  p: number;
  method: 'exact' | 'asymptotic';
}

/** The exact distribution is used while both samples are at most this long (as SciPy's ks_2samp does) ... */
const EXACT_MAX_COUNT = 10_000;
/** ... and the lattice band takes at most this many steps; beyond, with samples that long, p is below 1e-40. */
const EXACT_MAX_STEPS = 2e7;

/**
 * Two-sample Kolmogorov-Smirnov test, two-sided. D is taken at the distinct values of both samples, so ties are
 * handled.
 *
 * p is exact for plain samples of at most 10,000 values each (given D, as if there were no ties, as in SciPy: with ties
 * it errs on the careful side). Longer or weighted samples use Kolmogorov's limit at n = mn / (m + n) with Vrbik's
 * correction (2018, "Small-sample corrections to Kolmogorov-Smirnov test statistic"), within 1e-5 of the one-sample
 * distribution (kstwo) that SciPy takes there; m and n are effective counts.
 *
 * @throws RangeError on an empty sample or a value that is not finite.
 */
export function kolmogorovSmirnov(reference: Sample, current: Sample): KolmogorovSmirnovResult {
  const a = toDistribution(reference);
  const b = toDistribution(current);
  const aTotal = totalWeight(a);
  const bTotal = totalWeight(b);
  let distance = 0; // times both totals: whole numbers as long as the weights are
  walk(a, b, ({ aCumulative, bCumulative }) => {
    distance = Math.max(distance, Math.abs(aCumulative * bTotal - bCumulative * aTotal));
  });
  const d = Math.min(1, distance / (aTotal * bTotal));
  const exact =
    a.counted && b.counted && Math.max(aTotal, bTotal) <= EXACT_MAX_COUNT && 2 * distance <= EXACT_MAX_STEPS;
  return exact
    ? { d, p: exactSurvival(distance, aTotal, bTotal), method: 'exact' }
    : { d, p: kolmogorovSurvival(d, a.effectiveCount, b.effectiveCount), method: 'asymptotic' };
}

/** P(D >= d) for large samples worth m and n observations: see {@link kolmogorovSmirnov}. */
export function kolmogorovSurvival(d: number, m: number, n: number): number {
  if (d <= 0) return 1;
  const size = (m * n) / (m + n);
  const x = Math.sqrt(size) * d;
  return kolmogorovLimit(x + 1 / (6 * Math.sqrt(size)) + (x - 1) / (4 * size));
}

/** The D that samples of m and n observations stay below with probability `q` when nothing has drifted (asymptotic). */
export function kolmogorovQuantile(q: number, m: number, n: number): number {
  requireLevel(q, 'the quantile');
  let low = 0;
  let high = 1;
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (kolmogorovSurvival(middle, m, n) > 1 - q) low = middle;
    else high = middle;
  }
  return high;
}

/** P(K >= x) of Kolmogorov's distribution: the alternating series, and its theta transform where that one is slow. */
function kolmogorovLimit(x: number): number {
  if (x <= 0) return 1;
  let sum = 0;
  if (x < 1) {
    for (let k = 1; k < 20; k += 2) sum += Math.exp(-((k * Math.PI) ** 2) / (8 * x * x));
    return 1 - (Math.sqrt(2 * Math.PI) / x) * sum;
  }
  for (let k = 1; k < 20; k++) sum += (k % 2 === 1 ? 2 : -2) * Math.exp(-2 * (k * x) ** 2);
  return Math.min(1, Math.max(0, sum));
}

/**
 * P(max |i n - j m| >= distance) over all lattice paths from (0, 0) to (m, n), every path as likely. For each point
 * inside the band: the probability that a path through it has left the band before; only sums of positive terms, so
 * that small p-values keep their precision (Viehmann 2021, "Numerically more stable computation of the p-values for the
 * two-sample Kolmogorov-Smirnov test").
 */
function exactSurvival(distance: number, m: number, n: number): number {
  if (distance <= 0) return 1;
  const left = new Float64Array(n + 1).fill(1);
  const inverse = Float64Array.from({ length: m + n + 1 }, (_, steps) => 1 / steps);
  for (let j = 0; j <= n && j * m < distance; j++) left[j] = 0;
  for (let i = 1; i <= m; i++) {
    const from = Math.max(0, Math.floor((i * n - distance) / m) + 1);
    const to = Math.min(n, Math.ceil((i * n + distance) / m) - 1);
    let before = 1; // left of the band
    for (let j = from; j <= to; j++) {
      const part = inverse[i + j] as number;
      before = i * part * (left[j] as number) + j * part * before;
      left[j] = before;
    }
  }
  return left[n] as number;
}
