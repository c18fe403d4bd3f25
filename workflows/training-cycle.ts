import {
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  setHandler,
  setWorkflowOptions,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { BeginCycleInput, CyclePlan } from '../activities/begin-cycle.ts';
import { cycleId as cycleIdOf } from '../config/names.ts';
import type { Reason } from '../policy/verdict.ts';
import { compensation, confirmationOf, cycleActivities, rollout } from './activity-options.ts';
import { prepareChallenger, type Challenger } from './challenger.ts';
import { enterPhase, holdWhilePaused, show, type CycleContext } from './cycle-context.ts';
import { CycleJournal } from './cycle-journal.ts';
import { EndOfCycle, endingOf, failureReason, type Ending } from './end-of-cycle.ts';
import * as messages from './messages.ts';
import { OperatorDesk } from './operator-desk.ts';
import { attemptMove, runCanary, runShadow } from './rollout.ts';
import { runWatch, watchedHoldback, type Promotion } from './watch.ts';

/**
 * One cycle of a model line: claim the line, prepare a challenger, shadow it, ramp it under the monitor, promote it and
 * watch it - or take it back. See docs/architecture.md for the phases and docs/guarantees.md for what holds whatever dies.
 *
 * @throws ApplicationFailure `TrainingFailed` when training can not be done, `LateRollback` when a rollback was confirmed
 * after its deadline; every other ending completes the workflow with its outcome and reasons.
 */
export async function trainingCycle(input: messages.TrainingCycleInput): Promise<messages.CycleResult> {
  const info = workflowInfo();
  const cycleId = cycleIdOf(info);
  const desk = new OperatorDesk();
  const journal = new CycleJournal({ line: input.line, cycleId, trigger: input.trigger });
  listenToOperators(desk, journal);
  upsertSearchAttributes([{ key: messages.searchAttributes.line, value: input.line }]);
  enterPhase({ journal, desk }, 'begin');

  const begun = await begin({ ...input, cycleId, workflowId: info.workflowId, runId: info.runId });
  if (begun.kind !== 'claimed') {
    conclude({ journal, desk }, 'skipped', [begun.reason]);
    return journal.result('skipped');
  }
  const { plan } = begun;
  Object.assign(journal, { champion: plan.champion, trigger: plan.trigger });
  upsertSearchAttributes([{ key: messages.searchAttributes.trigger, value: plan.trigger.split(':', 1)[0] ?? '' }]);
  journal.notes.push(
    ...(plan.notes ?? []),
    ...plan.silences.map((silence) => `guard ${silence.guard} is silenced until ${silence.until}: ${silence.reason}`),
  );
  const context: CycleContext = { line: input.line, cycleId, plan, desk, journal, routed: false };

  const ending = await decideEnding(context, () => runPhases(context, plan));
  return CancellationScope.nonCancellable(() => close(context, ending));
}

/**
 * A cycle ends on the build it began on. The server takes a behaviour only from workers of a versioned deployment
 * (FRESHET_BUILD_ID); elsewhere there are no builds to be pinned to.
 */
setWorkflowOptions(
  () => (workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: 'PINNED' } : {}),
  trainingCycle,
);

/** Claims the line. A line that is busy or can not be claimed is left alone: the next cycle takes the same rows. */
async function begin(
  input: BeginCycleInput,
): Promise<{ kind: 'claimed'; plan: CyclePlan } | { kind: 'notClaimed'; reason: Reason }> {
  try {
    const begun = await rollout.beginCycle.executeWithOptions({ summary: `claim ${input.line}` }, [input]);
    if (begun.kind === 'claimed') return begun;
    if (begun.kind === 'closed') return { kind: 'notClaimed', reason: begun.reason };
    const message = `${input.line} is claimed by ${begun.by}, which is still running`;
    return { kind: 'notClaimed', reason: { code: 'line.busy', message } };
  } catch (error) {
    if (isCancellation(error)) throw error;
    return { kind: 'notClaimed', reason: failureReason('begin.failed', error) };
  }
}

