import { isCancellation } from '@temporalio/workflow';
import type { ReadShadowResult } from '../activities/read-shadow.ts';
import type { SetRouteInput } from '../activities/set-route.ts';
import { initialBreaker } from '../policy/breaker.ts';
import { rampSteps } from '../policy/ramp.ts';
import { rollout } from './activity-options.ts';
import { checkPauseLimit, enterPhase, show, type CycleContext } from './cycle-context.ts';
import { endingOf, failureReason, reject, rollBack } from './end-of-cycle.ts';
import { attempt, ticker, watchStep, type Candidate, type DeployedRoute, type Monitor, type Watch } from './monitor.ts';

/**
 * Scores the candidate on copies of live requests; it goes on to the canary unless it diverges from stable. Where nothing can
 * score copies the phase is left out.
 */
export async function runShadow(
  context: CycleContext,
  monitor: Monitor,
  candidate: Candidate,
  epoch: number,
): Promise<number> {
  const { cycleId, line, plan } = context;
  if (plan.shadow === null) return epoch;
  const { duration, share } = plan.shadow;
  enterPhase(context, 'shadow');
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
    if (verdict.status === 'diverged') {
      noteShadow(context, verdict);
      throw reject(verdict.reasons);
    }
    if (context.desk.paused !== null) {
      checkPauseLimit(context);
      endsAtMs += ticks.intervalMs;
      continue;
    }
    if (Date.now() < endsAtMs) continue;
    if (verdict.status === 'pass' || verdict.status === 'warned') {
      noteShadow(context, verdict);
      if (verdict.status === 'warned')
        context.journal.notes.push(...verdict.reasons.map((reason) => `warned: ${reason.message}`));
      return route.epoch;
    }
    if (extended) {
      noteShadow(context, verdict);
      throw reject(verdict.reasons);
    }
    extended = true;
    endsAtMs = Date.now() + duration;
  }
}

function noteShadow({ journal }: CycleContext, { summary }: ReadShadowResult['verdict']): void {
  if (summary !== undefined) journal.notes.push(`shadow: ${summary}`);
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
    // To a tenth.
    const percent = String(Math.round(step.share * 1_000) / 10);
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
    const { durationMs } = step;
    await watchStep(context, monitor, {
      phase: 'canary',
      name: `at ${percent} %`,
      ...{ candidate, route, durationMs, watch },
    });
    expectedEpoch = route.epoch;
  }
  return expectedEpoch;
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
