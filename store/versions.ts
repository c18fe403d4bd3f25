import { z } from 'zod';
import type { Feature } from '../config/schema.ts';
import { lockCycle } from './cycle-rows.ts';
import { onlyRow, transaction, type Queryable } from './database.ts';
import { recallEffect, recordEffect } from './effects.ts';
import { lockHead } from './route-head.ts';
import type { Lineage, VersionRecord } from './types.ts';

export interface NewVersion {
  line: string;
  cycleId: string;
  effectKey: string;
  parent: number | null;
  modelSha256: string;
  checkpointSha256: string | null;
  features: readonly Feature[];
  /** Event time (Unix ms) up to which rows were trained on; the next snapshot begins here. */
  trainingCutoffMs: number;
  lineage: Lineage;
  metrics: Record<string, unknown>;
}

const COLUMNS = `line, version, status, parent, cycle_id as "cycleId", model_sha256 as "modelSha256",
  checkpoint_sha256 as "checkpointSha256", features, training_cutoff_ms as "trainingCutoffMs", lineage, metrics,
  created_at as "createdAt"`;

/**
 * Registers the next version of a line as its cycle's candidate. A cycle has one candidate; a repeated key returns the
 * version of the first call. A cycle that was closed meanwhile gets its version too, so that what was trained is on
 * record, but as `rejected`: it can not be routed.
 *
 * @throws Error when the cycle is another line's or already has a candidate, or the parent is not a version of the line.
 */
export async function createVersion(db: Queryable, version: NewVersion): Promise<VersionRecord> {
  return transaction(db, async (tx) => {
    const { line, cycleId, effectKey, parent } = version;
    const recorded = await recallEffect(tx, effectKey);
    if (recorded !== undefined) return readVersion(tx, recordedKey.parse(recorded));
    const cycle = await lockCycle(tx, cycleId);
    if (cycle.line !== line) throw new Error(`cycle "${cycleId}" is one of line "${cycle.line}", not of "${line}"`);
    if (cycle.candidate !== null) {
      throw new Error(
        `cycle "${cycleId}" already registered version ${String(cycle.candidate)}: a cycle has one candidate`,
      );
    }
    await lockHead(tx, line);
    if (parent !== null) await readVersion(tx, { line, version: parent });
    const { rows } = await tx.query<VersionRecord>(
      `insert into versions (line, version, status, parent, cycle_id, model_sha256, checkpoint_sha256, features,
         training_cutoff_ms, lineage, metrics)
       select $1, max(version) + 1, $10, $2, $3, $4, $5, $6, $7, $8, $9 from versions where line = $1
       returning ${COLUMNS}`,
      [
        ...[line, parent, cycleId, version.modelSha256, version.checkpointSha256, JSON.stringify(version.features)],
        ...[version.trainingCutoffMs, JSON.stringify(version.lineage), JSON.stringify(version.metrics)],
        cycle.outcome === null ? 'candidate' : 'rejected',
      ],
    );
    const created = onlyRow(rows);
    await tx.query('update cycles set candidate = $2 where cycle_id = $1', [cycleId, created.version]);
    await recordEffect(tx, effectKey, { line, version: created.version });
    return created;
  });
}

const recordedKey = z.object({ line: z.string(), version: z.number() });

/** @throws Error when the line has no such version. */
export async function readVersion(
  db: Queryable,
  { line, version }: { line: string; version: number },
): Promise<VersionRecord> {
  const { rows } = await db.query<VersionRecord>(`select ${COLUMNS} from versions where line = $1 and version = $2`, [
    line,
    version,
  ]);
  if (rows[0] === undefined) throw new Error(`line "${line}" has no version ${String(version)}`);
  return onlyRow(rows);
}

/**
 * Versions of a line, newest first; version 0 last. An evaluation has up to 150 kB: ask for no more than is needed.
 *
 * @param only.limit the newest ones. `only.versions`: these; numbers that no version has are left out.
 */
export async function listVersions(
  db: Queryable,
  line: string,
  { limit, versions }: { limit?: number; versions?: readonly number[] } = {},
): Promise<VersionRecord[]> {
  const { rows } = await db.query<VersionRecord>(
    `select ${COLUMNS} from versions where line = $1 and ($2::int[] is null or version = any($2))
     order by version desc limit $3`,
    [line, versions ?? null, limit ?? null],
  );
  return rows;
}
