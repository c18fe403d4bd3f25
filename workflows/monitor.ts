import { isCancellation, sleep, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { CheckHealthInput, CheckHealthResult } from '../activities/check-health.ts';
import type { RolloutActivities } from '../activities/index.ts';
import { assessCheck, assessStepEnd, type BreakerState } from '../policy/breaker.ts';
import { assessWatchEnd, watchBreaker } from '../policy/watch.ts';
import type { Reason } from '../policy/verdict.ts';
import { watchingCheck } from './activity-options.ts';
import { checkPauseLimit, show, type CycleContext } from './cycle-context.ts';
import { endingOf, failureReason, rollBack } from './end-of-cycle.ts';

export type Monitor = ActivityInterfaceFor<RolloutActivities>;

export interface Candidate {
  version: number;
  champion: number;
}

export interface DeployedRoute {
  epoch: number;
  sinceMs: number;
}

/** What is carried from check to check, over the steps of a ramp. */
export interface Watch {
  breaker: BreakerState;
  /** What is left of the window, which an undecided step may extend once by its own length. */
  allowedMs: number;
  /** Where the ramp or the watch began, in the mode `sequential`: a check then takes the whole interval. */
  ramp: { epoch: number; startedAtMs: number } | null;
}

/** A step of the ramp, or the watch after it. */
export interface WatchedStep {
  phase: NonNullable<CheckHealthInput['phase']>;
  /** Which one, for people: `at 5 %`. */
  name: string;
  candidate: Candidate;
  route: DeployedRoute;
  durationMs: number;
  watch: Watch;
}

/**
 * Checks health until the step's time is over and what was found lets it end. Leaves by `EndOfCycle` to roll back, also when
 * the candidate may not go on.
 */
export async function watchStep(
  context: CycleContext,
  monitor: Monitor,
  step: WatchedStep,
): Promise<{ kind: 'advance' | 'undecided'; reasons: Reason[] }> {
  const { plan, desk, journal } = context;
  const { watch } = step;
  const version = String(step.candidate.version);
  const ticks = ticker(plan.canary.checkEvery);
  let spentMs = 0;
  for (;;) {
    if (watch.ramp === null) await ticks.next(`next health check of version ${version}`);
    const { verdict, breaker, decision, refused } = await checkOnce(context, monitor, step);
    watch.breaker = breaker;
    journal.checked({ status: verdict.status, reasons: verdict.reasons, breaker });
    show(context);
    if (decision.kind === 'rollback') throw rollBack(decision.reasons, breaker.firstFailedAtMs);
    if (refused !== null) throw endingOf(refused);
    // One that was over before its time (it could not be done, say) must not be repeated at once.
    if (watch.ramp !== null) await ticks.next(`rest of the health check of version ${version}`);
    if (desk.paused !== null) {
      checkPauseLimit(context);
      continue;
    }
    spentMs += ticks.intervalMs;
    watch.allowedMs -= ticks.intervalMs;
    if (spentMs < step.durationMs) continue;
    const assessEnd = step.phase === 'watch' ? assessWatchEnd : assessStepEnd;
    const end = assessEnd({ state: breaker, extended: watch.allowedMs <= 0 });
    if (end.kind === 'rollback') throw rollBack([...end.reasons, ...verdict.reasons], breaker.firstFailedAtMs);
    if (end.kind !== 'extend') return { kind: end.kind, reasons: [...end.reasons, ...verdict.reasons] };
  }
}

async function checkOnce(
  context: CycleContext,
  monitor: Monitor,
  { phase, name, candidate, route, watch }: WatchedStep,
): Promise<CheckHealthResult> {
  const { cycleId, line, plan } = context;
  const { version } = candidate;
  return attempt<CheckHealthResult>(
    () =>
      monitor.checkHealth.executeWithOptions(
        {
          summary: `version ${String(version)} ${name}`,
          ...(watch.ramp && watchingCheck(plan.canary.checkEvery)),
        },
        [
          {
            ...{ cycleId, line, version, phase },
            stepEpoch: route.epoch,
            stepStartedAtMs: route.sinceMs,
            breaker: watch.breaker,
            ...(watch.ramp && { ramp: watch.ramp }),
          },
        ],
      ),
    (reason) => unknownCheck(context, { phase, breaker: watch.breaker }, reason),
  );
}

/** A check that could not be done at all: the breaker hears `unknown`, and the lease is not renewed. */
function unknownCheck(
  { plan: { canary } }: CycleContext,
  { phase, breaker }: { phase: WatchedStep['phase']; breaker: BreakerState },
  reason: Reason,
): CheckHealthResult {
  const verdict = { status: 'unknown' as const, reasons: [reason] };
  const { state, decision } = assessCheck({
    state: breaker,
    check: { ...verdict, atMs: Date.now() },
    config: phase === 'watch' ? watchBreaker(canary) : canary,
  });
  return { verdict, breaker: state, decision, refused: null };
}

/** A look that failed for good is a finding, not the end of the cycle. */
export async function attempt<T>(run: () => Promise<T>, whenFailed: (reason: Reason) => T): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isCancellation(error)) throw error;
    return whenFailed(failureReason('monitor.failed', error));
  }
}

/** Fixed beat: the time an activity takes does not stretch the interval between two checks. */
export function ticker(intervalMs: number): { intervalMs: number; next: (summary: string) => Promise<void> } {
  let dueMs = Date.now() + intervalMs;
  return {
    intervalMs,
    async next(summary) {
      const waitMs = dueMs - Date.now();
      if (waitMs > 0) await sleep(waitMs, { summary });
      dueMs = Math.max(dueMs, Date.now() - intervalMs) + intervalMs;
    },
  };
}
