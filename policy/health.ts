import type { HealthConfig } from '../config/schema.ts';
import { discountedZ, NO_DRIFT, type Drift } from './sequential/backstop.ts';
import { count, decimal, limits, milliseconds, percent, recorded } from './figures.ts';
import { LIVE_QUALITY_METRICS, type LiveQuality } from './live-quality.ts';
import type { Reason } from './verdict.ts';

/**
 * Sums of one arm over a span of time. Latencies and dwell in milliseconds; squares are of the log loss, and of the dwell, of
 * single impressions.
 */
export interface ArmSums {
  requests: number;
  /** Requests whose candidate failed and that stable answered instead. */
  errors: number;
  impressions: number;
  clicks: number;
  scoreSum: number;
  logLossSum: number;
  logLossSquareSum: number;
  latencyMsSum: number;
  /** Impressions with a dwell; the sums are of the largest of each. */
  dwells: number;
  dwellSum: number;
  dwellSquareSum: number;
}

/** An arm without any traffic. */
export const NO_TRAFFIC: ArmSums = {
  requests: 0,
  errors: 0,
  impressions: 0,
  clicks: 0,
  scoreSum: 0,
  logLossSum: 0,
  logLossSquareSum: 0,
  latencyMsSum: 0,
  dwells: 0,
  dwellSum: 0,
  dwellSquareSum: 0,
};

/** The answer of a metric provider to one configured limit. `error` or a null value means that it is not known. */
export interface ExternalReading {
  name: string;
  value: number | null;
  /** Observations behind the value, where the provider knows. */
  count: number | null;
  /** ISO time of the value. */
  at: string | null;
  error?: string | undefined;
  /** Fewer observations than this say nothing. */
  minCount?: number | undefined;
  min?: number | undefined;
  max?: number | undefined;
}

/** What one check looked at: both arms cumulated since the step began. */
export interface HealthReading {
  canary: ArmSums;
  stable: ArmSums;
  external: ExternalReading[];
  /** Only buckets older than the feedback delay, so that both arms have had the same time to be clicked. */
  qualityCanary: ArmSums;
  qualityStable: ArmSums;
}

/**
 * `pass`; `fail`: a limit is broken; `insufficient`: the source answered, but with too little to judge; `unknown`: the
 * source failed, or what it said is not a number.
 */
export type HealthStatus = 'pass' | 'fail' | 'insufficient' | 'unknown';

export interface HealthVerdict {
  status: HealthStatus;
  reasons: Reason[];
  /** Of the sequential evidence: one is enough. Left out in the mode `consecutive`. */
  alarm?: boolean;
}

/** What makes the z of a quality metric a backstop of the sequential evidence: its drift, and how often that was drawn anew. */
export interface Backstop {
  maxZ: number;
  blocks: number;
  drifts: Partial<Record<LiveQuality, Drift>>;
}

type Finding = { status: HealthStatus; reason: Reason };

/** The worst finding decides; a broken limit is a fact whatever else could not be read. */
const GRAVITY: readonly HealthStatus[] = ['fail', 'unknown', 'insufficient', 'pass'];

/**
 * Judges one health check of a canary against the concurrent stable. Quality is a one-sided z above `config.z`, of
 * calibration and mean score that of being further off than the line allows; error rate, latency and provider limits are
 * absolute. The reasons name everything that is not well, worst first, and the figures of every metric when all is well.
 *
 * @param backstop in the mode `sequential`: z is discounted by the arms' drift and has a limit of its own.
 */
export function judgeHealth({
  reading,
  config,
  backstop = null,
}: {
  reading: HealthReading | { error: string };
  config: HealthConfig;
  backstop?: Backstop | null;
}): HealthVerdict {
  if ('error' in reading) {
    return {
      status: 'unknown',
      reasons: [finding('unknown', 'health.source', `The health sums could not be read: ${reading.error}`).reason],
    };
  }
  const findings = [
    ...unreadableSums(reading),
    judgeErrorRate(reading.canary, config),
    judgeLatency(reading.canary, config),
    ...qualityOf(config).map((wanted) => judgeQuality(wanted, { reading, config, backstop })),
    ...reading.external.map(judgeExternal),
  ];
  const status = GRAVITY.find((grade) => findings.some((item) => item.status === grade)) ?? 'unknown';
  const shown = status === 'pass' ? findings : findings.filter((item) => item.status !== 'pass');
  shown.sort((a, b) => GRAVITY.indexOf(a.status) - GRAVITY.indexOf(b.status));
  return { status, reasons: shown.map(({ reason }) => reason) };
}

function unreadableSums({ canary, stable, qualityCanary, qualityStable }: HealthReading): Finding[] {
  const broken = Object.entries({ canary, stable, qualityCanary, qualityStable }).flatMap(([arm, sums]) =>
    Object.entries(sums)
      .filter(([, value]) => !(Number.isFinite(value) && Number(value) >= 0))
      .map(([field, value]) => `${arm}.${field} = ${String(value)}`),
  );
  if (broken.length === 0) return [];
  return [
    finding('unknown', 'health.sums', `The health sums are not all numbers of at least 0: ${broken.join(', ')}.`),
  ];
}