/** The runbook. Leaves early by `EndOfCycle`. */
async function runPhases(context: CycleContext, plan: CyclePlan): Promise<Ending> {
  const { data, gpu, monitor } = cycleActivities({
    line: context.line,
    trainingTimeoutMs: plan.trainingTimeoutMs,
    trainingPriority: plan.trainingPriority,
    checkEveryMs: plan.canary.checkEvery,
  });
  const challenger = await prepareChallenger(context, { data, gpu });
  // A pause during the registration or the approval holds here: nothing of a paused cycle is served.
  await holdWhilePaused(context);
  context.routed = true;
  if (plan.champion === null) {
    const { reasons } = await promote(context, challenger, { expectedEpoch: plan.epoch, direct: true });
    return { kind: 'promoted', reasons };
  }
  const candidate = { version: challenger.version, champion: plan.champion };
  const shadowEpoch = await runShadow(context, monitor, candidate, plan.epoch);
  const canaryEpoch = await runCanary(context, monitor, candidate, shadowEpoch);
  const promotion = await promote(context, challenger, { expectedEpoch: canaryEpoch, direct: false });
  return runWatch(context, monitor, candidate, promotion);
}

async function promote(
  context: CycleContext,
  { version, gate }: Challenger,
  { expectedEpoch, direct }: { expectedEpoch: number; direct: boolean },
): Promise<Promotion> {
  const { cycleId, line } = context;
  const holdback = direct ? 0 : watchedHoldback(context);
  enterPhase(context, 'promote');
  const reasons = [
    direct
      ? {
          code: 'promoted.direct',
          message: `${line} had no stable model: version ${String(version)} is stable after the absolute thresholds`,
        }
      : { code: 'promoted', message: `version ${String(version)} passed the whole ramp` },
    ...gate.reasons,
  ];
  const moved = await attemptMove(() =>
    rollout.promote.executeWithOptions({ summary: `version ${String(version)} becomes stable` }, [
      { cycleId, line, version, expectedEpoch, direct, holdback, reasons },
    ]),
  );
  if (moved.kind === 'refused') throw endingOf(moved.refusal);
  return { route: { epoch: moved.epoch, sinceMs: moved.movedAtMs }, holdback, reasons };
}

/** Runs the phases until they end or an operator ends them: a rollback request cancels whatever is running. */
async function decideEnding(context: CycleContext, phases: () => Promise<Ending>): Promise<Ending> {
  const { desk } = context;
  const scope = new CancellationScope();
  void CancellationScope.nonCancellable(() => condition(() => desk.stop !== null)).then(() => {
    scope.cancel();
  });
  try {
    return await scope.run(phases);
  } catch (error) {
    if (error instanceof EndOfCycle) return error.ending;
    if (isCancellation(error)) return stopped(context);
    throw error;
  }
}

function stopped({ desk, routed }: CycleContext): Ending {
  const stop = desk.stop ?? { kind: 'abort' as const, who: 'Temporal', reason: 'the workflow was cancelled' };
  return {
    kind: stop.kind === 'forceRollback' && routed ? 'rolledBack' : 'aborted',
    who: stop.who,
    reasons: [{ code: `operator.${stop.kind}`, message: `${stop.kind} by ${stop.who}: ${stop.reason}` }],
    firstFailedCheckAtMs: null,
  };
}

/** Makes the ending true and visible. Operators are heard once more before the workflow completes. */
async function close(context: CycleContext, decided: Ending): Promise<messages.CycleResult> {
  let ending = decided;
  let { outcome, late } = await carryOut(context, ending);
  const { desk } = context;
  await savePhases(context);
  if (ending.kind === 'promoted' && desk.stop !== null) {
    ending = stopped(context);
    ({ outcome, late } = await carryOut(context, ending));
    await savePhases(context);
  }
  if (ending.kind === 'failed' || outcome === 'failed') {
    throw ApplicationFailure.nonRetryable(ending.reasons.map((reason) => reason.message).join('; '), 'TrainingFailed');
  }
  if (late) {
    throw ApplicationFailure.nonRetryable(
      `the rollback of version ${String(context.journal.version)} was confirmed only after its deadline; the schedule is paused`,
      'LateRollback',
    );
  }
  return context.journal.result(outcome);
}

interface Carried {
  outcome: messages.CycleOutcome | 'failed';
  /** Whether a rollback was confirmed only after its deadline. */
  late: boolean;
}

