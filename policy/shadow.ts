import type { ShadowConfig } from '../config/schema.ts';
import { count, decimal, percent } from './figures.ts';
import {
  errorRate,
  latency,
  mistrust,
  notNumberRate,
  rankAgreement,
  reason,
  sampleRatio,
  scoreDistribution,
  scoredOf,
  scoreShift,
  type Finding,
} from './shadow-findings.ts';
import type { Reason } from './verdict.ts';

/** What the copied requests showed, over all gateways. A mean of nothing is NaN. */
export interface ShadowReading {
  /** Copies that the shadow tried: scored, failed, or answered with what is no number. */
  requests: number;
  /** It threw, or gave no answer in time. */
  errors: number;
  /** It answered NaN or infinity. */
  notNumbers: number;
  /** Copies given up because a gateway was busy or its lease did not hold; they say nothing about the model. */
  dropped: number;
  /** Of the requests, those of gateways of an older build: they are in the mean difference and the latencies, in nothing else. */
  olderRequests: number;
  /** Challenger minus stable score, paired by candidate. */
  scoreMeanDifference: number;
  scoreDifferenceDeviation: number;
  latencyMsMean: number;
  stableLatencyMsMean: number;
  /** Scores of the same candidates by bin of their log-odds (score-bins.ts). */
  scoreBins: readonly number[];
  stableScoreBins: readonly number[];
  /** Requests of two candidates or more, and the agreement of both rankings over them (rank-agreement.ts). */
  rankings: number;
  overlapMean: number;
  tauMean: number;
  tauDeviation: number;
  mirror: {
    /** Requests that stable answered while the shadow was routed, and the share of them that was to be copied. */
    answered: number;
    share: number;
    /** Copies that were due by the mirrors' count, and those of which nothing has become yet. */
    copies: number;
    unsettled: number;
    gateways: number;
  };
}

export interface ShadowVerdict {
  /** `diverged` rejects; `warned` is a divergence that the line's config, or a silence, lets pass. */
  status: 'pass' | 'diverged' | 'insufficient' | 'unknown' | 'warned';
  reasons: Reason[];
  /** The figures in one line, once there are any. */
  summary?: string;
}

/**
 * Judges the shadow phase, in this order: failures, NaN and latency are facts, and diverge whatever is silenced; a mirror that
 * did not copy what it should leaves the rest `unknown`; score shift, score distribution and rank agreement are the
 * divergences that `onDivergence: warn` and a silence of `shadow.divergence` let pass.
 */
export function judgeShadow({
  reading,
  config,
  silenced,
}: {
  reading: ShadowReading | { error: string };
  config: ShadowConfig;
  silenced: boolean;
}): ShadowVerdict {
  if ('error' in reading) return unknown('shadow.source', `The shadow's sums could not be read: ${reading.error}`);
  const { requests, errors, notNumbers, dropped } = reading;
  const broken = brokenFigures(reading);
  if (![requests, errors, notNumbers, dropped].every(Number.isFinite)) return unreadable(broken);
  const doubts = mistrust(reading, config);
  if (requests < config.minRequests) {
    if (doubts.length > 0) return { status: 'unknown', reasons: doubts };
    const message = `${count(requests)} requests were copied (${count(dropped)} more were dropped), ${count(config.minRequests)} are needed to judge.`;
    const numbers = { requests, dropped, expected: config.minRequests };
    return { status: 'insufficient', reasons: [reason('shadow.requests', message, numbers)] };
  }
  const facts = [errorRate(reading, config), notNumberRate(reading, config), latency(reading, config)];
  const broke = facts.filter(({ state }) => state === 'diverged');
  const summary = summaryOf(reading);
  if (broke.length > 0) return { status: 'diverged', reasons: reasonsOf(broke), summary };
  if (doubts.length > 0) return { status: 'unknown', reasons: doubts, summary };
  if (broken.length > 0) return unreadable(broken);
  const older = olderGateways(reading);
  if (older.length > 0 && scoredOf(reading) < config.minRequests) return { status: 'unknown', reasons: older, summary };
  const compared = [scoreShift(reading, config), ...scoreDistribution(reading, config), rankAgreement(reading, config)];
  const verdict = decide(compared, { config, silenced });
  if (verdict !== null) return { ...verdict, summary };
  return { status: 'pass', reasons: [...reasonsOf([...compared, ...facts, sampleRatio(reading)]), ...older], summary };
}

