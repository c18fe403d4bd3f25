import { onlyRow, type Queryable, type Transaction } from './database.ts';
import { unknownLine } from './lines.ts';
import type { CycleRecord, Route, RouteState, VersionStatus } from './types.ts';

export const ROUTE_COLUMNS = `r.line, r.epoch, r.stable, r.canary, r.canary_share as "canaryShare", r.holdback,
  r.holdback_version as "holdbackVersion", r.shadow, r.shadow_share as "shadowShare", r.salt, r.cycle_id as "cycleId", r.who, r.why, r.at`;

/** The part of a route in which no version but the stable has anything to do. */
export const STABLE_ALONE = {
  ...{ canary: null, canaryShare: 0, holdback: 0, holdbackVersion: null, shadow: null, shadowShare: 0 },
};

/**
 * Locks the head of a line's route until the transaction ends and returns the route in force. Whoever also locks a cycle
 * locks that first.
 *
 * @throws Error when there is no such line.
 */
export async function lockHead(tx: Transaction, line: string): Promise<Route> {
  // Two statements: one that joins would pair the head it waited for with the routes it saw before the wait.
  const { rows } = await tx.query<{ epoch: number }>('select epoch from route_heads where line = $1 for update', [
    line,
  ]);
  const [head] = rows;
  if (head === undefined) throw await unknownLine(tx, line);
  return readRoute(tx, { line, epoch: head.epoch });
}

/**
 * The route in force.
 *
 * @throws Error when there is no such line.
 */
export async function currentRoute(db: Queryable, line: string): Promise<Route> {
  const { rows } = await db.query<Route>(
    `select ${ROUTE_COLUMNS} from route_heads h join routes r using (line, epoch) where h.line = $1`,
    [line],
  );
  if (rows[0] === undefined) throw await unknownLine(db, line);
  return onlyRow(rows);
}

export async function readRoute(db: Queryable, { line, epoch }: { line: string; epoch: number }): Promise<Route> {
  const { rows } = await db.query<Route>(`select ${ROUTE_COLUMNS} from routes r where r.line = $1 and r.epoch = $2`, [
    line,
    epoch,
  ]);
  return onlyRow(rows);
}

/** Writes the route that follows `current`, whose head must be locked, and moves the head to it. */
export async function appendRoute(
  tx: Transaction,
  move: { current: Route; next: RouteState; salt: string; cycleId: string | null; who: string; why: string },
): Promise<Route> {
  const { current, next, salt, cycleId, who, why } = move;
  const { rows } = await tx.query<Route>(
    `insert into routes as r
       (line, epoch, stable, canary, canary_share, holdback, holdback_version, shadow, shadow_share, salt, cycle_id, who, why)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) returning ${ROUTE_COLUMNS}`,
    [
      ...[current.line, current.epoch + 1, next.stable, next.canary, next.canaryShare, next.holdback],
      ...[next.holdbackVersion, next.shadow, next.shadowShare, salt, cycleId, who, why],
    ],
  );
  await tx.query('update route_heads set epoch = $2 where line = $1', [current.line, current.epoch + 1]);
  return onlyRow(rows);
}

/** The state without any trace of a cycle's candidate; what others put into the route stays as it is. */
export function withoutCandidate(
  current: RouteState,
  { candidate, stableAtStart }: Pick<CycleRecord, 'candidate' | 'stableAtStart'>,
): RouteState {
  const { stable, canary, canaryShare, holdback, holdbackVersion, shadow, shadowShare } = current;
  const state = { stable, canary, canaryShare, holdback, holdbackVersion, shadow, shadowShare };
  if (candidate === null) return state;
  const watched = holdbackVersion !== null && [stable, holdbackVersion].includes(candidate);
  return {
    ...state,
    ...(stable === candidate && { stable: stableAtStart }),
    ...(canary === candidate && { canary: null, canaryShare: 0, holdback: 0 }),
    ...(watched && { holdback: 0, holdbackVersion: null }),
    ...(shadow === candidate && { shadow: null, shadowShare: 0 }),
  };
}

/** Whether the route gives the version anything to do: stable, canary, holdback or shadow. */
export function isRouted(route: RouteState, version: number | null): boolean {
  const { stable, canary, holdbackVersion, shadow } = route;
  return version !== null && [stable, canary, holdbackVersion, shadow].includes(version);
}

/**
 * Puts all traffic on a promoted version: as a new epoch, the locked head's route without its holdback.
 *
 * @throws Error when the candidate of the locked cycle is not the stable.
 */
export async function removeHoldback(
  tx: Transaction,
  { cycle, current, who, why }: { cycle: CycleRecord; current: Route; who: string; why: string },
): Promise<Route> {
  const { cycleId, candidate } = cycle;
  if (current.stable !== candidate) {
    const versions = `its candidate is version ${String(candidate ?? 'none')}, stable is ${String(current.stable)}`;
    throw new Error(`cycle "${cycleId}" has promoted nothing that could be settled: ${versions}`);
  }
  const next = { stable: current.stable, ...STABLE_ALONE };
  return appendRoute(tx, { current, next, salt: current.salt, cycleId, who, why });
}

export async function setStatus(
  tx: Transaction,
  { line, version, status }: { line: string; version: number; status: VersionStatus },
): Promise<void> {
  await tx.query('update versions set status = $3 where line = $1 and version = $2', [line, version, status]);
}

/** Keeps the registry's statuses in step with a change of stable; the one that leaves becomes `left`. */
export async function setStable(
  tx: Transaction,
  { line, from, to, left }: { line: string; from: number; to: number; left: VersionStatus },
): Promise<void> {
  if (from === to) return;
  await setStatus(tx, { line, version: from, status: left });
  await setStatus(tx, { line, version: to, status: 'stable' });
}
