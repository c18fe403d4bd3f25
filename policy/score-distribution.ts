import { effectiveBinCounts, poolSparseBins, quantileEdges } from './drift/binning.ts';
import { psi } from './drift/counts.ts';
import { weighted } from './drift/distribution.ts';
import { kolmogorovSmirnov } from './drift/kolmogorov-smirnov.ts';
import { psiNull } from './drift/null-distribution.ts';
import { SCORE_BIN_MIDDLES } from './score-bins.ts';

/** How far the scores of two models on the same candidates are from one distribution. */
export interface ScoreComparison {
  /** Population stability index over deciles of stable's scores, fewer where there are few: see drift/counts.ts. */
  psi: number;
  /** Kolmogorov-Smirnov distance at the edges of the bins: at most that of the scores themselves. */
  ks: number;
  /** The index is at least the limit, and not by chance. */
  exceeds: boolean;
}

/**
 * Compares two histograms of log-odds. Chance is that of `observations` independent pairs: requests, whose candidates are
 * alike. The scores of a pair are alike as well, which makes it careful. Null when there are none.
 *
 * @param input.level probability at which chance alone may exceed the limit.
 */
export function compareScores(input: {
  stable: readonly number[];
  shadow: readonly number[];
  observations: number;
  maxPsi: number;
  level: number;
}): ScoreComparison | null {
  const { stable, shadow, observations, maxPsi, level } = input;
  if (observations === 0 || !stable.some((scores) => scores > 0) || !shadow.some((scores) => scores > 0)) return null;
  const middles = SCORE_BIN_MIDDLES.slice(0, stable.length);
  const [a, b] = [weighted(middles, stable, observations), weighted(middles, shadow, observations)];
  const edges = quantileEdges(a, Math.min(DECILES, Math.max(2, Math.floor(observations / REQUESTS_PER_BIN))));
  const counts = poolSparseBins(effectiveBinCounts(a, edges), effectiveBinCounts(b, edges), EXPECTED_IN_BIN);
  const index = psi(counts.reference, counts.current);
  const p = psiNull(counts.reference, counts.current).pValue(index);
  return { psi: index, ks: kolmogorovSmirnov(a, b).d, exceeds: index >= maxPsi && p < level };
}

const DECILES = 10;
/** As in drift/compare.ts. */
const REQUESTS_PER_BIN = 20;
const EXPECTED_IN_BIN = 10;
