import { lockCycle, refuseClosed } from './cycle-rows.ts';
import { onlyRow, transaction, type Queryable, type Transaction } from './database.ts';
import { currentRoute, ROUTE_COLUMNS } from './route-head.ts';
import type { Refused, Route } from './types.ts';

export { databaseNow } from './database.ts';

export type LeaseRenewal = { kind: 'renewed'; expiresAt: Date } | Refused;

/** A route with what is left of the permission to serve its canary or shadow. */
export interface LeasedRoute {
  route: Route;
  /**
   * Milliseconds until the lease runs out, by the database's clock at the time of the query: 0 or less when it has; null
   * when the route has no lease, so that its canary and shadow must not be served.
   */
  leaseMs: number | null;
}

/**
 * Extends a cycle's lease to `leaseMs` after the start of the health check that allows it. Never shortens a lease, never
 * brings an expired one back, and refuses once the stable is another than the champion the cycle was compared with.
 *
 * @param startedAt `databaseNow` when the check began; a time ahead of the database's clock counts as now.
 */
export async function renewLease(
  db: Queryable,
  { cycleId, startedAt, leaseMs }: { cycleId: string; startedAt: Date; leaseMs: number },
): Promise<LeaseRenewal> {
  return transaction(db, async (tx): Promise<LeaseRenewal> => {
    const cycle = await lockCycle(tx, cycleId);
    const closed = refuseClosed(cycle);
    if (closed !== null) return closed;
    const { stable } = await currentRoute(tx, cycle.line);
    if (stable !== cycle.stableAtStart) return { kind: 'championChanged', champion: cycle.stableAtStart, stable };
    const { rows } = await tx.query<{ expiresAt: Date }>(
      `update leases set renewed_at = clock_timestamp(),
         expires_at = greatest(expires_at, least($2, clock_timestamp()) + make_interval(secs => $3::float8 / 1000))
       where cycle_id = $1 and expires_at > clock_timestamp() returning expires_at as "expiresAt"`,
      [cycleId, startedAt, leaseMs],
    );
    return rows[0] === undefined ? { kind: 'leaseExpired' } : { kind: 'renewed', expiresAt: onlyRow(rows).expiresAt };
  });
}

/** The routes in force with their leases, of the named lines or of all: what a gateway serves by. */
export async function leasedRoutes(db: Queryable, lines?: readonly string[]): Promise<LeasedRoute[]> {
  const { rows } = await db.query<Route & { leaseMs: number | null }>(
    `select ${ROUTE_COLUMNS}, (extract(epoch from l.expires_at - clock_timestamp()) * 1000)::float8 as "leaseMs"
     from route_heads h join routes r using (line, epoch)
     left join leases l on l.line = r.line and l.version in (r.canary, r.shadow)
     where $1::text[] is null or h.line = any($1) order by h.line`,
    [lines ?? null],
  );
  return rows.map(({ leaseMs, ...route }) => ({ route, leaseMs }));
}

/**
 * Grants the lease of a cycle whose row is locked. One that it already has is left as it is: only a health check extends
 * it. False when that one ran out.
 */
export async function grantLease(
  tx: Transaction,
  lease: { cycleId: string; line: string; version: number; leaseMs: number },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into leases (cycle_id, line, version, expires_at)
     values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4::float8 / 1000))
     on conflict (cycle_id) do nothing`,
    [lease.cycleId, lease.line, lease.version, lease.leaseMs],
  );
  return rowCount === 1 || leaseHolds(tx, lease.cycleId);
}

/** Whether the cycle has a lease that has not run out. */
export async function leaseHolds(tx: Transaction, cycleId: string): Promise<boolean> {
  const { rowCount } = await tx.query('select from leases where cycle_id = $1 and expires_at > clock_timestamp()', [
    cycleId,
  ]);
  return rowCount === 1;
}

/** Gives back a lease that still holds. One that ran out stays, so that no later move of the cycle gets another. */
export async function giveBackLease(tx: Transaction, cycleId: string): Promise<void> {
  await tx.query('delete from leases where cycle_id = $1 and expires_at > clock_timestamp()', [cycleId]);
}

/** Ends the lease of a cycle that closes. */
export async function endLease(tx: Transaction, cycleId: string): Promise<void> {
  await tx.query('delete from leases where cycle_id = $1', [cycleId]);
}
