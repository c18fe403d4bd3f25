import type { Queryable } from './database.ts';
import type { VersionStatus } from './types.ts';

export interface StatusChange {
  /** Null: the first status on record. */
  from: VersionStatus | null;
  to: VersionStatus;
  at: Date;
}

/** From one move of the route to the next one: what a version was given. */
export interface RouteSpan {
  epoch: number;
  role: 'stable' | 'canary' | 'holdback' | 'shadow';
  /** Of 1; what a canary or the holdback of another version leaves is the stable's. */
  share: number;
  fromAt: Date;
  /** Null: in force. */
  toAt: Date | null;
  cycleId: string | null;
  who: string;
  why: string;
}

export interface VersionHistory {
  /** Oldest first. Of a version that is older than these records the first is the one it had when they began. */
  statuses: StatusChange[];
  /** Oldest first. */
  routes: RouteSpan[];
}

/** The statuses and routes that versions of a line had. A version that there is not has none. */
export async function versionHistories(
  db: Queryable,
  { line, versions }: { line: string; versions: readonly number[] },
): Promise<Map<number, VersionHistory>> {
  const histories = new Map<number, VersionHistory>(versions.map((version) => [version, { statuses: [], routes: [] }]));
  const statuses = await db.query<StatusChange & { version: number }>(
    `select version, from_status as "from", to_status as "to", at from version_history
     where line = $1 and version = any($2) order by id`,
    [line, versions],
  );
  for (const { version, ...change } of statuses.rows) histories.get(version)?.statuses.push(change);
  const routes = await db.query<RouteSpan & { version: number }>(
    `with spans as (select *, lead(at) over (order by epoch) as to_at from routes where line = $1)
     select arm.version, arm.role, arm.share, s.epoch, s.at as "fromAt", s.to_at as "toAt", s.cycle_id as "cycleId", s.who, s.why
     from spans s cross join lateral (values
       (s.stable, 'stable', 1 - s.canary_share - case when s.holdback_version is null then 0 else s.holdback end),
       (s.canary, 'canary', s.canary_share), (s.holdback_version, 'holdback', s.holdback), (s.shadow, 'shadow', s.shadow_share)
     ) arm (version, role, share)
     where arm.version = any($2) order by s.epoch`,
    [line, versions],
  );
  for (const { version, ...span } of routes.rows) histories.get(version)?.routes.push(span);
  return histories;
}

/** The history of one version. */
export async function versionHistory(
  db: Queryable,
  { line, version }: { line: string; version: number },
): Promise<VersionHistory> {
  const histories = await versionHistories(db, { line, versions: [version] });
  return histories.get(version) ?? { statuses: [], routes: [] };
}
