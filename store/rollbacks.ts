import { z } from 'zod';
import type { Reason } from '../policy/verdict.ts';
import { CYCLE_COLUMNS, lockCycle, markClosed } from './cycle-rows.ts';
import { transaction, TransactionOvertaken, type Queryable, type Transaction } from './database.ts';
import { recallEffect, recordEffect } from './effects.ts';
import { endLease } from './leases.ts';
import { enqueueAlert } from './outbox.ts';
import {
  appendRoute,
  currentRoute,
  isRouted,
  lockHead,
  readRoute,
  ROUTE_COLUMNS,
  setStable,
  setStatus,
  STABLE_ALONE,
  withoutCandidate,
} from './route-head.ts';
import type { Alert, CycleRecord, Route, VersionStatus } from './types.ts';

export interface RollbackRequest {
  cycleId: string;
  who: string;
  why: string;
  reasons: readonly Reason[];
  outcome: 'rolledBack' | 'aborted';
  effectKey: string;
  alert: Alert;
}

/**
 * Takes a cycle's candidate out of the current route and closes the cycle, in one transaction that also ends the lease
 * and writes the alert. Asks for no epoch and is never refused. Always writes a new epoch, which every routing process
 * must report. If the candidate is stable by now (the rollback came beside a promote), the stable of the cycle's start
 * returns and the outcome changes from `promoted`; a stable that somebody else set stays.
 *
 * Of a cycle that was closed in another way nothing is left to undo: nothing is written, `alreadyDone` is true and
 * `route` is the last one the cycle wrote (the current one if it wrote none).
 */
export async function rollbackCycle(
  db: Queryable,
  request: RollbackRequest,
): Promise<{ route: Route; alreadyDone: boolean }> {
  return transaction(db, async (tx) => {
    const { cycleId, who, why, outcome, reasons, effectKey } = request;
    const recorded = await recallEffect(tx, effectKey);
    if (recorded !== undefined) return { route: await readRoute(tx, routeKey.parse(recorded)), alreadyDone: true };
    const cycle = await lockCycle(tx, cycleId);
    if (cycle.outcome !== null && cycle.outcome !== 'promoted') {
      return { route: await lastRouteOf(tx, cycle), alreadyDone: true };
    }
    const current = await lockHead(tx, cycle.line);
    const route = await withdrawCandidate(tx, { cycle, current, who, why, left: 'rolledBack' });
    await markClosed(tx, { cycle, outcome, reasons });
    await enqueueAlert(tx, request.alert);
    await recordEffect(tx, effectKey, { line: route.line, epoch: route.epoch });
    return { route, alreadyDone: false };
  });
}

export interface OperatorRollbackRequest {
  line: string;
  /** A version that was stable before; see `operatorRollback` for what happens when it is left out. */
  toVersion?: number;
  who: string;
  why: string;
  /** Its fields get `from`, `to` and `epoch`. */
  alert: Alert;
  /** Makes a repeated request harmless: without a key it goes back one version further. */
  effectKey?: string;
}

export interface OperatorRollback {
  route: Route;
  /** The stable before and after. */
  from: number;
  to: number;
  /** The open cycle that was closed with it. */
  closedCycle: string | null;
}

/**
 * An operator's rollback, which needs no cycle and no Temporal. Without `toVersion`: while a candidate is shadow or
 * canary it is removed and the stable stays; one that is watched after its promotion gives way to the stable before it;
 * otherwise the stable goes back to the one before it that was not itself rolled back. Nothing but the stable is routed
 * afterwards. The open cycle, if any, is closed in the same transaction: `rolledBack` when its candidate was routed and
 * is no more, else `aborted`.
 *
 * @throws Error when there is no earlier stable, or `toVersion` never was one, or retention removed its model.
 */
export async function operatorRollback(db: Queryable, request: OperatorRollbackRequest): Promise<OperatorRollback> {
  return transaction(db, async (tx) => {
    const { line, who, why, effectKey } = request;
    const recorded = effectKey === undefined ? undefined : await recallEffect(tx, effectKey);
    if (recorded !== undefined) {
      const result = operatorResult.parse(recorded);
      return { ...result, route: await readRoute(tx, result.route) };
    }
    const open = await lockOpenCycle(tx, line);
    const current = await lockHead(tx, line);
    // A cycle that claimed the line between the two locks is not locked yet: again from the start.
    if ((await openCycleId(tx, line)) !== (open?.cycleId ?? null)) throw new TransactionOvertaken();
    const removing = open !== null && isRouted(current, open.candidate);
    const from = current.stable;
    const to = await target(tx, { request, current, removing: removing ? open : null });

    const cycleId = open?.cycleId ?? null;
    const next = { stable: to, ...STABLE_ALONE };
    const route = await appendRoute(tx, { current, next, salt: current.salt, cycleId, who, why });
    await setStable(tx, { line, from, to, left: to < from ? 'rolledBack' : 'archived' });
    if (open !== null) {
      const reasons = [{ code: 'operator.rollback', message: `${who} rolled back: ${why}`, numbers: { from, to } }];
      await endLease(tx, open.cycleId);
      const keeps = open.candidate === to;
      if (open.candidate !== null && !keeps)
        await setStatus(tx, { line, version: open.candidate, status: 'rolledBack' });
      await markClosed(tx, { cycle: open, outcome: removing && !keeps ? 'rolledBack' : 'aborted', reasons });
    }
    const fields = { ...request.alert.fields, from, to, epoch: route.epoch };
    await enqueueAlert(tx, { ...request.alert, fields });
    const result = { route: { line, epoch: route.epoch }, from, to, closedCycle: cycleId };
    if (effectKey !== undefined) await recordEffect(tx, effectKey, result);
    return { ...result, route };
  });
}

