import type { Client } from '@temporalio/client';
import type { Trigger } from '../config/trigger-section.ts';
import { requestCycle, type CycleRequest } from '../store/cycle-requests.ts';
import type { Database } from '../store/database.ts';
import { cycleBeganSince, recordFiring } from '../store/triggers.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { pauseNote, triggerCycle } from './schedule.ts';

/**
 * A demand by hand: leaves who asked and why for the cycle and starts it through the line's schedule. It is the operator's
 * word, so it also starts a cycle while the schedule is paused.
 *
 * @throws Error that names the command to run when the line has no schedule.
 */
export async function askForCycle(
  { db, temporal }: { db: Database; temporal: Client },
  { line, request }: { line: string; request: CycleRequest },
): Promise<void> {
  await requestCycle(db, { line, request });
  await triggerCycle(temporal, line);
}

export interface StartTriggeredCycleInput {
  line: string;
  triggers: readonly [Trigger, ...Trigger[]];
  why: string;
  decidedAtMs: number;
  /** Of the look that decided: a retry asks for the same cycle. */
  key: string;
}

export type StartTriggeredCycleResult = { kind: 'started' } | { kind: 'overtaken'; why: string };

/**
 * Starts a cycle on behalf of triggers, through the line's schedule (invariant 4). First it is recorded that they asked,
 * so that whatever fails after it they do not ask again before a cycle began.
 */
export async function startTriggeredCycle(
  deps: RolloutDependencies,
  { key, ...request }: StartTriggeredCycleInput,
): Promise<StartTriggeredCycleResult> {
  const { line } = request;
  // Temporal starts what is asked for while a schedule is paused, too; it may have been paused since the decision.
  const paused = await pauseNote(deps.temporal, line);
  if (paused !== null) return { kind: 'overtaken', why: `the schedule was paused meanwhile (${paused})` };
  const firing = await recordFiring(deps.db, { ...request, effectKey: `${key}/start` });
  if (firing.kind === 'overtaken') return firing;
  // A retry whose first attempt reached Temporal: the cycle may be over already, and overlap SKIP would not stop another.
  if (!(await cycleBeganSince(deps.db, { line, sinceMs: firing.atMs }))) await triggerCycle(deps.temporal, line);
  return { kind: 'started' };
}
