import type { Reason } from '../policy/verdict.ts';
import { closeCycle, readCycle, recordPhases } from '../store/cycles.ts';
import type { Outcome, PhaseRecord } from '../store/types.ts';
import { cycleAlert } from './cycle-alert.ts';
import type { RolloutDependencies } from './dependencies.ts';

export interface EndCycleInput {
  cycleId: string;
  outcome: Exclude<Outcome, 'promoted' | 'rolledBack'>;
  version: number | null;
  reasons: Reason[];
}

/** Closes a cycle that routed nothing, or no longer does, and leaves its alert in the same transaction. */
export async function endCycle(deps: RolloutDependencies, input: EndCycleInput): Promise<{ outcome: Outcome }> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const closed = await closeCycle(deps.db, { ...input, alert: cycleAlert(deps, { cycle, ...input }) });
  return { outcome: closed.outcome ?? input.outcome };
}

/** Keeps the times of the phases with the cycle; the workflow knows them, the registry keeps them. */
export async function savePhases(
  deps: RolloutDependencies,
  input: { cycleId: string; phases: PhaseRecord[] },
): Promise<void> {
  await recordPhases(deps.db, input);
}