async function carryOut(context: CycleContext, ending: Ending): Promise<Carried> {
  const { cycleId, journal } = context;
  let carried: Carried = { outcome: ending.kind === 'closedElsewhere' ? ending.outcome : ending.kind, late: false };
  const removes = ending.kind === 'rolledBack' || ending.kind === 'aborted';
  if (removes && context.routed) {
    carried = await rollBack(context, ending);
  } else if (ending.kind !== 'promoted' && ending.kind !== 'closedElsewhere' && ending.kind !== 'rolledBack') {
    await compensation.endCycle.executeWithOptions({ summary: ending.kind }, [
      { cycleId, outcome: ending.kind, version: journal.version, reasons: ending.reasons },
    ]);
  }
  conclude(context, carried.outcome, ending.reasons);
  return carried;
}

function conclude(
  context: Pick<CycleContext, 'journal' | 'desk'>,
  outcome: messages.CycleOutcome | 'failed',
  reasons: Reason[],
): void {
  context.journal.end(outcome, reasons);
  enterPhase(context, 'closed');
  upsertSearchAttributes([{ key: messages.searchAttributes.outcome, value: outcome }]);
}

/**
 * Invariant 7: writes the route without the candidate, then waits until the fleet has confirmed it. At the deadline it
 * pages and pauses the schedule, and goes on trying.
 */
async function rollBack(context: CycleContext, ending: Extract<Ending, { who: string }>): Promise<Carried> {
  const { cycleId, line, plan, journal } = context;
  const { workflowId, runId } = workflowInfo();
  const version = journal.version ?? 0;
  const decidedAtMs = Date.now();
  enterPhase(context, 'rollback');
  const confirmed = (async () => {
    const { epoch, outcome } = await compensation.rollback.executeWithOptions(
      { summary: `remove version ${String(version)}` },
      [{ cycleId, line, version, outcome: ending.kind, who: ending.who, reasons: ending.reasons }],
    );
    const { confirmedAtMs } = await confirmationOf.confirmRoute.executeWithOptions(
      { summary: `every gateway reports epoch ${String(epoch)}` },
      [{ cycleId, line, epoch }],
    );
    journal.rollback = { firstFailedCheckAtMs: ending.firstFailedCheckAtMs, decidedAtMs, confirmedAtMs, epoch };
    show(context);
    return outcome ?? ending.kind;
  })();
  const { rollbackDeadline } = plan.canary;
  const deadlineMs = (ending.firstFailedCheckAtMs ?? decidedAtMs) + rollbackDeadline;
  const inTime = await Promise.race([
    confirmed.then(() => true),
    sleep(Math.max(1, deadlineMs - decidedAtMs), { summary: 'rollback deadline' }).then(() => false),
  ]);
  if (inTime) return { outcome: await confirmed, late: false };
  const late = { cycleId, line, workflowId, runId, version, deadlineMs: rollbackDeadline };
  await compensation.reportLateRollback.executeWithOptions({ summary: 'page, pause the schedule' }, [late]);
  const outcome = await confirmed;
  const tookMs = Date.now() - (ending.firstFailedCheckAtMs ?? decidedAtMs);
  await compensation.reportRollbackConfirmed.executeWithOptions({ summary: 'end the page' }, [{ ...late, tookMs }]);
  return { outcome, late: true };
}

/** Best effort: the phases' times are kept for the tables; the outcome already is. */
async function savePhases({ cycleId, journal }: CycleContext): Promise<void> {
  await compensation.savePhases.executeWithOptions({ summary: 'times of the phases' }, [
    { cycleId, phases: journal.phases },
  ]);
}

function listenToOperators(desk: OperatorDesk, journal: CycleJournal): void {
  const update = (change: () => void): void => {
    change();
    show({ journal, desk });
  };
  setHandler(messages.pauseSignal, (message) => {
    update(() => {
      desk.pause(message, Date.now());
    });
  });
  setHandler(messages.resumeSignal, () => {
    update(() => {
      desk.resume();
    });
  });
  setHandler(messages.forceRollbackSignal, (message) => {
    update(() => {
      desk.requestStop('forceRollback', message);
    });
  });
  setHandler(messages.abortSignal, (message) => {
    update(() => {
      desk.requestStop('abort', message);
    });
  });
  const validator = (message: messages.ApprovalMessage): void => {
    desk.validateDecision(message, Date.now());
  };
  setHandler(messages.approveUpdate, (message) => desk.decide('approved', message), { validator });
  setHandler(messages.rejectUpdate, (message) => desk.decide('rejected', message), { validator });
  setHandler(messages.statusQuery, () => journal.status(desk.paused));
}
