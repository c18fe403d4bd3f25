import { assessCheck, type BreakerDecision, type BreakerState } from '../policy/breaker.ts';
import { judgeHealth, type HealthReading, type HealthVerdict } from '../policy/health.ts';
import { watchBreaker } from '../policy/watch.ts';
import type { CanaryConfig, LineConfig } from '../config/schema.ts';
import { readLimits } from '../integrations/metric-provider.ts';
import { createPrometheusProvider } from '../integrations/prometheus.ts';
import { readCycle } from '../store/cycles.ts';
import { readArmSums } from '../store/health-sums.ts';
import { databaseNow, renewLease } from '../store/leases.ts';
import { watchRefusal } from '../store/routes.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { explainRefusal, type Refusal } from './refusal.ts';
import { watchHealth } from './watch-health.ts';

export interface CheckHealthInput {
  cycleId: string;
  line: string;
  version: number;
  /** Sums are cumulated since this step began, over routes of this epoch and later. */
  stepEpoch: number;
  stepStartedAtMs: number;
  breaker: BreakerState;
  /** Where the ramp or the watch began: the evidence of the mode `sequential` is of all of it. Left out in the mode `consecutive`. */
  ramp?: { epoch: number; startedAtMs: number };
  /** `watch`: the version was promoted, and the stable before it has the holdback. Left out by older builds: `canary`. */
  phase?: 'canary' | 'watch';
}

export interface CheckHealthResult {
  verdict: HealthVerdict;
  breaker: BreakerState;
  decision: BreakerDecision;
  /** Why the candidate may not go on, if it may not: the lease could not be renewed, or the watch's route is no longer in force. */
  refused: Refusal | null;
}

/**
 * One health check: canary against concurrent stable, or a promoted version against its holdback, since the step began;
 * then the breaker's decision. Renews the lease from the check's own start, unless the decision is to roll back (invariant
 * 2); a promoted version has none. In the mode `sequential` it lasts for the
 * interval between two checks and looks at every bucket, see `watchHealth`.
 */
export async function checkHealth(deps: RolloutDependencies, input: CheckHealthInput): Promise<CheckHealthResult> {
  const startedAt = await databaseNow(deps.db);
  const { config } = await readCycle(deps.db, input.cycleId);
  if (input.ramp !== undefined) return watchHealth(deps, { input, ramp: input.ramp, config, startedAt });
  const reading = await readHealth(deps, { input, config, nowMs: startedAt.getTime() });
  const verdict = judgeHealth({ reading, config: config.health });
  const { state, decision } = assessCheck({
    state: input.breaker,
    check: { status: verdict.status, reasons: verdict.reasons, atMs: startedAt.getTime() },
    config: breakerConfig(input, config),
  });
  const refused = decision.renewLease ? await allowOn(deps, { input, config, startedAt }) : null;
  return { verdict, breaker: state, decision, refused };
}

/**
 * Lets the candidate go on: renews a canary's lease from the start of its check. A promoted version goes on for as long as
 * the route of its watch is in force.
 *
 * @returns why it may not.
 */
export async function allowOn(
  { db }: RolloutDependencies,
  { input, config, startedAt }: { input: CheckHealthInput; config: LineConfig; startedAt: Date },
): Promise<Refusal | null> {
  const { cycleId, phase, stepEpoch } = input;
  if (phase === 'watch') {
    const refused = await watchRefusal(db, { cycleId, expectedEpoch: stepEpoch });
    return refused === null ? null : explainRefusal(refused);
  }
  const renewal = await renewLease(db, { cycleId, startedAt, leaseMs: config.canary.lease });
  return renewal.kind === 'renewed' ? null : explainRefusal(renewal);
}

/** The breaker's settings in the phase that is checked. */
export function breakerConfig({ phase }: CheckHealthInput, { canary }: LineConfig): CanaryConfig {
  return phase === 'watch' ? watchBreaker(canary) : canary;
}

/** What one check judges: the sums of both arms since the step began. */
export async function readHealth(
  deps: RolloutDependencies,
  { input, config, nowMs }: { input: CheckHealthInput; config: LineConfig; nowMs: number },
): Promise<HealthReading | { error: string }> {
  const { line, version, stepEpoch, stepStartedAtMs } = input;
  const arm = input.phase === 'watch' ? 'stable' : 'canary';
  const range = { line, version, sinceEpoch: stepEpoch, bucketMs: config.health.bucket, fromMs: stepStartedAtMs };
  const provider =
    deps.prometheusUrl === null
      ? null
      : createPrometheusProvider({ url: deps.prometheusUrl, queries: config.health.prometheus });
  try {
    const [all, quality, external] = await Promise.all([
      readArmSums(deps.db, { ...range, toMs: nowMs }),
      readArmSums(deps.db, { ...range, toMs: nowMs - config.health.feedbackDelay }),
      readLimits({ provider, limits: config.health.prometheus, variant: { line, version, arm } }),
    ]);
    return {
      canary: all.canary,
      stable: all.stable,
      qualityCanary: quality.canary,
      qualityStable: quality.stable,
      external,
    };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
