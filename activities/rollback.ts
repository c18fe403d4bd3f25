import { Context } from '@temporalio/activity';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { confirmation } from '../store/processes.ts';
import { rollbackCycle } from '../store/rollbacks.ts';
import { cycleAlert } from './cycle-alert.ts';
import type { RolloutDependencies } from './dependencies.ts';

/** How often the confirmation is looked at: small against the three minutes, large against a query. */
const CONFIRM_POLL_MS = 100;

export interface RollbackInput {
  cycleId: string;
  line: string;
  version: number;
  outcome: 'rolledBack' | 'aborted';
  who: string;
  reasons: Reason[];
}

export interface RollbackResult {
  epoch: number;
  stable: number;
}

/**
 * Removes the cycle's candidate from the route, restores the stable of the cycle's start if the candidate had become
 * stable, closes the cycle and leaves the alert, in one transaction (invariant 7). Repeating it returns the same epoch.
 */
export async function rollback(deps: RolloutDependencies, input: RollbackInput): Promise<RollbackResult> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const { route } = await rollbackCycle(deps.db, {
    cycleId: input.cycleId,
    who: input.who,
    why: input.reasons.map((reason) => reason.message).join('; '),
    reasons: input.reasons,
    outcome: input.outcome,
    effectKey: `${input.cycleId}/rollback`,
    alert: cycleAlert(deps, { cycle, outcome: input.outcome, version: input.version, reasons: input.reasons }),
  });
  return { epoch: route.epoch, stable: route.stable };
}

export interface ConfirmRouteInput {
  cycleId: string;
  line: string;
  epoch: number;
}

/**
 * Returns when every routing process that was seen within the last lease has reported `epoch`, or was silent for so
 * long that its lease has provably run out. Heartbeats say who is waited for; the caller sets the deadline.
 */
export async function confirmRoute(
  deps: RolloutDependencies,
  input: ConfirmRouteInput,
): Promise<{ confirmedAtMs: number }> {
  const { config } = await readCycle(deps.db, input.cycleId);
  for (;;) {
    const state = await confirmation(deps.db, { line: input.line, epoch: input.epoch, leaseMs: config.canary.lease });
    if (state.confirmed) return { confirmedAtMs: Date.now() };
    Context.current().heartbeat(state.waitingFor);
    await Context.current().sleep(CONFIRM_POLL_MS);
  }
}
