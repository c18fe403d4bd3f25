import { condition, isCancellation, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { CyclePlan } from '../activities/begin-cycle.ts';
import type { CycleJournal } from './cycle-journal.ts';
import type { Reason } from '../policy/verdict.ts';
import { abort, failureReason, rollBack, skip, type EndOfCycle } from './end-of-cycle.ts';
import { searchAttributes, type Phase } from './messages.ts';
import type { OperatorDesk } from './operator-desk.ts';

/** One cycle's plan, what operators said to it, and what it has done. */
export interface CycleContext {
  readonly line: string;
  readonly cycleId: string;
  readonly plan: CyclePlan;
  readonly desk: OperatorDesk;
  readonly journal: CycleJournal;
  /** Set before the first route move: from here on the end of the cycle has to take the candidate off the route. */
  routed: boolean;
}

/** Makes what the journal says visible in the Temporal UI. */
export function show({ journal, desk }: Pick<CycleContext, 'journal' | 'desk'>): void {
  setCurrentDetails(journal.markdown(desk.paused));
}

export function enterPhase(context: Pick<CycleContext, 'journal' | 'desk'>, phase: Phase): void {
  context.journal.enter(phase, Date.now());
  upsertSearchAttributes([{ key: searchAttributes.phase, value: phase }]);
  show(context);
}

/** Runs one phase; an activity that failed for good ends the cycle with its own words, as a skip unless said otherwise. */
export async function runPhase<T>(
  context: CycleContext,
  name: Phase,
  run: () => Promise<T>,
  endWith: (reason: Reason) => EndOfCycle = (reason) => skip([reason]),
): Promise<T> {
  await holdWhilePaused(context);
  enterPhase(context, name);
  try {
    return await run();
  } catch (error) {
    if (isCancellation(error)) throw error;
    throw endWith(failureReason(`${name}.failed`, error));
  }
}

/** Waits until a time with nothing routed. A pause lasts on beyond it, and ends the cycle at its own limit. */
export async function waitUntil(context: CycleContext, untilMs: number, summary: string): Promise<void> {
  const { desk } = context;
  while (Date.now() < untilMs) {
    await holdWhilePaused(context);
    const restMs = untilMs - Date.now();
    if (restMs > 0) await condition(() => desk.paused !== null, restMs, { summary });
  }
  await holdWhilePaused(context);
}

/** Before shadow nothing serves: a pause simply waits between phases, and ends the cycle when it lasts too long. */
export async function holdWhilePaused(context: CycleContext): Promise<void> {
  const { desk, plan } = context;
  if (desk.paused === null) return;
  show(context);
  const resumed = await condition(() => desk.paused === null, plan.canary.pauseLimit, { summary: 'pause limit' });
  if (!resumed) throw abort([pauseExpired(context)], 'the pause limit');
  show(context);
}

/** From shadow on the monitor and the lease go on during a pause; a pause that lasts too long rolls back. */
export function checkPauseLimit(context: CycleContext): void {
  const { desk, plan } = context;
  if (desk.paused !== null && Date.now() - desk.paused.sinceMs >= plan.canary.pauseLimit) {
    throw rollBack([pauseExpired(context)]);
  }
}

function pauseExpired({ desk, plan }: CycleContext): { code: string; message: string } {
  return {
    code: 'pause.expired',
    message: `paused by ${desk.paused?.who ?? 'an operator'} (${desk.paused?.reason ?? ''}) and not resumed within ${String(plan.canary.pauseLimit / 60_000)} minutes`,
  };
}
