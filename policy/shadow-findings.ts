import type { ShadowConfig } from '../config/schema.ts';
import { count, decimal, milliseconds, percent, recorded } from './figures.ts';
import { MAX_OPEN_COPIES, sampleRatioP } from './sample-ratio.ts';
import { compareScores } from './score-distribution.ts';
import type { ShadowReading } from './shadow.ts';
import type { Reason } from './verdict.ts';

/** What one measure of the shadow says. `unsure`: beyond its limit, and chance may be why. */
export interface Finding {
  state: 'fine' | 'unsure' | 'diverged';
  reason: Reason;
}

/** Below this mean a ratio of latencies measures the scheduler, not the model. */
const LATENCY_FLOOR_MS = 5;
/** A mirror that works is doubted in one reading of 2,000. */
const MIN_SAMPLE_RATIO_P = 0.0005;
/** One-sided, 0.1 %: each of a phase's checks may end it. */
const CERTAIN = { z: 3.09, level: 0.001 };

export function errorRate({ requests, errors }: ShadowReading, { maxErrorRate }: ShadowConfig): Finding {
  const rate = errors / requests;
  const message = `The shadow failed ${count(errors)} of ${count(requests)} copied requests (${percent(rate)}; allowed ${percent(maxErrorRate)}).`;
  return finding(rate > maxErrorRate, 'shadow.error-rate', message, { rate, errors, requests, max: maxErrorRate });
}

export function notNumberRate({ requests, notNumbers }: ShadowReading, { maxNaNRate }: ShadowConfig): Finding {
  const rate = notNumbers / requests;
  const message = `The shadow answered ${count(notNumbers)} of ${count(requests)} copied requests with NaN or infinity (${percent(rate)}; allowed ${percent(maxNaNRate)}).`;
  return finding(rate > maxNaNRate, 'shadow.nan-rate', message, { rate, notNumbers, requests, max: maxNaNRate });
}

export function latency({ latencyMsMean, stableLatencyMsMean }: ShadowReading, config: ShadowConfig): Finding {
  const { maxLatencyRatio } = config;
  const ratio = latencyMsMean / stableLatencyMsMean;
  const message =
    `The shadow scored a request in ${milliseconds(latencyMsMean)} on average, stable in ${milliseconds(stableLatencyMsMean)} ` +
    `(allowed ${decimal(maxLatencyRatio)} times stable's, and always ${milliseconds(LATENCY_FLOOR_MS)}).`;
  const slow = latencyMsMean > LATENCY_FLOOR_MS && ratio > maxLatencyRatio;
  return finding(slow, 'shadow.latency', message, { latencyMsMean, stableLatencyMsMean, maxLatencyRatio });
}

export function scoreShift(reading: ShadowReading, { maxScoreShift }: ShadowConfig): Finding {
  const { scoreMeanDifference, scoreDifferenceDeviation } = reading;
  const message =
    `The challenger's scores differ from stable's by ${decimal(scoreMeanDifference)} on average (allowed ${decimal(maxScoreShift)} either way), ` +
    `by candidate with a standard deviation of ${decimal(scoreDifferenceDeviation)}.`;
  const shifted = Math.abs(scoreMeanDifference) > maxScoreShift;
  const numbers = { scoreMeanDifference, scoreDifferenceDeviation, maxScoreShift };
  return finding(shifted, 'shadow.score-shift', message, numbers);
}

export function scoreDistribution(
  reading: ShadowReading,
  { maxScorePsi }: Pick<ShadowConfig, 'maxScorePsi'>,
): Finding[] {
  const observations = scoredOf(reading);
  const compared = compareScores({
    ...{ stable: reading.stableScoreBins, shadow: reading.scoreBins, observations },
    ...{ maxPsi: maxScorePsi, level: CERTAIN.level },
  });
  if (compared === null) return [];
  const { psi, ks, exceeds } = compared;
  const message =
    `The scores' distributions differ by a PSI of ${decimal(psi)} (allowed ${decimal(maxScorePsi)}), at most ${percent(ks)} of them ` +
    `lie on another side of a score (Kolmogorov-Smirnov), over ${count(observations)} requests.`;
  return [finding(exceeds, 'shadow.score-distribution', message, { psi, ks, requests: observations, maxScorePsi })];
}