/** Null when nothing is beyond its limit. */
function decide(
  compared: Finding[],
  { config, silenced }: { config: ShadowConfig; silenced: boolean },
): ShadowVerdict | null {
  const diverged = compared.filter(({ state }) => state === 'diverged');
  const unsure = compared.filter(({ state }) => state === 'unsure');
  if (diverged.length + unsure.length === 0) return null;
  if (!silenced && config.onDivergence === 'reject') {
    return diverged.length > 0
      ? { status: 'diverged', reasons: reasonsOf(diverged) }
      : { status: 'insufficient', reasons: reasonsOf(unsure) };
  }
  const why = silenced ? 'the guard is silenced' : 'the line is set to warn';
  const reasons = reasonsOf([...diverged, ...unsure]).map((one) => {
    return { ...one, message: `${one.message} It goes on, because ${why}.` };
  });
  return { status: 'warned', reasons };
}

/** `1,234 copies (0 failed, 0 NaN, 12 dropped): scores +0.01 ± 0.08, PSI ...` */
function summaryOf(reading: ShadowReading): string {
  const { requests, errors, notNumbers, dropped, scoreMeanDifference: mean, rankings } = reading;
  const [distribution] = scoreDistribution(reading, { maxScorePsi: Infinity });
  const { psi, ks } = distribution?.reason.numbers ?? {};
  return [
    `${count(requests)} copies (${count(errors)} failed, ${count(notNumbers)} NaN, ${count(dropped)} dropped)`,
    ...(Number.isFinite(mean)
      ? [`scores ${mean >= 0 ? '+' : ''}${decimal(mean)} ± ${decimal(reading.scoreDifferenceDeviation)}`]
      : []),
    ...(distribution === undefined ? [] : [`PSI ${decimal(Number(psi))}, KS ${decimal(Number(ks))}`]),
    rankings === 0
      ? 'no rankings'
      : `tau-b ${decimal(reading.tauMean)}, ${percent(reading.overlapMean)} of the first the same`,
    `scored in ${decimal(reading.latencyMsMean)} ms, stable in ${decimal(reading.stableLatencyMsMean)} ms`,
  ].join('; ');
}

function olderGateways({ requests, olderRequests }: ShadowReading): Reason[] {
  if (olderRequests === 0) return [];
  const message =
    `${count(olderRequests)} of ${count(requests)} copies are of gateways of an older build, which compare no distributions ` +
    `or rankings and count no copies: what is said of these is of the others. Update the gateways.`;
  return [reason('shadow.older-gateways', message, { olderRequests, requests })];
}

/** The figures that should be numbers in a reading of copies, and are not. */
function brokenFigures(reading: ShadowReading): [string, number][] {
  const { requests, errors, notNumbers, dropped, scoreMeanDifference, latencyMsMean, stableLatencyMsMean } = reading;
  const { rankings, overlapMean, tauMean, tauDeviation } = reading;
  const always = { requests, errors, notNumbers, dropped, scoreMeanDifference, latencyMsMean, stableLatencyMsMean };
  const figures = { ...always, rankings, ...(rankings > 0 && { overlapMean, tauMean, tauDeviation }) };
  return Object.entries(figures).filter(([, value]) => !Number.isFinite(value));
}

function unreadable(figures: [string, number][]): ShadowVerdict {
  const listed = figures.map(([field, value]) => `${field} = ${String(value)}`).join(', ');
  return unknown('shadow.not-a-number', `The shadow's figures are not all numbers: ${listed}.`);
}

function unknown(code: string, message: string): ShadowVerdict {
  return { status: 'unknown', reasons: [reason(code, message)] };
}

const reasonsOf = (findings: Finding[]): Reason[] => findings.map(({ reason: why }) => why);
