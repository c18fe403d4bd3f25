import {
  chooseParent,
  findContaminated,
  type Contamination,
  type Descent,
  type ParentChoice,
  type TaintedWindow,
} from '../policy/contamination.ts';
import { once } from './effects.ts';
import type { Queryable } from './database.ts';
import { INPUT_ORDER_VERSION, type CycleRecord } from './types.ts';

/** Ends the key of the effect that records what a cycle's snapshot left out. */
const LEFT_OUT = '/left-out';
const SNAPSHOT_COLUMNS = `(s.manifest->>'windowStartMs')::float8 as "fromMs", (s.manifest->>'splitMs')::float8 as "toMs",
  coalesce(e.result, '[]') as "leftOut"`;

/** The versions of a line by their descent, oldest first, and those of them that carry tainted data. */
export interface LineDescent {
  versions: Descent[];
  windows: TaintedWindow[];
  contaminated: Map<number, Contamination>;
}

/**
 * Where bad rows lie: (fromMs, toMs] of event time for each tainted snapshot of the line, oldest first. They are all fresh
 * rows of the snapshot, its holdout too: that is the data that was found bad. Rows in there must not come back as fresh
 * rows, history or replay. Not covered: rows of before the window that the snapshot took because they had come late.
 */
export async function taintedWindows(db: Queryable, line: string): Promise<TaintedWindow[]> {
  const { rows } = await db.query<TaintedWindow>(
    `select s.snapshot_id as "snapshotId", t.reason, (s.manifest->>'windowStartMs')::float8 as "fromMs",
       (s.manifest->>'cutoffMs')::float8 as "toMs"
     from taints t join snapshots s using (snapshot_id)
     where t.line = $1 and t.removed_at is null order by "fromMs", s.snapshot_id`,
    [line],
  );
  return rows;
}

/**
 * The windows that a cycle's snapshot leaves out: those of when it is first asked, so that a retry takes the same
 * snapshot. What is recorded here must be left out: a version trained on that snapshot counts as clean of them.
 */
export async function windowsToLeaveOut(
  db: Queryable,
  { line, cycleId }: { line: string; cycleId: string },
): Promise<TaintedWindow[]> {
  return once(db, `${cycleId}${LEFT_OUT}`, (tx) => taintedWindows(tx, line));
}

/** Contamination by the taints in force. */
export async function lineDescent(db: Queryable, line: string): Promise<LineDescent> {
  const windows = await taintedWindows(db, line);
  const { rows } = await db.query<DescentRow>(
    `select v.version, v.parent, v.status, v.lineage->>'snapshotId' as "snapshotId", ${SNAPSHOT_COLUMNS}
     from versions v
       left join snapshots s on s.snapshot_id = v.lineage->>'snapshotId'
       left join effects e on e.key = v.cycle_id || $2
     where v.line = $1 order by v.version`,
    [line, LEFT_OUT],
  );
  const versions = rows.map(asDescent);
  return { versions, windows, contaminated: findContaminated(versions, windows) };
}

/** The challenger of an open cycle, as the version it is going to be. */
export async function challengerDescent(
  db: Queryable,
  { cycleId, parent }: Pick<CycleRecord, 'cycleId' | 'parent'>,
): Promise<Descent> {
  const { rows } = await db.query<DescentRow>(
    `select s.snapshot_id as "snapshotId", ${SNAPSHOT_COLUMNS}
     from snapshots s left join effects e on e.key = s.cycle_id || $2
     where s.cycle_id = $1 and s.manifest->>'extends' is null order by s.created_at desc limit 1`,
    [cycleId, LEFT_OUT],
  );
  const [row] = rows;
  const challenger = { version: Infinity, parent, status: 'candidate' };
  return row === undefined
    ? { ...challenger, snapshotId: null, trainedOn: null, leftOut: [] }
    : { ...asDescent(row), ...challenger };
}

/**
 * What a cycle that finds `stable` in force trains its challenger from. The stable may be the parent whatever became of it
 * before: by itself no rollback returns to a version that was rolled back, so one that is stable again was named by a person.
 * Only lines with a taint pay for their history.
 */
export async function parentFor(
  db: Queryable,
  { line, stable }: { line: string; stable: number },
): Promise<ParentChoice> {
  const champion = stable === INPUT_ORDER_VERSION ? null : stable;
  const { rowCount } = await db.query('select from taints where line = $1 and removed_at is null limit 1', [line]);
  if (rowCount === 0) return { parent: champion, reason: null };
  const { versions, contaminated } = await lineDescent(db, line);
  return chooseParent(champion, versions, contaminated);
}

type DescentRow = Omit<Descent, 'trainedOn' | 'leftOut'> & {
  fromMs: number | null;
  toMs: number | null;
  leftOut: { snapshotId: string }[];
};

function asDescent({ fromMs, toMs, leftOut, ...version }: DescentRow): Descent {
  return {
    ...version,
    trainedOn: fromMs === null || toMs === null ? null : { fromMs, toMs },
    leftOut: leftOut.map(({ snapshotId }) => snapshotId),
  };
}
