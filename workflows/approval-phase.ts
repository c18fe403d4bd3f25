import { CancellationScope, condition, isCancellation } from '@temporalio/workflow';
import type { ApprovalRequest } from '../activities/approval.ts';
import { milliseconds } from '../policy/figures.ts';
import type { GateVerdict } from '../policy/gate.ts';
import type { Reason } from '../policy/verdict.ts';
import { compensation, rollout } from './activity-options.ts';
import { enterPhase, show, type CycleContext } from './cycle-context.ts';
import { failureReason, reject } from './end-of-cycle.ts';
import { describeGate } from './gate-summary.ts';

/** However short the interval: each alert is kept in the history of the run. */
const MAX_ALERTS = 50;

/**
 * Asks a person about a version and waits: an alert now, one each `gate.approvalReminder`, one when the deadline passes.
 * What was decided, by whom, why and on which numbers is on record before the cycle goes on. Leaves by `EndOfCycle` when
 * the version was rejected, or nobody answered.
 */
export async function waitForApproval(
  context: CycleContext,
  { version, gate }: { version: number; gate: GateVerdict },
): Promise<void> {
  const { cycleId, desk, journal, plan } = context;
  const { approvalDeadline } = plan.gate;
  const untilMs = Date.now() + approvalDeadline;
  const until = new Date(untilMs).toISOString();
  const { kind, reasons } = gate;
  const summary = journal.gate === null ? kind : describeGate(journal.gate);
  const request: ApprovalRequest = { cycleId, version, until, gate: { kind, reasons }, summary };
  enterPhase(context, 'approval');
  journal.waitingForApproval = { version, until, reasons };
  desk.askForApproval({ version, untilMs });
  show(context);
  try {
    await remindUntilDecided(context, request, untilMs);
  } finally {
    desk.closeApproval();
    journal.waitingForApproval = null;
    // What was accepted is kept, also when the cycle was stopped right after.
    if (desk.decision !== null) {
      await record({ ...request, kind: desk.decision.kind, who: desk.decision.who, why: desk.decision.reason });
    }
  }
  const { decision } = desk;
  if (decision === null) {
    const message = `nobody approved version ${String(version)} within ${milliseconds(approvalDeadline)}`;
    await record({ ...request, kind: 'expired', who: `cycle ${cycleId}`, why: message });
    throw reject([{ code: 'approval.expired', message }, ...reasons]);
  }
  const said: Reason = {
    code: `approval.${decision.kind}`,
    message: `${decision.kind} by ${decision.who}: ${decision.reason}`,
  };
  journal.notes.push(said.message);
  if (decision.kind === 'rejected') throw reject([said, ...reasons]);
}

/** Returns when somebody has decided, or the deadline has passed. */
async function remindUntilDecided(context: CycleContext, request: ApprovalRequest, untilMs: number): Promise<void> {
  const { desk, plan } = context;
  const summary = `approval of version ${String(request.version)}`;
  const every = Math.max(plan.gate.approvalReminder, plan.gate.approvalDeadline / MAX_ALERTS);
  for (let reminder = 0; desk.decision === null && Date.now() < untilMs; reminder += 1) {
    const nextMs = Math.min(untilMs, Date.now() + every);
    await remind(context, request, reminder);
    await condition(() => desk.decision !== null, Math.max(1, nextMs - Date.now()), { summary });
  }
}

/** A person who looks at the status sees that a version waits without it, too: an alert that is not written ends nothing. */
async function remind(context: CycleContext, request: ApprovalRequest, reminder: number): Promise<void> {
  try {
    await rollout.askForApproval.executeWithOptions({ summary: `alert ${String(reminder + 1)}: a version waits` }, [
      { ...request, reminder },
    ]);
  } catch (error) {
    if (isCancellation(error)) throw error;
    context.journal.notes.push(
      `nobody was told that a version waits: ${failureReason('approval.alert', error).message}`,
    );
  }
}

async function record(decision: Parameters<typeof compensation.recordApproval>[0]): Promise<void> {
  const summary = `${decision.kind} by ${decision.who}`;
  await CancellationScope.nonCancellable(() => compensation.recordApproval.executeWithOptions({ summary }, [decision]));
}
