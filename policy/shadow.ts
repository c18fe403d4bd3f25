import type { ShadowConfig } from '../config/schema.ts';
import { count, decimal, milliseconds, percent, recorded } from './figures.ts';
import type { Reason } from './verdict.ts';

/** What the mirrored requests showed. */
export interface ShadowReading {
  /** Copies that were scored, errors included. */
  requests: number;
  errors: number;
  /** Copies that were given up because the gateway was busy; they say nothing about the model. */
  dropped: number;
  /** Mean of challenger minus stable score, paired by candidate. */
  scoreMeanDifference: number;
  latencyMsMean: number;
  stableLatencyMsMean: number;
}

export interface ShadowVerdict {
  /** `diverged` rejects; `warned` is a divergence that the line's config, or a silence, lets pass. */
  status: 'pass' | 'diverged' | 'insufficient' | 'unknown' | 'warned';
  reasons: Reason[];
}

/** Below this mean a ratio of latencies measures the scheduler, not the model. */
const LATENCY_FLOOR_MS = 5;

/**
 * Judges the shadow phase. The score shift is the divergence that `onDivergence: warn` and a silence of
 * `shadow.divergence` cover; a challenger that errs or is slow diverges whatever is silenced.
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
  if ('error' in reading) {
    return {
      status: 'unknown',
      reasons: [reason('shadow.source', `The shadow's sums could not be read: ${reading.error}`)],
    };
  }
  const { requests, errors, dropped } = reading;
  const broken = Object.entries(reading).filter(([, value]) => !Number.isFinite(value));
  if (![requests, errors, dropped].every(Number.isFinite)) return notNumbers(broken);
  if (requests < config.minRequests) {
    const message = `${count(requests)} requests were copied (${count(dropped)} more were dropped), ${count(config.minRequests)} are needed to judge.`;
    return {
      status: 'insufficient',
      reasons: [reason('shadow.requests', message, { requests, dropped, expected: config.minRequests })],
    };
  }
  const limits = [errorRate(reading, config), latency(reading, config)];
  const broke = limits.filter((item) => item.diverged);
  if (broke.length > 0) return { status: 'diverged', reasons: broke.map((item) => item.reason) };
  if (broken.length > 0) return notNumbers(broken);
  const shift = scoreShift(reading, config);
  if (!shift.diverged) return { status: 'pass', reasons: [shift, ...limits].map((item) => item.reason) };
  if (!silenced && config.onDivergence === 'reject') return { status: 'diverged', reasons: [shift.reason] };
  const why = silenced ? 'the guard is silenced' : 'the line is set to warn';
  return {
    status: 'warned',
    reasons: [{ ...shift.reason, message: `${shift.reason.message} It goes on, because ${why}.` }],
  };
}

interface Finding {
  diverged: boolean;
  reason: Reason;
}

function notNumbers(fields: readonly (readonly [string, unknown])[]): ShadowVerdict {
  const listed = fields.map(([field, value]) => `${field} = ${String(value)}`).join(', ');
  return {
    status: 'unknown',
    reasons: [reason('shadow.not-a-number', `The shadow's figures are not all numbers: ${listed}.`)],
  };
}

function errorRate({ requests, errors }: ShadowReading, { maxErrorRate }: ShadowConfig): Finding {
  const rate = errors / requests;
  const message = `The shadow failed ${count(errors)} of ${count(requests)} copied requests (${percent(rate)}; allowed ${percent(maxErrorRate)}).`;
  return {
    diverged: rate > maxErrorRate,
    reason: reason('shadow.error-rate', message, { rate, errors, requests, max: maxErrorRate }),
  };
}

function latency({ latencyMsMean, stableLatencyMsMean }: ShadowReading, { maxLatencyRatio }: ShadowConfig): Finding {
  const ratio = latencyMsMean / stableLatencyMsMean;
  const message =
    `The shadow scored a request in ${milliseconds(latencyMsMean)} on average, stable in ${milliseconds(stableLatencyMsMean)} ` +
    `(allowed ${decimal(maxLatencyRatio)} times stable's, and always ${milliseconds(LATENCY_FLOOR_MS)}).`;
  const diverged = latencyMsMean > LATENCY_FLOOR_MS && ratio > maxLatencyRatio;
  return {
    diverged,
    reason: reason('shadow.latency', message, { latencyMsMean, stableLatencyMsMean, maxLatencyRatio }),
  };
}

function scoreShift({ scoreMeanDifference }: ShadowReading, { maxScoreShift }: ShadowConfig): Finding {
  const message = `The challenger's scores differ from stable's by ${decimal(scoreMeanDifference)} on average (allowed ${decimal(maxScoreShift)} either way).`;
  const diverged = Math.abs(scoreMeanDifference) > maxScoreShift;
  return { diverged, reason: reason('shadow.score-shift', message, { scoreMeanDifference, maxScoreShift }) };
}

function reason(code: string, message: string, numbers: Record<string, number> = {}): Reason {
  return { code, message, numbers: recorded(numbers) };
}
