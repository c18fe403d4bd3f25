import { rankAgreement } from '../policy/rank-agreement.ts';
import { SCORE_BINS, scoreBin } from '../policy/score-bins.ts';
import { NO_SHADOW_SUMS, type ShadowSums } from '../store/shadow-sums.ts';
import { rankedOrder } from './slate-order.ts';

/** Shadow sums that are being added to. */
export type OpenShadowSums = Omit<ShadowSums, 'scoreBins' | 'stableScoreBins'> & {
  scoreBins: number[];
  stableScoreBins: number[];
};

export function noPairs(): OpenShadowSums {
  const bins = (): number[] => new Array<number>(SCORE_BINS).fill(0);
  return { ...NO_SHADOW_SUMS, scoreBins: bins(), stableScoreBins: bins() };
}

/**
 * Adds one request that shadow and stable both scored, in the order of its candidates. The rankings are compared at `k`, or
 * at all candidates if they are fewer; equal scores keep the input's order there, as in every answer.
 *
 * @returns shadow minus stable score, summed over the candidates.
 */
export function addPairs(
  sums: OpenShadowSums,
  { scores, stableScores, k }: { scores: Float32Array; stableScores: Float32Array; k: number },
): number {
  let differences = 0;
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index] as number;
    const stable = stableScores[index] ?? NaN;
    const difference = score - stable;
    differences += difference;
    sums.scoreDifferenceSquareSum += difference * difference;
    (sums.scoreBins[scoreBin(score)] as number)++;
    (sums.stableScoreBins[scoreBin(stable)] as number)++;
  }
  const candidates = scores.length;
  if (candidates >= 2) {
    const first = rankedOrder(stableScores, k);
    const { overlap, tau } = rankAgreement({ first, second: rankedOrder(scores, k), candidates });
    sums.rankings += 1;
    sums.overlapSum += overlap;
    sums.tauSum += tau;
    sums.tauSquareSum += tau * tau;
  }
  return differences;
}
