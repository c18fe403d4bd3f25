import { z } from 'zod';
import type { Reason } from '../policy/verdict.ts';
import { CYCLE_COLUMNS, lockCycle, markClosed, refuseClosed, unknownCycle } from './cycle-rows.ts';
import { onlyRow, transaction, type Queryable, type Transaction } from './database.ts';
import { recallEffect, recordEffect } from './effects.ts';
import { readLine } from './lines.ts';
import { enqueueAlert } from './outbox.ts';
import { endLease } from './leases.ts';
import { parentFor } from './parents.ts';
import { currentRoute, isRouted, lockHead, removeHoldback, setStatus } from './route-head.ts';
import { withdrawCandidate } from './rollbacks.ts';
import type { Alert, CycleRecord, Outcome, PhaseRecord, Refused, Route } from './types.ts';

export interface CycleClaim {
  line: string;
  cycleId: string;
  workflowId: string;
  runId: string;
  trigger: string;
  /**
   * Whether the run of a cycle that was left open is over, by Temporal's word; throws when it can not be told. Asked
   * outside any transaction.
   */
  isRunOver: (cycle: CycleRecord) => Promise<boolean>;
}

export type ClaimResult =
  /** The line is this cycle's; `takenOver` names a dead run's cycle that was closed for it. */
  | { kind: 'claimed'; cycle: CycleRecord; takenOver?: string }
  | { kind: 'busy'; by: CycleRecord }
  /** This very cycle claimed the line before and was closed since. */
  | Extract<Refused, { kind: 'cycleClosed' }>;

const CLAIM_ROUNDS = 5;

/**
 * Claims a line for a cycle: at most one open cycle a line. A cycle whose run is over without having closed it is closed
 * as `aborted` and what it left routed is removed, in the transaction that makes the claim; one that was promoted and still
 * watched stays promoted, without its holdback. Freezes the line's config
 * and records its stable and the parent of its challenger. Safe to repeat for the same cycle, also from a later run of the same workflow.
 */
export async function claimCycle(db: Queryable, claim: CycleClaim): Promise<ClaimResult> {
  let over: CycleRecord | null = null;
  for (let round = 1; ; round += 1) {
    const dead: CycleRecord | null = over;
    const result: ClaimResult = await transaction(db, (tx) => tryClaim(tx, claim, dead));
    if (result.kind !== 'busy' || round === CLAIM_ROUNDS || !(await claim.isRunOver(result.by))) return result;
    over = result.by;
  }
}

export interface CloseRequest {
  cycleId: string;
  /** `promote` and the rollbacks close with the other outcomes. */
  outcome: Exclude<Outcome, 'promoted' | 'rolledBack'>;
  reasons: readonly Reason[];
  who?: string;
  alert?: Alert;
}

/**
 * Closes a cycle that ends without promotion and returns it. A candidate that is still shadow or canary is taken out of
 * the route in the same transaction, as a rollback would. A cycle that is closed stays as it is: nothing is written, and
 * the outcome returned is the recorded one.
 */
export async function closeCycle(db: Queryable, request: CloseRequest): Promise<CycleRecord> {
  return transaction(db, async (tx) => {
    const { cycleId, outcome, reasons, alert } = request;
    const cycle = await lockCycle(tx, cycleId);
    if (cycle.outcome !== null) return cycle;
    const who = request.who ?? `cycle ${cycleId}`;
    const closed = await closeAndClear(tx, { cycle, outcome, reasons, who });
    if (alert !== undefined) await enqueueAlert(tx, alert);
    return closed.cycle;
  });
}

/** Keeps the times of a cycle's phases, which its workflow knows; replaces those kept before, also of a closed cycle. */
export async function recordPhases(
  db: Queryable,
  { cycleId, phases }: { cycleId: string; phases: readonly PhaseRecord[] },
): Promise<void> {
  const { rowCount } = await db.query('update cycles set phases = $2 where cycle_id = $1', [
    cycleId,
    JSON.stringify(phases),
  ]);
  if (rowCount === 0) throw unknownCycle(cycleId);
}

/** @throws Error when there is no such cycle. */
export async function readCycle(db: Queryable, cycleId: string): Promise<CycleRecord> {
  const { rows } = await db.query<CycleRecord>(`select ${CYCLE_COLUMNS} from cycles where cycle_id = $1`, [cycleId]);
  if (rows[0] === undefined) throw unknownCycle(cycleId);
  return onlyRow(rows);
}

/** The open cycle of a line, if any. */
export async function openCycle(db: Queryable, line: string): Promise<CycleRecord | null> {
  const { rows } = await db.query<CycleRecord>(
    `select ${CYCLE_COLUMNS} from cycles where line = $1 and closed_at is null`,
    [line],
  );
  return rows[0] ?? null;
}

/** Those of the cycles that are closed; ids that no cycle has are left out. */
export async function closedCycles(db: Queryable, cycleIds: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ cycleId: string }>(
    'select cycle_id as "cycleId" from cycles where cycle_id = any($1) and closed_at is not null',
    [cycleIds],
  );
  return rows.map(({ cycleId }) => cycleId);
}

/** Cycles of a line, newest first. */
export async function listCycles(
  db: Queryable,
  { line, limit = 100 }: { line: string; limit?: number },
): Promise<CycleRecord[]> {
  const { rows } = await db.query<CycleRecord>(
    `select ${CYCLE_COLUMNS} from cycles where line = $1 order by started_at desc, cycle_id desc limit $2`,
    [line, limit],
  );
  return rows;
}

