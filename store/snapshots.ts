import { onlyRow, type Queryable } from './database.ts';

/** A snapshot as it is recorded; its files and its manifest are in the artifact store. The reader parses the JSON. */
export interface SnapshotRecord {
  snapshotId: string;
  line: string;
  cycleId: string;
  manifest: unknown;
  /** The report of the checks; null until they ran. */
  report: unknown;
  createdAt: Date;
}

/** Records a snapshot. Snapshots are immutable: recording one again changes nothing. */
export async function saveSnapshot(
  db: Queryable,
  { snapshotId, line, cycleId, manifest }: Omit<SnapshotRecord, 'report' | 'createdAt'>,
): Promise<void> {
  await db.query(
    `insert into snapshots (snapshot_id, line, cycle_id, manifest) values ($1, $2, $3, $4)
     on conflict (snapshot_id) do nothing`,
    [snapshotId, line, cycleId, JSON.stringify(manifest)],
  );
}

/** Records what the checks found; checking again replaces it. */
export async function saveReport(
  db: Queryable,
  { snapshotId, report }: { snapshotId: string; report: unknown },
): Promise<void> {
  const { rowCount } = await db.query('update snapshots set report = $2 where snapshot_id = $1', [
    snapshotId,
    JSON.stringify(report),
  ]);
  if (rowCount === 0) throw unknownSnapshot(snapshotId);
}

/** @throws Error when no such snapshot is recorded. */
export async function readSnapshot(db: Queryable, snapshotId: string): Promise<SnapshotRecord> {
  const { rows } = await db.query<SnapshotRecord>(
    `select snapshot_id as "snapshotId", line, cycle_id as "cycleId", manifest, report, created_at as "createdAt"
     from snapshots where snapshot_id = $1`,
    [snapshotId],
  );
  if (rows[0] === undefined) throw unknownSnapshot(snapshotId);
  return onlyRow(rows);
}

/**
 * The id of the one snapshot that begins with `prefix`.
 *
 * @throws Error when it is no beginning of an id (8 to 64 hexadecimal digits), or no snapshot or several begin so.
 */
export async function findSnapshot(db: Queryable, prefix: string): Promise<string> {
  const wanted = prefix.toLowerCase();
  if (!/^[0-9a-f]{8,64}$/.test(wanted))
    throw new Error(
      `"${prefix}" is no snapshot id: expected its 64 hexadecimal digits, or the first 8 or more of them`,
    );
  const { rows } = await db.query<{ snapshotId: string; line: string }>(
    `select snapshot_id as "snapshotId", line from snapshots where starts_with(snapshot_id, $1) order by 1 limit 6`,
    [wanted],
  );
  const [found] = rows;
  if (found === undefined)
    throw new Error(`no snapshot "${prefix}": each version's lineage names its own (freshet versions LINE --json)`);
  if (rows.length === 1) return found.snapshotId;
  const them = rows.map(({ snapshotId, line }) => `${snapshotId.slice(0, 20)} of ${line}`).join(', ');
  throw new Error(`several snapshots begin with "${prefix}" (${them}): write more digits`);
}

function unknownSnapshot(snapshotId: string): Error {
  return new Error(`no snapshot "${snapshotId}" is recorded: a snapshot is saved before it is checked or trained on`);
}

/** Fresh window of a snapshot that passed its checks, from its source's first event on; Unix ms of event time. */
export interface PassedSnapshot {
  snapshotId: string;
  windowStartMs: number;
  cutoffMs: number;
}

/**
 * A line's snapshots that passed their checks, are not tainted and end before an event time, newest first. Those that only
 * extended a holdout are left out: their rows are in the next one.
 *
 * @param input.limit bounds what is read: cycles of a week and more.
 */
export async function passedSnapshots(
  db: Queryable,
  { line, beforeMs, limit = 500 }: { line: string; beforeMs: number; limit?: number },
): Promise<PassedSnapshot[]> {
  const { rows } = await db.query<PassedSnapshot>(
    `select snapshot_id as "snapshotId", (manifest->>'cutoffMs')::bigint as "cutoffMs",
       greatest((manifest->>'windowStartMs')::bigint, (manifest->'source'->>'firstEventMs')::bigint) as "windowStartMs"
     from snapshots
     where line = $1 and report->>'verdict' = 'pass' and manifest->>'extends' is null and (manifest->>'cutoffMs')::bigint < $2
       and not exists (select from taints t where t.snapshot_id = snapshots.snapshot_id and t.removed_at is null)
     order by (manifest->>'cutoffMs')::bigint desc, snapshot_id limit $3`,
    [line, beforeMs, limit],
  );
  return rows;
}

/** A snapshot in a list. */
export interface SnapshotSummary extends PassedSnapshot {
  cycleId: string;
  verdict: 'pass' | 'block' | null;
  /** Codes of the checks that blocked it. */
  blocking: string[];
  createdAt: Date;
}

/** A line's snapshots, newest first. */
export async function listSnapshots(
  db: Queryable,
  { line, limit }: { line: string; limit: number },
): Promise<SnapshotSummary[]> {
  const { rows } = await db.query<SnapshotSummary>(
    `select snapshot_id as "snapshotId", cycle_id as "cycleId", (manifest->>'windowStartMs')::bigint as "windowStartMs",
       (manifest->>'cutoffMs')::bigint as "cutoffMs", report->>'verdict' as verdict, created_at as "createdAt",
       array(select result->>'check' from jsonb_array_elements(report->'results') result
             where result->>'status' = 'block') as blocking
     from snapshots where line = $1 order by created_at desc, snapshot_id limit $2`,
    [line, limit],
  );
  return rows;
}
