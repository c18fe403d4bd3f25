import type { Reason } from '../policy/verdict.ts';
import { onlyRow, type Transaction } from './database.ts';
import type { CycleRecord, Outcome, Refused } from './types.ts';

export const CYCLE_COLUMNS = `cycle_id as "cycleId", line, workflow_id as "workflowId", run_id as "runId", trigger, config,
  config_hash as "configHash", stable_at_start as "stableAtStart", parent, parent_reason as "parentReason", candidate, phases, started_at as "startedAt",
  closed_at as "closedAt", outcome, reasons`;

/**
 * Locks a cycle's row until the transaction ends. Everything a cycle writes goes through this lock, always taken before
 * that of the route's head: so a cycle is either open for the whole of a write or closed before it.
 *
 * @throws Error when there is no such cycle.
 */
export async function lockCycle(tx: Transaction, cycleId: string): Promise<CycleRecord> {
  const { rows } = await tx.query<CycleRecord>(`select ${CYCLE_COLUMNS} from cycles where cycle_id = $1 for update`, [
    cycleId,
  ]);
  if (rows[0] === undefined) throw unknownCycle(cycleId);
  return onlyRow(rows);
}

export function unknownCycle(cycleId: string): Error {
  return new Error(`no cycle "${cycleId}": a cycle claims its line before it writes anything else`);
}

/** The refusal that every write of a closed cycle gets; null while it is open. */
export function refuseClosed(cycle: CycleRecord): Extract<Refused, { kind: 'cycleClosed' }> | null {
  return cycle.outcome === null ? null : { kind: 'cycleClosed', outcome: cycle.outcome };
}

/** Closes a locked cycle. One that was closed before keeps its time and takes the new outcome. */
export async function markClosed(
  tx: Transaction,
  { cycle, outcome, reasons }: { cycle: CycleRecord; outcome: Outcome; reasons: readonly Reason[] },
): Promise<CycleRecord> {
  const { rows } = await tx.query<CycleRecord>(
    `update cycles set closed_at = coalesce(closed_at, clock_timestamp()), outcome = $2, reasons = $3
     where cycle_id = $1 returning ${CYCLE_COLUMNS}`,
    [cycle.cycleId, outcome, JSON.stringify(reasons)],
  );
  return onlyRow(rows);
}