/** One round of a claim; `dead` is the open cycle whose run is known to be over. */
async function tryClaim(tx: Transaction, claim: CycleClaim, dead: CycleRecord | null): Promise<ClaimResult> {
  const { line, cycleId } = claim;
  const effectKey = `${cycleId}/claim`;
  const recorded = await recallEffect(tx, effectKey);
  if (recorded !== undefined) return reclaim(tx, { claim, takenOver: recordedClaim.parse(recorded).takenOver });

  const locked = dead === null ? null : await lockCycle(tx, dead.cycleId);
  await lockHead(tx, line);
  const open = await openCycle(tx, line);
  if (open !== null) {
    // Only the very run that Temporal was asked about may be taken over.
    if (locked === null || open.cycleId !== locked.cycleId || open.runId !== dead?.runId)
      return { kind: 'busy', by: open };
    await takeOver(tx, { cycle: locked, claim });
  }
  const takenOver = open?.cycleId ?? null;

  const { config, configHash } = await readLine(tx, line);
  const { stable } = await currentRoute(tx, line);
  const { parent, reason } = await parentFor(tx, { line, stable });
  const { rows } = await tx.query<CycleRecord>(
    `insert into cycles (cycle_id, line, workflow_id, run_id, trigger, config, config_hash, stable_at_start, parent,
       parent_reason)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning ${CYCLE_COLUMNS}`,
    [
      ...[cycleId, line, claim.workflowId, claim.runId, claim.trigger, JSON.stringify(config), configHash, stable],
      ...[parent, reason],
    ],
  );
  await recordEffect(tx, effectKey, { takenOver });
  return claimed(onlyRow(rows), takenOver);
}

const recordedClaim = z.object({ takenOver: z.string().nullable() });

/** The answer to a repeated claim. A later run of the same workflow is the cycle's run from now on. */
async function reclaim(
  tx: Transaction,
  { claim, takenOver }: { claim: CycleClaim; takenOver: string | null },
): Promise<ClaimResult> {
  const { cycleId, line, workflowId, runId } = claim;
  const cycle = await lockCycle(tx, cycleId);
  if (cycle.line !== line || cycle.workflowId !== workflowId) {
    const owner = `workflow "${cycle.workflowId}" on line "${cycle.line}"`;
    throw new Error(
      `cycle "${cycleId}" belongs to ${owner}, not to "${workflowId}" on "${line}": cycle ids must be unique`,
    );
  }
  const closed = refuseClosed(cycle);
  if (closed !== null) return closed;
  await tx.query('update cycles set run_id = $2 where cycle_id = $1', [cycleId, runId]);
  return claimed({ ...cycle, runId }, takenOver);
}

function claimed(cycle: CycleRecord, takenOver: string | null): ClaimResult {
  return takenOver === null ? { kind: 'claimed', cycle } : { kind: 'claimed', cycle, takenOver };
}

async function takeOver(tx: Transaction, { cycle, claim }: { cycle: CycleRecord; claim: CycleClaim }): Promise<void> {
  const { cycleId, line } = cycle;
  const run = `run ${cycle.runId} of workflow ${cycle.workflowId}`;
  const message = `${run} was over without having closed its cycle; ${claim.cycleId} took the line over`;
  const takenOver = { code: 'cycle.takenOver', message };
  const who = `cycle ${claim.cycleId}`;
  const { stable } = await lockHead(tx, line);
  const watched = cycle.candidate !== null && stable === cycle.candidate;
  const { route } = watched
    ? await closeAndClear(tx, { cycle, outcome: 'promoted', reasons: [interrupted(stable), takenOver], who })
    : await closeAndClear(tx, { cycle, outcome: 'aborted', reasons: [takenOver], who });
  await enqueueAlert(tx, {
    dedupKey: `${cycleId}/takenOver`,
    severity: 'warning',
    page: false,
    line,
    title: `${line}: a cycle ended without cleaning up`,
    text: `${message}. Serving: version ${String(route.stable)} alone.`,
    fields: {
      cycle: cycleId,
      stable: route.stable,
      epoch: route.epoch,
      ...(cycle.candidate && { candidate: cycle.candidate }),
    },
    kind: 'takenOver',
    // Any cycle that ends by itself shows that cycles end again.
    incident: { action: 'open', key: `${line}/takenOver`, stage: 0 },
  });
}

function interrupted(version: number): Reason {
  return {
    code: 'watch.interrupted',
    message: `the watch of version ${String(version)} was cut short; it had passed the ramp and stays`,
  };
}

/** Closes a locked cycle; a candidate that is still routed is taken out first, one that is stable loses its holdback. */
async function closeAndClear(
  tx: Transaction,
  close: { cycle: CycleRecord; outcome: Outcome; reasons: readonly Reason[]; who: string },
): Promise<{ cycle: CycleRecord; route: Route }> {
  const { cycle, outcome, reasons, who } = close;
  const { line, candidate } = cycle;
  const current = await lockHead(tx, line);
  const why = reasons[0]?.message ?? outcome;
  let route = current;
  if (current.stable === candidate) {
    route = await removeHoldback(tx, { cycle, current, who, why });
  } else if (isRouted(current, candidate)) {
    const left = outcome === 'rejected' ? 'rejected' : 'rolledBack';
    route = await withdrawCandidate(tx, { cycle, current, who, why, left });
  } else {
    await endLease(tx, cycle.cycleId);
    if (candidate !== null) await setStatus(tx, { line, version: candidate, status: 'rejected' });
  }
  return { cycle: await markClosed(tx, { cycle, outcome, reasons }), route };
}
