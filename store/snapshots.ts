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

function unknownSnapshot(snapshotId: string): Error {
  return new Error(`no snapshot "${snapshotId}" is recorded: a snapshot is saved before it is checked or trained on`);
}
