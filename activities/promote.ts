import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { promote as promoteCandidate } from '../store/routes.ts';
import { cycleAlert } from './cycle-alert.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { explainRefusal } from './refusal.ts';
import type { SetRouteResult } from './set-route.ts';

export interface PromoteInput {
  cycleId: string;
  line: string;
  version: number;
  expectedEpoch: number;
  /** A line without a stable model: straight to stable, no canary and no lease before it. */
  direct: boolean;
  /** Share that stays on the old stable until the watch is settled; 0, or left out by older builds: no watch. */
  holdback?: number;
  reasons: Reason[];
}

/**
 * The candidate becomes stable, in one transaction with its alert. Without a holdback the cycle closes with it; with one it
 * stays open, and the old stable loaded in the gateways, until `settle`.
 */
export async function promote(deps: RolloutDependencies, input: PromoteInput): Promise<SetRouteResult> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const move = await promoteCandidate(deps.db, {
    cycleId: input.cycleId,
    version: input.version,
    expectedEpoch: input.expectedEpoch,
    direct: input.direct,
    holdback: input.holdback ?? 0,
    who: `cycle ${input.cycleId}`,
    // The gate's reasons stand in the cycle: a route says in a line why it came.
    why: input.reasons[0]?.message ?? `promotion of version ${String(input.version)}`,
    reasons: input.reasons,
    effectKey: `${input.cycleId}/promote`,
    alert: cycleAlert(deps, { cycle, outcome: 'promoted', version: input.version, reasons: input.reasons }),
  });
  if (move.kind !== 'moved') return { kind: 'refused', refusal: explainRefusal(move) };
  await deps.serving.apply(move.route);
  return { kind: 'moved', epoch: move.route.epoch, movedAtMs: move.route.at.getTime() };
}