function judgeErrorRate({ requests, errors }: ArmSums, { minImpressions, maxErrorRate }: HealthConfig): Finding {
  if (requests < minImpressions)
    return tooFew('health.error-rate', 'canary requests', { requests, expected: minImpressions });
  const rate = errors / requests;
  const message = `The canary failed ${count(errors)} of ${count(requests)} requests (${percent(rate)}; allowed ${percent(maxErrorRate)}).`;
  return finding(judged(rate <= maxErrorRate, rate), 'health.error-rate', message, {
    rate,
    errors,
    requests,
    max: maxErrorRate,
  });
}

function judgeLatency({ requests, latencyMsSum }: ArmSums, { minImpressions, maxLatency }: HealthConfig): Finding {
  if (requests < minImpressions)
    return tooFew('health.latency', 'canary requests', { requests, expected: minImpressions });
  const mean = latencyMsSum / requests;
  const message = `The canary scored a request in ${milliseconds(mean)} on average over ${count(requests)} (allowed ${milliseconds(maxLatency)}).`;
  return finding(judged(mean <= maxLatency, mean), 'health.latency', message, {
    meanMs: mean,
    requests,
    maxMs: maxLatency,
  });
}

/** A metric of quality, and the factor by which a canary may be worse without a word. */
interface Wanted {
  metric: LiveQuality;
  factor: number;
}

/** Cycles froze configs of builds that had no limits of calibration and score: those are not judged by them. */
function qualityOf({ quality, maxCalibrationWorsening, maxScoreRatio }: HealthConfig): Wanted[] {
  const limited = [
    { metric: 'calibration', factor: maxCalibrationWorsening },
    { metric: 'score', factor: maxScoreRatio },
  ] as const;
  return [
    ...quality.map((metric) => ({ metric, factor: 1 })),
    ...limited.flatMap(({ metric, factor }) => (typeof factor === 'number' ? [{ metric, factor }] : [])),
  ];
}

function judgeQuality(
  { metric, factor }: Wanted,
  { reading, config, backstop }: { reading: HealthReading; config: HealthConfig; backstop: Backstop | null },
): Finding {
  const { code, name, figure, missing, compare } = LIVE_QUALITY_METRICS[metric];
  const { qualityCanary: canary, qualityStable: stable } = reading;
  const needed = Math.max(2, config.minImpressions); // a variance needs two
  for (const [arm, { impressions }] of [
    ['canary', canary],
    ['stable', stable],
  ] as const) {
    if (impressions < needed)
      return tooFew(code, `labelled ${arm} impressions`, { arm, impressions, expected: needed });
  }
  const lacking = missing?.(canary, stable, needed) ?? null;
  if (lacking !== null) return finding('insufficient', code, lacking, { expected: needed });
  const { z: plain, standardError } = compare(canary, stable, Math.log(factor));
  const drift = backstop?.drifts[metric] ?? NO_DRIFT;
  const z = backstop === null ? plain : discountedZ(plain, { standardError, blocks: backstop.blocks, drift });
  const maxZ = backstop?.maxZ ?? config.z;
  const worse = factor === 1 ? 'worse' : `worse by more than a factor of ${decimal(factor)}`;
  const message =
    `The canary's ${name} is ${figure(canary)} over ${count(canary.impressions)} impressions, stable's ${figure(stable)} over ` +
    `${count(stable.impressions)}: z of ${worse} ${decimal(z)}, limit ${decimal(maxZ)}.`;
  const numbers = { canaryImpressions: canary.impressions, stableImpressions: stable.impressions, z, maxZ };
  return finding(judged(z <= maxZ, z), code, message, numbers);
}

function judgeExternal({ name, value, count: observations, minCount, at, error, min, max }: ExternalReading): Finding {
  const code = `health.external.${name}`;
  // Before all else: a ratio of nothing is NaN, which would be unknown.
  if (minCount !== undefined && observations !== null && observations < minCount) {
    const message = `The metric "${name}" is of ${count(observations)} observations so far, ${count(minCount)} are needed to judge.`;
    return finding('insufficient', code, message, { count: observations, expected: minCount });
  }
  if (error !== undefined) return finding('unknown', code, `The metric "${name}" could not be read: ${error}`);
  if (value === null || !Number.isFinite(value) || observations === 0) {
    return finding(
      'unknown',
      code,
      `The metric "${name}" has no value (${String(value)}, ${String(observations ?? 'unknown')} observations).`,
    );
  }
  const allowed = limits({ min, max });
  const message = `The metric "${name}" is ${decimal(value)}${allowed === '' ? '' : ` (allowed ${allowed})`}.`;
  const within = value >= (min ?? -Infinity) && value <= (max ?? Infinity);
  return finding(within ? 'pass' : 'fail', code, message, {
    value,
    count: observations,
    at,
    min: min ?? null,
    max: max ?? null,
  });
}

function tooFew(
  code: string,
  what: string,
  numbers: { requests?: number; impressions?: number; arm?: string; expected: number },
): Finding {
  const found = numbers.requests ?? numbers.impressions ?? 0;
  return finding(
    'insufficient',
    code,
    `${count(found)} ${what} so far, ${count(numbers.expected)} are needed to judge.`,
    numbers,
  );
}

/** NaN is neither within a limit nor beyond it. */
function judged(within: boolean, value: number): HealthStatus {
  return Number.isNaN(value) ? 'unknown' : within ? 'pass' : 'fail';
}

/** Codes end with the status, so that `health.log-loss.fail` can be counted without reading the sentence. */
function finding(
  status: HealthStatus,
  code: string,
  message: string,
  numbers: Record<string, number | string | null> = {},
): Finding {
  return { status, reason: { code: `${code}.${status}`, message, numbers: recorded(numbers) } };
}