/** Of fewer rankings than copies that are needed nothing is said: a line that mostly ranks one candidate has nothing to compare. */
export function rankAgreement(reading: ShadowReading, config: ShadowConfig): Finding {
  const { minRankAgreement, minRequests } = config;
  const { rankings, overlapMean, tauMean, tauDeviation } = reading;
  const code = 'shadow.rank-agreement';
  if (rankings < minRequests) {
    const message = `Only ${count(rankings)} copied requests had two candidates or more: too few rankings to compare (${count(minRequests)} are needed).`;
    return finding(false, code, message, { rankings, expected: minRequests });
  }
  const message =
    `The rankings agree with a tau-b of ${decimal(tauMean)} on average (at least ${decimal(minRankAgreement)}), and on ${percent(overlapMean)} ` +
    `of what is shown first, over ${count(rankings)} requests.`;
  const numbers = { tau: tauMean, tauDeviation, overlap: overlapMean, rankings, minRankAgreement };
  if (tauMean >= minRankAgreement) return finding(false, code, message, numbers);
  const chance = (CERTAIN.z * tauDeviation) / Math.sqrt(rankings);
  if (tauMean + chance < minRankAgreement) return finding(true, code, message, numbers);
  return { state: 'unsure', reason: reason(code, `${message} More are needed to be sure.`, numbers) };
}

/**
 * Whether the mirror copied what it should have: each answered request is copied by a hash of its id, so that the copies due
 * are binomial; what became of them must be known; and the dropped ones few. Empty when all is well.
 */
export function mistrust(reading: ShadowReading, { maxDroppedShare }: ShadowConfig): Reason[] {
  const { requests, dropped, mirror } = reading;
  const { answered, share, copies, unsettled, gateways } = mirror;
  const reasons: Reason[] = [];
  const p = sampleRatioP({ successes: copies, trials: answered, share });
  if (!(p >= MIN_SAMPLE_RATIO_P))
    reasons.push({
      ...sampleRatio(reading).reason,
      message: `${sampleRatio(reading).reason.message} ${BROKEN_MIRROR}`,
    });
  const allowed = MAX_OPEN_COPIES * gateways;
  if (!(unsettled >= 0 && unsettled <= allowed)) {
    const message = `Nothing has become of ${count(unsettled)} of ${count(copies)} copies, where ${count(gateways)} gateways have ${count(allowed)} open at most. ${BROKEN_MIRROR}`;
    reasons.push(reason('shadow.unsettled', message, { unsettled, copies, gateways, allowed }));
  }
  const droppedShare = dropped / (requests + dropped);
  if (droppedShare > maxDroppedShare) {
    const message =
      `${count(dropped)} of ${count(requests + dropped)} copies were given up (${percent(droppedShare)}; allowed ${percent(maxDroppedShare)}): ` +
      `those that are left are of quiet moments. Lower shadow.share, or run more gateways.`;
    reasons.push(reason('shadow.dropped', message, { droppedShare, dropped, requests, max: maxDroppedShare }));
  }
  return reasons;
}

const BROKEN_MIRROR = 'The mirror is broken, and what it copied can not be trusted.';

export function sampleRatio({ mirror: { answered, share, copies } }: ShadowReading): Finding {
  const p = sampleRatioP({ successes: copies, trials: answered, share });
  const message = `${count(copies)} of ${count(answered)} requests that stable answered were to be copied, at a share of ${percent(share)} (p ${p < 0.01 ? p.toExponential(1) : decimal(p)}).`;
  return finding(false, 'shadow.sample-ratio', message, { copies, requests: answered, share, p });
}

/** Copies that were scored and compared. */
export function scoredOf({ requests, olderRequests, errors, notNumbers }: ShadowReading): number {
  return Math.max(0, requests - olderRequests - errors - notNumbers);
}

function finding(diverged: boolean, code: string, message: string, numbers: Record<string, number>): Finding {
  return { state: diverged ? 'diverged' : 'fine', reason: reason(code, message, numbers) };
}

export function reason(code: string, message: string, numbers: Record<string, number> = {}): Reason {
  return { code, message, numbers: recorded(numbers) };
}