/**
 * Takes the candidate of a locked cycle out of the locked head's route, as a new epoch, ends the cycle's lease and leaves
 * the candidate with status `left`.
 */
export async function withdrawCandidate(
  tx: Transaction,
  withdrawal: { cycle: CycleRecord; current: Route; who: string; why: string; left: VersionStatus },
): Promise<Route> {
  const { cycle, current, who, why, left } = withdrawal;
  const { cycleId, line, candidate } = cycle;
  const next = withoutCandidate(current, cycle);
  const route = await appendRoute(tx, { current, next, salt: current.salt, cycleId, who, why });
  await endLease(tx, cycleId);
  if (candidate !== null) await setStatus(tx, { line, version: candidate, status: left });
  await setStable(tx, { line, from: current.stable, to: next.stable, left });
  return route;
}

/** Locks the row of the line's open cycle until the transaction ends; null when there is none. */
export async function lockOpenCycle(tx: Transaction, line: string): Promise<CycleRecord | null> {
  const { rows } = await tx.query<CycleRecord>(
    `select ${CYCLE_COLUMNS} from cycles where line = $1 and closed_at is null for update`,
    [line],
  );
  return rows[0] ?? null;
}

const routeKey = z.object({ line: z.string(), epoch: z.number() });
const operatorResult = z.object({
  route: routeKey,
  from: z.number(),
  to: z.number(),
  closedCycle: z.string().nullable(),
});

async function openCycleId(tx: Transaction, line: string): Promise<string | null> {
  const { rows } = await tx.query<{ cycleId: string }>(
    'select cycle_id as "cycleId" from cycles where line = $1 and closed_at is null',
    [line],
  );
  return rows[0]?.cycleId ?? null;
}

async function lastRouteOf(tx: Transaction, { line, cycleId }: CycleRecord): Promise<Route> {
  const { rows } = await tx.query<Route>(
    `select ${ROUTE_COLUMNS} from routes r where r.line = $1 and r.cycle_id = $2 order by r.epoch desc limit 1`,
    [line, cycleId],
  );
  return rows[0] ?? (await currentRoute(tx, line));
}

async function target(
  tx: Transaction,
  { request, current, removing }: { request: OperatorRollbackRequest; current: Route; removing: CycleRecord | null },
): Promise<number> {
  const { line, toVersion } = request;
  if (toVersion === undefined && removing !== null) return withoutCandidate(current, removing).stable;
  const { rows } = await tx.query<{ version: number; status: VersionStatus; gone: string | null }>(
    `select v.version, v.status, to_char(g.removed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as gone
     from versions v join routes r on r.line = v.line and r.stable = v.version
       left join removed_artifacts g on g.sha256 = v.model_sha256
     where v.line = $1 group by v.version, v.status, g.removed_at order by max(r.epoch) desc`,
    [line],
  );
  const known = rows.map((row) => String(row.version)).join(', ');
  if (toVersion === undefined) {
    const earlier = rows.find(
      ({ version, status, gone }) => version !== current.stable && status !== 'rolledBack' && gone === null,
    );
    if (earlier !== undefined) return earlier.version;
    const advice = `name one of those that were stable (${known})`;
    throw new Error(`line "${line}" has no earlier stable that was not rolled back itself: ${advice}`);
  }
  const wanted = rows.find(({ version }) => version === toVersion);
  if (wanted?.gone != null) {
    const there = rows.filter(({ gone }) => gone === null).map(({ version }) => String(version));
    const advice = `name one that is there (${there.join(', ')})`;
    throw new Error(`the model of version ${String(toVersion)} was removed by retention at ${wanted.gone}: ${advice}`);
  }
  if (wanted !== undefined) return toVersion;
  throw new Error(`version ${String(toVersion)} of line "${line}" never was stable: expected one of ${known}`);
}
