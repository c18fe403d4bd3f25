import { z } from 'zod';
import { onlyRow, transaction, type Queryable, type Transaction } from './database.ts';
import { recallEffect, recordEffect } from './effects.ts';
import { readVersion } from './versions.ts';

export type DecisionKind = 'approved' | 'rejected' | 'expired' | 'aliasSet' | 'aliasRemoved' | 'pinned' | 'unpinned';

/** What a person decided about a version, or that nobody did in time (`expired`). Kept for ever. */
export interface Decision {
  id: number;
  line: string;
  version: number;
  /** The cycle that asked; null for what was decided outside of one. */
  cycleId: string | null;
  kind: DecisionKind;
  who: string;
  why: string;
  /** What they were shown (the gate's verdict), or what it was about (the alias). */
  details: Record<string, unknown>;
  at: Date;
}

export interface NewDecision extends Omit<Decision, 'id' | 'at' | 'cycleId' | 'details'> {
  cycleId?: string | null;
  details?: Record<string, unknown>;
  /** A repeated key writes nothing and returns the first decision. */
  effectKey?: string;
}

const COLUMNS = `id, line, version, cycle_id as "cycleId", kind, who, why, details, at`;
const recordedId = z.object({ decision: z.number() });

/**
 * Records a decision about a version, inside the transaction it is given if it is given one.
 *
 * @throws Error when the line has no such version, or who or why is missing.
 */
export async function recordDecision(db: Queryable, decision: NewDecision): Promise<Decision> {
  return transaction(db, async (tx) => {
    const { effectKey } = decision;
    if (effectKey === undefined) return writeDecision(tx, decision);
    const recorded = await recallEffect(tx, effectKey);
    if (recorded !== undefined) return readDecision(tx, recordedId.parse(recorded).decision);
    const written = await writeDecision(tx, decision);
    await recordEffect(tx, effectKey, { decision: written.id });
    return written;
  });
}

/** Decisions of a line, or of one of its versions, oldest first. */
export async function listDecisions(
  db: Queryable,
  { line, version }: { line: string; version?: number },
): Promise<Decision[]> {
  const { rows } = await db.query<Decision>(
    `select ${COLUMNS} from decisions where line = $1 and ($2::int is null or version = $2) order by id`,
    [line, version ?? null],
  );
  return rows;
}

async function writeDecision(tx: Transaction, decision: NewDecision): Promise<Decision> {
  const { line, version, kind, who, why, cycleId = null, details = {} } = decision;
  for (const [name, text] of Object.entries({ who, why })) {
    if (text.trim() === '')
      throw new Error(`a decision about version ${String(version)} of "${line}" needs its ${name}: it is empty`);
  }
  await readVersion(tx, { line, version });
  const { rows } = await tx.query<Decision>(
    `insert into decisions (line, version, cycle_id, kind, who, why, details) values ($1, $2, $3, $4, $5, $6, $7)
     returning ${COLUMNS}`,
    [line, version, cycleId, kind, who, why, JSON.stringify(details)],
  );
  return onlyRow(rows);
}

async function readDecision(tx: Transaction, id: number): Promise<Decision> {
  return onlyRow((await tx.query<Decision>(`select ${COLUMNS} from decisions where id = $1`, [id])).rows);
}
