import type { Contamination } from '../policy/contamination.ts';
import type { Reason } from '../policy/verdict.ts';
import { listAliases } from './aliases.ts';
import { versionArtifacts } from './artifact-references.ts';
import { listDecisions, type Decision } from './decisions.ts';
import type { Queryable } from './database.ts';
import { lineDescent } from './parents.ts';
import { listPins, type Pin } from './pins.ts';
import { findRemoved, type RemovedArtifact } from './removed-artifacts.ts';
import type { Outcome, VersionRecord } from './types.ts';
import { versionHistories, type VersionHistory } from './version-history.ts';
import { listVersions, readVersion } from './versions.ts';

/**
 * The data of a snapshot, in event time (Unix ms): fresh rows of (fromMs, splitMs] train, those up to toMs are the holdout. A
 * window that reaches back behind the source's first event begins there.
 */
export interface DataWindow {
  fromMs: number;
  splitMs: number;
  toMs: number;
}

/** All that the registry knows of a version. */
export interface VersionFacts extends VersionHistory {
  version: VersionRecord;
  /** Null where its snapshot is not on record, and for version 0. */
  window: DataWindow | null;
  /** How the cycle that made it ended; null for version 0. */
  cycle: VersionCycle | null;
  decisions: Decision[];
  aliases: string[];
  pin: Pin | null;
  /** Whether it carries data that was found bad. */
  contamination: Contamination | null;
  /** Those of its own artifacts that retention removed. */
  removed: RemovedArtifact[];
}

export interface VersionCycle {
  cycleId: string;
  trigger: string;
  startedAt: Date;
  /** Null while it runs. */
  outcome: Outcome | null;
  reasons: Reason[];
  /** Why it was not trained from the champion; null when it was. */
  parentReason: string | null;
}

/**
 * The version, its parent, and so on to the one that was trained from scratch.
 *
 * @throws Error when the line has no such version.
 */
export async function readAncestry(
  db: Queryable,
  { line, version }: { line: string; version: number },
): Promise<number[]> {
  const { rows } = await db.query<{ version: number }>(
    `with recursive ancestry as (
       select version, parent from versions where line = $1 and version = $2
       union all
       select v.version, v.parent from versions v join ancestry a on v.version = a.parent where v.line = $1)
     select version from ancestry order by version desc`,
    [line, version],
  );
  if (rows.length === 0) await readVersion(db, { line, version });
  return rows.map((row) => row.version);
}

/** The facts of versions of a line, newest first; numbers that no version has are left out. */
export async function readVersionFacts(
  db: Queryable,
  { line, versions }: { line: string; versions: readonly number[] },
): Promise<VersionFacts[]> {
  const records = await listVersions(db, line, { versions });
  const histories = await versionHistories(db, { line, versions });
  const { contaminated } = await lineDescent(db, line);
  const made = await madeBy(db, { line, versions });
  const removed = await findRemoved(
    db,
    records.flatMap((record) => versionArtifacts(record).map(({ sha256 }) => sha256)),
  );
  const [decisions, aliases, pins] = [
    await listDecisions(db, { line }),
    await listAliases(db, { line }),
    await listPins(db, { line }),
  ];
  return records.map((record) => {
    const { version } = record;
    const of = (row: { version: number }): boolean => row.version === version;
    return {
      version: record,
      ...(histories.get(version) ?? { statuses: [], routes: [] }),
      ...(made.get(version) ?? { window: null, cycle: null }),
      decisions: decisions.filter(of),
      aliases: aliases.filter(of).map(({ alias }) => alias),
      pin: pins.find(of) ?? null,
      contamination: contaminated.get(version) ?? null,
      removed: removed.filter(({ sha256 }) => versionArtifacts(record).some((artifact) => artifact.sha256 === sha256)),
    };
  });
}

async function madeBy(
  db: Queryable,
  { line, versions }: { line: string; versions: readonly number[] },
): Promise<Map<number, Pick<VersionFacts, 'window' | 'cycle'>>> {
  const { rows } = await db.query<VersionCycle & DataWindow & { version: number; known: boolean }>(
    `select v.version, c.cycle_id as "cycleId", c.trigger, c.started_at as "startedAt", c.outcome, c.reasons,
       c.parent_reason as "parentReason",
       greatest((s.manifest->>'windowStartMs')::float8, (s.manifest->'source'->>'firstEventMs')::float8) as "fromMs",
       (s.manifest->>'splitMs')::float8 as "splitMs", (s.manifest->>'cutoffMs')::float8 as "toMs",
       coalesce(s.manifest ?& array['windowStartMs', 'splitMs', 'cutoffMs'], false) as known
     from versions v join cycles c using (cycle_id) left join snapshots s on s.snapshot_id = v.lineage->>'snapshotId'
     where v.line = $1 and v.version = any($2)`,
    [line, versions],
  );
  return new Map(
    rows.map(({ version, known, fromMs, splitMs, toMs, ...cycle }) => [
      version,
      { cycle, window: known ? { fromMs, splitMs, toMs } : null },
    ]),
  );
}
