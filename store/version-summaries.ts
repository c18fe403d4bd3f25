import type { Queryable } from './database.ts';
import type { Outcome, VersionStatus } from './types.ts';

/** A version in a list: its figures without the rest of its metrics, which are large. */
export interface VersionSummary {
  version: number;
  status: VersionStatus;
  parent: number | null;
  createdAt: Date;
  /** What its trainer says it did; null for version 0. */
  strategy: string | null;
  /** What the gate said; null where no verdict is on record. */
  verdict: string | null;
  /** How its cycle ended; null while it runs, and for version 0. */
  outcome: Outcome | null;
  /** The metric that the gate compared by, and the gain over the champion in it; null without a champion. */
  metric: string | null;
  gain: { estimate: number | null; lower: number | null; upper: number | null } | null;
}

/** Versions of a line, newest first. */
export async function listVersionSummaries(
  db: Queryable,
  { line, limit }: { line: string; limit: number },
): Promise<VersionSummary[]> {
  // Evaluations of older builds have the gain in the gate's metric only.
  const { rows } = await db.query<VersionSummary>(
    `select v.version, v.status, v.parent, v.created_at as "createdAt", v.lineage->>'strategy' as strategy,
       v.metrics->'gate'->>'kind' as verdict, c.outcome, v.lineage->'config'->'gate'->>'metric' as metric,
       case when jsonb_typeof(gain.of) = 'object' then gain.of end as gain
     from versions v left join cycles c using (cycle_id)
       cross join lateral (select coalesce(
         v.metrics->'evaluation'->'overall'->'gain'->(v.lineage->'config'->'gate'->>'metric'),
         case when not v.metrics->'evaluation' ? 'overall' then v.metrics->'evaluation'->'gain' end) as of) gain
     where v.line = $1 order by v.version desc limit $2`,
    [line, limit],
  );
  return rows;
}

/** The versions that were trained on a snapshot. */
export async function versionsOfSnapshot(
  db: Queryable,
  { line, snapshotId }: { line: string; snapshotId: string },
): Promise<number[]> {
  const { rows } = await db.query<{ version: number }>(
    `select version from versions where line = $1 and lineage->>'snapshotId' = $2 order by version`,
    [line, snapshotId],
  );
  return rows.map(({ version }) => version);
}
