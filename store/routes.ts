import { z } from 'zod';
import type { Reason } from '../policy/verdict.ts';
import { lockCycle, markClosed, refuseClosed } from './cycle-rows.ts';
import { transaction, type Queryable, type Transaction } from './database.ts';
import { recallEffect, recordEffect } from './effects.ts';
import { endLease, giveBackLease, grantLease, leaseHolds } from './leases.ts';
import { enqueueAlert } from './outbox.ts';
import {
  appendRoute,
  currentRoute,
  isRouted,
  lockHead,
  readRoute,
  removeHoldback,
  ROUTE_COLUMNS,
  setStable,
  setStatus,
  STABLE_ALONE,
} from './route-head.ts';
import {
  INPUT_ORDER_VERSION,
  type Alert,
  type CycleRecord,
  type Refused,
  type Route,
  type RouteMove,
  type RouteState,
} from './types.ts';

export { currentRoute } from './route-head.ts';
export { operatorRollback, rollbackCycle } from './rollbacks.ts';

/** Routes of a line, or those that one of its cycles made, newest first. */
export async function routeHistory(
  db: Queryable,
  { line, cycleId, limit = 100 }: { line: string; cycleId?: string; limit?: number },
): Promise<Route[]> {
  const { rows } = await db.query<Route>(
    `select ${ROUTE_COLUMNS} from routes r where r.line = $1 and ($2::text is null or r.cycle_id = $2)
     order by r.epoch desc limit $3`,
    [line, cycleId ?? null, limit],
  );
  return rows;
}

/** What served at `time`, to the millisecond; null before the line's first route. */
export async function routeAt(db: Queryable, { line, time }: { line: string; time: Date }): Promise<Route | null> {
  const { rows } = await db.query<Route>(
    `select ${ROUTE_COLUMNS} from routes r where r.line = $1 and date_trunc('milliseconds', r.at) <= $2 order by r.epoch desc limit 1`,
    [line, time],
  );
  return rows[0] ?? null;
}

export interface MoveRequest {
  line: string;
  cycleId: string;
  /** The epoch the caller decided on: any move in between refuses this one. */
  expectedEpoch: number;
  /** The stable that must be in force; the one at the cycle's start when left out. */
  expectedStable?: number;
  /** The stable can not change here: that is `promote`'s or a rollback's to do. */
  next: RouteState;
  who: string;
  why: string;
  effectKey: string;
  /** How long the first lease lasts from now on; needed when `next` has a canary or shadow. */
  leaseMs?: number;
}

/**
 * Puts a cycle's candidate into the route as shadow or canary, changes its share or takes it out again, by
 * compare-and-swap on the epoch. The first move grants the lease; later ones need it unexpired and do not extend it.
 * Refused without any write when the cycle is closed, the route moved, the stable is not the champion, or the lease ran
 * out. A repeated key returns the first move.
 *
 * @throws Error when `next` is not the cycle's to ask for.
 */
export async function moveRoute(db: Queryable, move: MoveRequest): Promise<RouteMove> {
  return transaction(db, (tx) =>
    moveOnce(tx, move.effectKey, async () => {
      const { cycleId, next } = move;
      const cycle = await lockCycle(tx, cycleId);
      const closed = refuseClosed(cycle);
      if (closed !== null) return closed;
      const current = await lockHead(tx, move.line);
      const refusal = refuseOvertaken(current, {
        expectedEpoch: move.expectedEpoch,
        champion: move.expectedStable ?? cycle.stableAtStart,
      });
      if (refusal !== null) return refusal;
      checkMove(move, { cycle, current });
      const { line, candidate } = cycle;
      if (candidate !== null && isRouted(next, candidate)) {
        const lease = { cycleId, line, version: candidate, leaseMs: move.leaseMs ?? 0 };
        if (!(await grantLease(tx, lease))) return { kind: 'leaseExpired' };
      } else {
        await giveBackLease(tx, cycleId);
      }
      const route = await appendRoute(tx, { current, next, salt: cycleId, cycleId, who: move.who, why: move.why });
      if (candidate !== null) {
        const status = next.canary === candidate ? 'canary' : next.shadow === candidate ? 'shadow' : 'candidate';
        await setStatus(tx, { line, version: candidate, status });
      }
      return { kind: 'moved', route };
    }),
  );
}

