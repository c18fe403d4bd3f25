import { snapshotArtifacts, versionArtifacts } from './artifact-references.ts';
import { recordDecision } from './decisions.ts';
import { onlyRow, transaction, type Queryable, type Transaction } from './database.ts';
import { findRemoved, type RemovedArtifact } from './removed-artifacts.ts';
import { lockHead } from './route-head.ts';
import type { VersionRecord } from './types.ts';
import { readVersion } from './versions.ts';

/** A version that keeps its artifacts whatever retention says. */
export interface Pin {
  line: string;
  version: number;
  who: string;
  why: string;
  at: Date;
}

export interface PinRequest {
  line: string;
  version: number;
  who: string;
  why: string;
}

const COLUMNS = 'line, version, who, why, at';

/**
 * Pins a version; on record as a decision. One that is pinned already stays as it is (`new` is false). Holds the lock of
 * the line's head, so that a retention that holds it too either sees the pin or was there before it.
 *
 * @returns `removed`: what retention removed before of the version's artifacts, and of those that training it again needs:
 * pinning does not bring them back.
 * @throws Error when the line has no such version.
 */
export async function pinVersion(
  db: Queryable,
  { line, version, who, why }: PinRequest,
): Promise<{ pin: Pin; new: boolean; removed: RemovedArtifact[] }> {
  return transaction(db, async (tx) => {
    await lockHead(tx, line);
    const removed = await findRemoved(tx, await neededFor(tx, await readVersion(tx, { line, version })));
    const inserted = await tx.query<Pin>(
      `insert into pins (line, version, who, why) values ($1, $2, $3, $4) on conflict do nothing returning ${COLUMNS}`,
      [line, version, who, why],
    );
    const [pin] = inserted.rows;
    if (pin === undefined) return { pin: onlyRow(await listPins(tx, { line, version })), new: false, removed };
    await recordDecision(tx, { line, version, kind: 'pinned', who, why });
    return { pin, new: true, removed };
  });
}

/**
 * Ends a pin, which is returned; on record as a decision. Retention may remove the artifacts from then on.
 *
 * @throws Error when the version is not pinned.
 */
export async function unpinVersion(db: Queryable, { line, version, who, why }: PinRequest): Promise<Pin> {
  return transaction(db, async (tx) => {
    await lockHead(tx, line);
    const { rows } = await tx.query<Pin>(`delete from pins where line = $1 and version = $2 returning ${COLUMNS}`, [
      line,
      version,
    ]);
    const [pin] = rows;
    if (pin === undefined) {
      const pinned = (await listPins(tx, { line })).map((other) => String(other.version)).join(', ');
      const others = pinned === '' ? 'none of its versions is' : `pinned are ${pinned}`;
      throw new Error(`version ${String(version)} of line "${line}" is not pinned: ${others}`);
    }
    await recordDecision(tx, { line, version, kind: 'unpinned', who, why });
    return pin;
  });
}

/** The pins of a line, or that of one of its versions, by version. */
export async function listPins(db: Queryable, { line, version }: { line: string; version?: number }): Promise<Pin[]> {
  const { rows } = await db.query<Pin>(
    `select ${COLUMNS} from pins where line = $1 and ($2::int is null or version = $2) order by version`,
    [line, version ?? null],
  );
  return rows;
}

/** Its own artifacts, its snapshot's, and the checkpoint that it was trained from. */
async function neededFor(tx: Transaction, version: VersionRecord): Promise<(string | null)[]> {
  const { line, parent, lineage } = version;
  const { rows } = await tx.query<{ snapshotId: string; manifest: unknown }>(
    'select snapshot_id as "snapshotId", manifest from snapshots where snapshot_id = $1',
    [lineage.snapshotId ?? null],
  );
  const own = [...versionArtifacts(version), ...rows.flatMap(snapshotArtifacts)].map(({ sha256 }) => sha256);
  if (parent === null || lineage.strategy === 'full') return own;
  return [...own, (await readVersion(tx, { line, version: parent })).checkpointSha256];
}
