import { count, decimal } from '../figures.ts';
import type { Reason } from '../verdict.ts';
import type { Drift } from './backstop.ts';
import { NO_TRAFFIC } from '../health.ts';
import { HEALTH_METRICS, type HealthLook, type LookSums, type SequentialMetric } from './health-metrics.ts';

export interface EvidenceSettings {
  /** Share of the windows without a difference that may end in an alarm. */
  alpha: number;
  /** By metric: its share of the alpha, once they are divided by their sum. 0 or none: it is not looked at. */
  weights: Partial<Record<SequentialMetric, number>>;
  drifts: Record<SequentialMetric, Drift>;
  /** Looks of the window, and looks that a drift lasts. */
  horizon: number;
  blockLooks: number;
  /** Looks, of the youngest, whose clicks are not all in yet. */
  delayLooks: number;
}

export type HealthEvidence =
  | {
      kind: 'known';
      alarm: boolean;
      /** The most evidence there was at any look, as a natural logarithm. */
      peak: number;
      reasons: Reason[];
    }
  | { kind: 'unknown'; reasons: Reason[] };

/** A logarithm that fell by more than this was rewritten, not only completed. */
const TOLD = 1;

/**
 * The evidence on all metrics, of the buckets of a ramp as they stand now. It is the mean of the metrics' evidences by their
 * weights, which is a test martingale however they depend on each other (Vovk & Wang 2021); a metric without any data has 1. An alarm at any look of
 * the ramp is one, and so is one at an earlier check: late rows do not take it back.
 *
 * @param looks one for each bucket since the ramp began, without a gap.
 * @param peakBefore the most evidence that earlier checks of this ramp saw.
 */
export function judgeEvidence(
  looks: readonly HealthLook[],
  { alpha, weights, drifts, horizon, blockLooks, delayLooks }: EvidenceSettings,
  peakBefore = -Infinity,
): HealthEvidence {
  const broken = unreadable(looks);
  if (broken !== null) return { kind: 'unknown', reasons: [broken] };
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  const parts = (Object.keys(HEALTH_METRICS) as SequentialMetric[]).flatMap((metric) => {
    const weight = (weights[metric] ?? 0) / total;
    if (!(weight > 0)) return [];
    const { delayed, evidence } = HEALTH_METRICS[metric];
    const delay = delayed ? Math.min(looks.length, delayLooks) : 0;
    const read = delay === 0 ? looks : looks.slice(0, looks.length - delay);
    return [{ metric, weight, delay, logs: evidence(read, drifts[metric], { horizon, blockLooks }) }];
  });
  const logAt = ({ logs, delay }: (typeof parts)[number], look: number): number => logs[look - delay] ?? 0;
  const limit = -Math.log(alpha);
  const worst = { log: 0, look: -1, part: parts[0] };
  for (let look = 0; look < looks.length; look++) {
    let sum = 0;
    for (const part of parts) sum += part.weight * Math.exp(logAt(part, look));
    if (Math.log(sum) <= worst.log) continue;
    const leading = parts.reduce((a, b) =>
      b.weight * Math.exp(logAt(b, look)) > a.weight * Math.exp(logAt(a, look)) ? b : a,
    );
    Object.assign(worst, { log: Math.log(sum), look, part: leading });
  }
  const peak = Math.max(worst.log, peakBefore);
  const alarm = peak >= limit;
  const reasons: Reason[] = [];
  if (worst.part !== undefined && worst.look >= 0 && worst.log >= limit)
    reasons.push(
      alarmReason(worst.part.metric, looks.slice(0, worst.look + 1 - worst.part.delay), worst.log, {
        alpha,
        blockLooks,
      }),
    );
  if (peakBefore - worst.log > TOLD) reasons.push(fallenReason(peakBefore, worst.log, limit));
  return { kind: 'known', alarm, peak, reasons };
}

function alarmReason(
  metric: SequentialMetric,
  looks: readonly HealthLook[],
  log: number,
  { alpha, blockLooks }: { alpha: number; blockLooks: number },
): Reason {
  const { name, figure } = HEALTH_METRICS[metric];
  const recent = looks.slice(-blockLooks);
  const [canary, stable] = [sumOf(recent, 'canary'), sumOf(recent, 'stable')];
  const message =
    `The canary's ${name} is ${decimal(figure(canary))} over the last ${count(canary.requests)} requests, stable's ${decimal(figure(stable))} over ` +
    `${count(stable.requests)}: over the whole ramp the evidence for it being worse is ${count(Math.exp(Math.min(log, 40)))} to 1 (an alarm from ${count(1 / alpha)} on).`;
  return {
    code: `health.sequential.${metric}.alarm`,
    message,
    numbers: {
      canary: numberOrWord(figure(canary)),
      stable: numberOrWord(figure(stable)),
      canaryRequests: canary.requests,
      stableRequests: stable.requests,
      logEvidence: log,
      looks: looks.length,
    },
  };
}

function fallenReason(before: number, now: number, limit: number): Reason {
  const stands = before >= limit ? 'The alarm stands' : 'It was below the limit then, too';
  return {
    code: 'health.sequential.rewritten',
    message: `Buckets of the health sums were written anew: the logarithm of the evidence was ${decimal(before)} in an earlier look and is ${decimal(now)} by what they hold now. ${stands}.`,
    numbers: { before, now, limit },
  };
}

/** NaN and negative sums say nothing; nor do more events than there can be. */
function unreadable(looks: readonly HealthLook[]): Reason | null {
  for (const arm of ['canary', 'stable'] as const) {
    for (const [index, look] of looks.entries())
      for (const [field, value] of Object.entries(look[arm]) as [string, unknown][])
        if (!(typeof value === 'number' && Number.isFinite(value) && value >= 0))
          return reasonOf(`${arm}.${field} = ${String(value)} in look ${String(index + 1)}`);
    const { requests, errors, slow, impressions, clicks } = sumOf(looks, arm);
    if (errors > requests || slow > requests || clicks > impressions)
      return reasonOf(
        `${arm} has ${count(errors)} errors and ${count(slow)} slow of ${count(requests)} requests, ${count(clicks)} clicks of ${count(impressions)} impressions`,
      );
  }
  return null;
}

function reasonOf(found: string): Reason {
  return {
    code: 'health.sequential.unknown',
    message: `The health sums of the ramp can not be: ${found}.`,
  };
}

function sumOf(looks: readonly HealthLook[], arm: 'canary' | 'stable'): LookSums {
  const total: LookSums = { ...NO_TRAFFIC, slow: 0 };
  for (const look of looks)
    for (const field of Object.keys(total) as (keyof LookSums)[]) total[field] += look[arm][field];
  return total;
}

function numberOrWord(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}