export interface PromoteRequest {
  cycleId: string;
  /** The cycle's candidate: named, so that nothing is promoted by mistake. */
  version: number;
  expectedEpoch: number;
  who: string;
  why: string;
  reasons?: readonly Reason[];
  effectKey: string;
  alert: Alert;
  /** A line's first version, which has nothing to be compared with: allowed only while version 0 is stable. */
  direct?: boolean;
  /** Leaves this share on the stable before it and the cycle open, to be watched and settled. 0, as when left out: no watch. */
  holdback?: number;
}

/**
 * Makes a cycle's canary the stable and closes the cycle as `promoted`, in one transaction; with a holdback the cycle stays
 * open until `settle`. Needs a lease that holds, except for a direct promotion, and ends it: stable needs none. Refused like
 * `moveRoute`; a repeated key returns the first promotion.
 *
 * @throws Error when the candidate is not the canary, or `direct` is asked for a line that has a stable version.
 */
export async function promote(db: Queryable, request: PromoteRequest): Promise<RouteMove> {
  return transaction(db, (tx) =>
    moveOnce(tx, request.effectKey, async () => {
      const { cycleId, who, why, holdback = 0 } = request;
      const cycle = await lockCycle(tx, cycleId);
      const closed = refuseClosed(cycle);
      if (closed !== null) return closed;
      const { line, stableAtStart } = cycle;
      const current = await lockHead(tx, line);
      const refusal = refuseOvertaken(current, { expectedEpoch: request.expectedEpoch, champion: stableAtStart });
      if (refusal !== null) return refusal;
      const direct = request.direct === true;
      const version = promotable(cycle, { version: request.version, current, direct });
      if (!direct && !(await leaseHolds(tx, cycleId))) return { kind: 'leaseExpired' };
      const watched = holdback > 0 && !direct;
      const next: RouteState = {
        ...{ stable: version, ...STABLE_ALONE },
        ...(watched && { holdback, holdbackVersion: current.stable }),
      };
      const route = await appendRoute(tx, { current, next, salt: cycleId, cycleId, who, why });
      await endLease(tx, cycleId);
      await setStable(tx, { line, from: current.stable, to: version, left: 'archived' });
      if (!watched) await markClosed(tx, { cycle, outcome: 'promoted', reasons: request.reasons ?? [] });
      await enqueueAlert(tx, request.alert);
      return { kind: 'moved', route };
    }),
  );
}

export interface SettleRequest {
  cycleId: string;
  /** Of the watch's route: any move in between refuses this one. */
  expectedEpoch: number;
  who: string;
  why: string;
  reasons: readonly Reason[];
  effectKey: string;
  alert?: Alert;
}

/**
 * Ends the watch of a promoted version: removes the holdback and closes the cycle as `promoted`, in one transaction.
 * Refused without any write when the cycle is closed or the route moved. A repeated key returns the first.
 *
 * @throws Error when the cycle's candidate is not the stable.
 */
export async function settle(db: Queryable, request: SettleRequest): Promise<RouteMove> {
  return transaction(db, (tx) =>
    moveOnce(tx, request.effectKey, async () => {
      const { cycleId, expectedEpoch, who, why } = request;
      const cycle = await lockCycle(tx, cycleId);
      const current = await lockHead(tx, cycle.line);
      const refusal = refuseWatch(cycle, { current, expectedEpoch });
      if (refusal !== null) return refusal;
      const route = await removeHoldback(tx, { cycle, current, who, why });
      await markClosed(tx, { cycle, outcome: 'promoted', reasons: request.reasons });
      if (request.alert !== undefined) await enqueueAlert(tx, request.alert);
      return { kind: 'moved', route };
    }),
  );
}

