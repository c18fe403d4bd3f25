import {
  chooseParent,
  describeContamination,
  findContaminated,
  type Contamination,
  type ParentChoice,
} from '../policy/contamination.ts';
import { openCycle } from './cycles.ts';
import { onlyRow, transaction, type Queryable, type Transaction } from './database.ts';
import { enqueueAlert } from './outbox.ts';
import { challengerDescent, lineDescent, type LineDescent } from './parents.ts';
import { lockHead } from './route-head.ts';
import { readSnapshot } from './snapshots.ts';
import { INPUT_ORDER_VERSION, type VersionStatus } from './types.ts';

export { taintedWindows } from './parents.ts';

/** A snapshot's data was found bad later. */
export interface Taint {
  id: number;
  snapshotId: string;
  line: string;
  reason: string;
  who: string;
  at: Date;
  /** All null while the taint is in force. */
  removedAt: Date | null;
  removedBy: string | null;
  removedReason: string | null;
}

/** What the taints in force mean for a line. */
export interface TaintImpact {
  line: string;
  stable: number;
  contaminated: (Contamination & { status: VersionStatus })[];
  /** Of a cycle that would begin now. */
  next: ParentChoice;
  /** The newest clean version that was stable before and was not rolled back; null when there is none. */
  cleanStable: number | null;
  /** The open cycle, when its parent is contaminated or its snapshot was taken before its rows were tainted. */
  runningCycle: string | null;
}

const COLUMNS = `id, snapshot_id as "snapshotId", line, reason, who, at, removed_at as "removedAt", removed_by as "removedBy",
  removed_reason as "removedReason"`;

/**
 * Marks a snapshot's data as bad: versions with it are parents no more, from the next claim of the line on. An alert is
 * left in the same transaction when the stable version or a running cycle has it. A snapshot that is tainted already
 * stays as it is (`new` is false).
 *
 * @throws Error when there is no such snapshot.
 */
export async function taintSnapshot(
  db: Queryable,
  { snapshotId, who, reason }: { snapshotId: string; who: string; reason: string },
): Promise<{ taint: Taint; new: boolean; impact: TaintImpact }> {
  return transaction(db, async (tx) => {
    const { line } = await readSnapshot(tx, snapshotId);
    // A claim of the line holds this lock, too: it has chosen its parent before this taint, or sees it.
    await lockHead(tx, line);
    const known = await taintInForce(tx, snapshotId);
    if (known !== null) return { taint: known, new: false, impact: await taintImpact(tx, line) };
    const { rows } = await tx.query<Taint>(
      `insert into taints (snapshot_id, line, reason, who) values ($1, $2, $3, $4) returning ${COLUMNS}`,
      [snapshotId, line, reason, who],
    );
    const taint = onlyRow(rows);
    const impact = await taintImpact(tx, line);
    await alertIfServing(tx, taint, impact);
    return { taint, new: true, impact };
  });
}

/**
 * Ends a taint; who, when and why are kept with it.
 *
 * @throws Error when the snapshot is not tainted.
 */
export async function removeTaint(
  db: Queryable,
  { snapshotId, who, reason }: { snapshotId: string; who: string; reason: string },
): Promise<{ taint: Taint; impact: TaintImpact }> {
  return transaction(db, async (tx) => {
    const { line } = await readSnapshot(tx, snapshotId);
    await lockHead(tx, line);
    const { rows } = await tx.query<Taint>(
      `update taints set removed_at = clock_timestamp(), removed_by = $2, removed_reason = $3
       where snapshot_id = $1 and removed_at is null returning ${COLUMNS}`,
      [snapshotId, who, reason],
    );
    const [taint] = rows;
    if (taint === undefined)
      throw new Error(
        `snapshot ${snapshotId.slice(0, 12)} of ${line} is not tainted; "freshet taint list" shows which are`,
      );
    return { taint, impact: await taintImpact(tx, line) };
  });
}

/** Taints, newest first: those in force, or with `removed` all there ever were. */
export async function listTaints(
  db: Queryable,
  { line = null, removed = false }: { line?: string | null; removed?: boolean } = {},
): Promise<Taint[]> {
  const { rows } = await db.query<Taint>(
    `select ${COLUMNS} from taints where ($1::text is null or line = $1) and ($2 or removed_at is null)
     order by at desc, id desc`,
    [line, removed],
  );
  return rows;
}

