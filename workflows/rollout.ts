import { isCancellation, sleep, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { CheckHealthResult } from '../activities/check-health.ts';
import type { RolloutActivities } from '../activities/index.ts';
import type { ReadShadowResult } from '../activities/read-shadow.ts';
import type { SetRouteInput } from '../activities/set-route.ts';
import { assessCheck, assessStepEnd, initialBreaker, type BreakerState } from '../policy/breaker.ts';
import { rampSteps, type RampStep } from '../policy/ramp.ts';
import type { Reason } from '../policy/verdict.ts';
import { rollout, watchingCheck } from './activity-options.ts';
import { checkPauseLimit, enterPhase, show, type CycleContext } from './cycle-context.ts';
import { endingOf, failureReason, reject, rollBack } from './end-of-cycle.ts';

type Monitor = ActivityInterfaceFor<RolloutActivities>;

interface Candidate {
  version: number;
  champion: number;
}

interface DeployedRoute {
  epoch: number;
  sinceMs: number;
}

/** Scores the candidate on copies of live requests; it goes on to the canary unless it diverges from stable. */
export async function runShadow(
  context: CycleContext,
  monitor: Monitor,
  candidate: Candidate,
  epoch: number,
): Promise<number> {
  const { cycleId, line, plan } = context;
  const { duration, share } = plan.shadow;
  enterPhase(context, 'shadow');
  context.routed = true;
  const route = await move(context, {
    ...candidate,
    expectedEpoch: epoch,
    step: 'shadow',
    change: { kind: 'shadow', share },
    why: `shadow of version ${String(candidate.version)}`,
  });
  const ticks = ticker(Math.min(plan.canary.checkEvery, duration));
  let endsAtMs = route.sinceMs + duration;
  let extended = false;
  for (;;) {
    await ticks.next(`next look at the shadow of version ${String(candidate.version)}`);
    const { verdict, refused } = await attempt<ReadShadowResult>(
      () =>
        monitor.readShadow.executeWithOptions({ summary: `version ${String(candidate.version)} in shadow` }, [
          {
            cycleId,
            line,
            version: candidate.version,
            epoch: route.epoch,
            silenced: plan.shadowDivergenceSilenced,
          },
        ]),
      (reason) => ({ verdict: { status: 'unknown', reasons: [reason] }, refused: null }),
    );
    context.journal.checked({ status: verdict.status, reasons: verdict.reasons, breaker: null });
    show(context);
    if (refused !== null) throw endingOf(refused);
    if (verdict.status === 'diverged') throw reject(verdict.reasons);
    if (context.desk.paused !== null) {
      checkPauseLimit(context);
      endsAtMs += ticks.intervalMs;
      continue;
    }
    if (Date.now() < endsAtMs) continue;
    if (verdict.status === 'pass' || verdict.status === 'warned') {
      if (verdict.status === 'warned')
        context.journal.notes.push(...verdict.reasons.map((reason) => `warned: ${reason.message}`));
      return route.epoch;
    }
    if (extended) throw reject(verdict.reasons);
    extended = true;
    endsAtMs = Date.now() + duration;
  }
}

/** Ramps the candidate step by step under the monitor. Returns the epoch of the last step, whose end was passed well. */
export async function runCanary(
  context: CycleContext,
  monitor: Monitor,
  candidate: Candidate,
  epoch: number,
): Promise<number> {
  const { plan } = context;
  const { holdback, window } = plan.canary;
  enterPhase(context, 'canary');
  const watch: Watch = { breaker: initialBreaker(), allowedMs: 2 * window, ramp: null };
  let expectedEpoch = epoch;
  for (const [index, step] of rampSteps({ steps: plan.canary.steps, holdback, windowMs: window }).entries()) {
    const percent = percentOf(step);
    const route = await move(context, {
      ...candidate,
      expectedEpoch,
      step: `canary-${String(index + 1)}`,
      change: { kind: 'canary', share: step.share, holdback },
      why: `canary of version ${String(candidate.version)} at ${percent} %`,
    });
    context.journal.canaryPercent = Number(percent);
    show(context);
    if (plan.healthMode === 'sequential') watch.ramp ??= { epoch: route.epoch, startedAtMs: route.sinceMs };
    await watchStep(context, monitor, { candidate, step, route, watch });
    expectedEpoch = route.epoch;
  }
  return expectedEpoch;
}

/** Percent of traffic, to a tenth. */
function percentOf({ share }: RampStep): string {
  return String(Math.round(share * 1_000) / 10);
}

interface Watch {
  breaker: BreakerState;
  /** What is left of the window, which an undecided step may extend once by its own length. */
  allowedMs: number;
  /** Where the ramp began, in the mode `sequential`: a check then takes the whole interval. */
  ramp: { epoch: number; startedAtMs: number } | null;
}

/** Checks health until the step's time is over and its last check passed. Leaves by `EndOfCycle` to roll back. */
async function watchStep(
  context: CycleContext,
  monitor: Monitor,
  { candidate, step, route, watch }: { candidate: Candidate; step: RampStep; route: DeployedRoute; watch: Watch },
): Promise<void> {
  const { cycleId, line, plan, desk, journal } = context;
  const ticks = ticker(plan.canary.checkEvery);
  let spentMs = 0;
  for (;;) {
    if (watch.ramp === null) await ticks.next(`next health check of version ${String(candidate.version)}`);
    const { verdict, breaker, decision, refused } = await attempt<CheckHealthResult>(
      () =>
        monitor.checkHealth.executeWithOptions(
          {
            summary: `version ${String(candidate.version)} at ${percentOf(step)} %`,
            ...(watch.ramp && watchingCheck(ticks.intervalMs)),
          },
          [
            {
              cycleId,
              line,
              version: candidate.version,
              stepEpoch: route.epoch,
              stepStartedAtMs: route.sinceMs,
              breaker: watch.breaker,
              ...(watch.ramp && { ramp: watch.ramp }),
            },
          ],
        ),
      (reason) => unknownCheck(context, watch.breaker, reason),
    );
    watch.breaker = breaker;
    journal.checked({ status: verdict.status, reasons: verdict.reasons, breaker });
    show(context);
    if (decision.kind === 'rollback') throw rollBack(decision.reasons, breaker.firstFailedAtMs);
    if (refused !== null) throw endingOf(refused);
    // One that was over before its time (it could not be done, say) must not be repeated at once.
    if (watch.ramp !== null) await ticks.next(`rest of the health check of version ${String(candidate.version)}`);
    if (desk.paused !== null) {
      checkPauseLimit(context);
      continue;
    }
    spentMs += ticks.intervalMs;
    watch.allowedMs -= ticks.intervalMs;
    if (spentMs < step.durationMs) continue;
    const end = assessStepEnd({ state: breaker, extended: watch.allowedMs <= 0 });
    if (end.kind === 'advance') return;
    if (end.kind === 'rollback') throw rollBack([...end.reasons, ...verdict.reasons], breaker.firstFailedAtMs);
  }
}

/** A check that could not be done at all: the breaker hears `unknown`, and the lease is not renewed. */
function unknownCheck(context: CycleContext, breaker: BreakerState, reason: Reason): CheckHealthResult {
  const verdict = { status: 'unknown' as const, reasons: [reason] };
  const { state, decision } = assessCheck({
    state: breaker,
    check: { ...verdict, atMs: Date.now() },
    config: context.plan.canary,
  });
  return { verdict, breaker: state, decision, refused: null };
}

async function attempt<T>(run: () => Promise<T>, whenFailed: (reason: Reason) => T): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isCancellation(error)) throw error;
    return whenFailed(failureReason('monitor.failed', error));
  }
}

/** Moves the route, or ends the cycle the way the refusal asks for. */
async function move(context: CycleContext, input: Omit<SetRouteInput, 'cycleId' | 'line'>): Promise<DeployedRoute> {
  const { cycleId, line } = context;
  const moved = await attemptMove(() =>
    rollout.setRoute.executeWithOptions({ summary: input.why }, [{ cycleId, line, ...input }]),
  );
  if (moved.kind === 'refused') throw endingOf(moved.refusal);
  return { epoch: moved.epoch, sinceMs: moved.movedAtMs };
}

/** A move that can not be made for as long as a lease lasts leaves nothing known about the canary: roll back. */
export async function attemptMove<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isCancellation(error)) throw error;
    throw rollBack([failureReason('route.failed', error)]);
  }
}

/** Fixed beat: the time an activity takes does not stretch the interval between two checks. */
function ticker(intervalMs: number): { intervalMs: number; next: (summary: string) => Promise<void> } {
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