/** Why the watch of a promoted version can not go on: somebody closed the cycle, or moved the route. Null: it can. */
export async function watchRefusal(
  db: Queryable,
  { cycleId, expectedEpoch }: Pick<SettleRequest, 'cycleId' | 'expectedEpoch'>,
): Promise<Refused | null> {
  return transaction(db, async (tx) => {
    const cycle = await lockCycle(tx, cycleId);
    return refuseWatch(cycle, { current: await currentRoute(tx, cycle.line), expectedEpoch });
  });
}

function refuseWatch(
  cycle: CycleRecord,
  { current, expectedEpoch }: { current: Route; expectedEpoch: number },
): Refused | null {
  const closed = refuseClosed(cycle);
  if (closed !== null) return closed;
  return current.epoch === expectedEpoch ? null : { kind: 'epochMoved', expected: expectedEpoch, current };
}

const recordedMove = z.object({ line: z.string(), epoch: z.number() });

/** A move under an effect key. Refusals are not recorded: none of them can turn into a move later. */
async function moveOnce(tx: Transaction, key: string, move: () => Promise<RouteMove>): Promise<RouteMove> {
  const recorded = await recallEffect(tx, key);
  if (recorded !== undefined) return { kind: 'moved', route: await readRoute(tx, recordedMove.parse(recorded)) };
  const result = await move();
  if (result.kind === 'moved') await recordEffect(tx, key, { line: result.route.line, epoch: result.route.epoch });
  return result;
}

function refuseOvertaken(
  current: Route,
  { expectedEpoch, champion }: { expectedEpoch: number; champion: number },
): RouteMove | null {
  if (current.epoch !== expectedEpoch) return { kind: 'epochMoved', expected: expectedEpoch, current };
  if (current.stable !== champion) return { kind: 'championChanged', champion, stable: current.stable };
  return null;
}

function checkMove(move: MoveRequest, { cycle, current }: { cycle: CycleRecord; current: Route }): void {
  const { next, cycleId, leaseMs } = move;
  const wrong = (what: string): Error =>
    new Error(`cycle "${cycleId}" can not move the route of "${move.line}": ${what}`);
  if (cycle.line !== move.line) throw wrong(`it is a cycle of "${cycle.line}"`);
  if (next.holdbackVersion !== null) throw wrong('only a promotion gives the holdback a version of its own');
  if (next.stable !== current.stable) {
    const versions = `${String(current.stable)} to ${String(next.stable)}`;
    throw wrong(`it would change the stable from version ${versions}; use promote or a rollback`);
  }
  for (const version of [next.canary, next.shadow]) {
    if (version === null) continue;
    if (version !== cycle.candidate) {
      throw wrong(`version ${String(version)} is not its candidate (${String(cycle.candidate ?? 'none registered')})`);
    }
    if (leaseMs === undefined || !(leaseMs > 0)) {
      throw wrong(`a canary or shadow needs a lease: expected leaseMs above 0, got ${String(leaseMs)}`);
    }
  }
}

/** The candidate, if `promote` may ask for it. */
function promotable(
  { cycleId, line, candidate }: CycleRecord,
  { version, current, direct }: { version: number; current: Route; direct: boolean },
): number {
  const wrong = (why: string): Error =>
    new Error(`cycle "${cycleId}" can not promote version ${String(version)}: ${why}`);
  if (candidate === null) throw wrong('it has no candidate yet; register the version first');
  if (candidate !== version) throw wrong(`its candidate is version ${String(candidate)}`);
  if (direct && current.stable !== INPUT_ORDER_VERSION) {
    throw wrong(
      `only the first version of a line goes to stable directly, "${line}" has version ${String(current.stable)}`,
    );
  }
  if (!direct && current.canary !== candidate) {
    throw wrong(current.canary === null ? 'there is no canary' : `the canary is version ${String(current.canary)}`);
  }
  return candidate;
}