/** @throws Error when there is no such line. */
export async function taintImpact(db: Queryable, line: string): Promise<TaintImpact> {
  const descent = await lineDescent(db, line);
  const { versions, contaminated } = descent;
  const { rows } = await db.query<{ version: number; status: VersionStatus; isStable: boolean; served: boolean }>(
    `select v.version, v.status, v.version = r.stable as "isStable",
       exists (select from routes past where past.line = v.line and past.stable = v.version) as served
     from versions v join route_heads h using (line) join routes r using (line, epoch)
     where v.line = $1 order by v.version desc`,
    [line],
  );
  const statuses = new Map(rows.map(({ version, status }) => [version, status]));
  const stable = rows.find(({ isStable }) => isStable)?.version ?? INPUT_ORDER_VERSION;
  const clean = rows.find(
    ({ version, status, isStable, served }) =>
      served && !isStable && version !== INPUT_ORDER_VERSION && status !== 'rolledBack' && !contaminated.has(version),
  );
  return {
    line,
    stable,
    contaminated: [...contaminated.values()].map((found) => ({
      ...found,
      status: statuses.get(found.version) ?? 'archived',
    })),
    next: chooseParent(stable === INPUT_ORDER_VERSION ? null : stable, versions, contaminated),
    cleanStable: clean?.version ?? null,
    runningCycle: await contaminatedCycle(db, descent, line),
  };
}

async function taintInForce(tx: Transaction, snapshotId: string): Promise<Taint | null> {
  const { rows } = await tx.query<Taint>(
    `select ${COLUMNS} from taints where snapshot_id = $1 and removed_at is null`,
    [snapshotId],
  );
  return rows[0] ?? null;
}

/** The open cycle, if its challenger has the bad rows. One that has no snapshot yet leaves them out. */
async function contaminatedCycle(
  db: Queryable,
  { versions, windows }: LineDescent,
  line: string,
): Promise<string | null> {
  const open = await openCycle(db, line);
  if (open === null) return null;
  const challenger = await challengerDescent(db, open);
  return findContaminated([...versions, challenger], windows).has(challenger.version) ? open.cycleId : null;
}

async function alertIfServing(tx: Transaction, taint: Taint, impact: TaintImpact): Promise<void> {
  const { line, stable, contaminated, runningCycle, cleanStable } = impact;
  const serving = contaminated.find(({ version }) => version === stable);
  if (serving === undefined && runningCycle === null) return;
  const advice =
    serving === undefined
      ? `The running cycle ${String(runningCycle)} trains with it: freshet abort ${line} --reason "..."`
      : `Version ${String(stable)} serves and ${describeContamination(serving)}. ${rollbackAdvice(impact)}`;
  await enqueueAlert(tx, {
    dedupKey: `${line}/taint/${String(taint.id)}`,
    kind: 'taint',
    severity: 'warning',
    page: false,
    line,
    title: `${line}: ${serving === undefined ? 'a running cycle' : `stable version ${String(stable)}`} has tainted data`,
    text: `${taint.who} tainted snapshot ${taint.snapshotId.slice(0, 12)}: ${taint.reason}. ${advice}`,
    fields: {
      stable,
      snapshot: taint.snapshotId,
      contaminated: contaminated.map(({ version }) => String(version)).join(', '),
      cleanStable: cleanStable ?? 'none',
      ...(runningCycle === null ? {} : { cycle: runningCycle }),
    },
  });
}

/** What an operator does about a contaminated stable. */
export function rollbackAdvice({ line, cleanStable }: Pick<TaintImpact, 'line' | 'cleanStable'>): string {
  const rollback = (to: number): string => `freshet rollback ${line} --to ${String(to)} --reason "..."`;
  return cleanStable === null
    ? `No clean version served before: the next cycle replaces it, or "${rollback(INPUT_ORDER_VERSION)}" keeps the input's order until then.`
    : `To put back version ${String(cleanStable)}, the newest clean one that served: ${rollback(cleanStable)}`;
}
