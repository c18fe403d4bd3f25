import { Context } from '@temporalio/activity';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
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
  /** As what the cycle is closed: somebody may have been faster. Left out by older builds. */
  outcome?: RollbackInput['outcome'];
}

/**
 * Removes the cycle's candidate from the route, restores the stable of the cycle's start if the candidate had become
 * stable, closes the cycle and leaves the alert, in one transaction (invariant 7), then tells what serves the line. Repeating
 * it returns the same epoch.
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
  await deps.serving.apply(route);
  const { outcome } = await readCycle(deps.db, input.cycleId);
  const closedAs = outcome === 'rolledBack' || outcome === 'aborted' ? outcome : input.outcome;
  return { epoch: route.epoch, stable: route.stable, outcome: closedAs };
}

export interface ConfirmRouteInput {
  cycleId: string;
  line: string;
  epoch: number;
}

/**
 * Returns when nothing serves by a route before `epoch`: everyone has confirmed it, or was silent for so long that its
 * lease has provably run out. Heartbeats say who is waited for; the caller sets the deadline.
 */
export async function confirmRoute(
  deps: RolloutDependencies,
  input: ConfirmRouteInput,
): Promise<{ confirmedAtMs: number }> {
  const { config } = await readCycle(deps.db, input.cycleId);
  for (;;) {
    const { line, epoch } = input;
    const { confirmed, waitingFor } = await deps.serving.confirmation({ line, epoch, leaseMs: config.canary.lease });
    if (confirmed) return { confirmedAtMs: Date.now() };
    Context.current().heartbeat(waitingFor);
    await Context.current().sleep(CONFIRM_POLL_MS);
  }
}
