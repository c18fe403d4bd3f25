import type { ArtifactInventory, StoredFile } from './artifact-inventory.ts';
import { transaction, type Database, type Queryable } from './database.ts';
import { forgetRemoved, listRemoved, recordRemoved } from './removed-artifacts.ts';
import { readOwners, type Owner } from './retention-facts.ts';
import { lockHead } from './route-head.ts';

export type { Owner, StorageKind } from './retention-facts.ts';
export { STORAGE_KINDS } from './retention-facts.ts';

/** What a running cycle just wrote is on no record yet: files younger than this never go. */
const YOUNG_MS = 86_400_000;
/** A file that nobody refers to may be of a database that is restored from a backup. */
const ORPHAN_MS = 7 * 86_400_000;
const WHY =
  'neither in use, pinned, named, among the last stables, the newest or the young versions, nor needed by one of them';

/**
 * `kept`: somebody needs it; `young`: it goes one day; `goes`; `orphan`: nobody refers to it, and `young` until it is a week old.
 */
export type Verdict = 'kept' | 'young' | 'goes' | 'orphan';

/** A file of the artifact store, and all who refer to it: it is shared by all lines. */
export interface PlannedFile extends StoredFile {
  verdict: Verdict;
  owners: Owner[];
}

/** What lies in the artifact store and what retention would do with it, across all lines. Removes nothing. */
export async function planRetention(
  { db, inventory }: { db: Queryable; inventory: ArtifactInventory },
  { nowMs = Date.now() }: { nowMs?: number } = {},
): Promise<PlannedFile[]> {
  const stored: StoredFile[] = [];
  // Before the references are read: what is put and recorded meanwhile is no file of this plan.
  for await (const file of inventory.list()) stored.push(file);
  return judge(stored, { db, nowMs });
}

async function judge(
  stored: readonly StoredFile[],
  { db, nowMs }: { db: Queryable; nowMs: number },
): Promise<PlannedFile[]> {
  const { rows } = await db.query<{ line: string }>('select line from lines order by line');
  // Of the stored files alone: most of what years of versions refer to is gone.
  const owners = new Map<string, Owner[]>(stored.map(({ name }) => [name, []]));
  for (const { line } of rows) {
    for (const { sha256, owner } of await readOwners(db, { line, nowMs })) owners.get(sha256)?.push(owner);
  }
  return stored.map((file) => {
    const of = owners.get(file.name) ?? [];
    const ageMs = nowMs - file.modifiedAt.getTime();
    if (of.some(({ keep }) => keep !== null)) return { ...file, owners: of, verdict: 'kept' };
    if (of.length === 0) return { ...file, owners: of, verdict: ageMs > ORPHAN_MS ? 'orphan' : 'young' };
    return { ...file, owners: of, verdict: ageMs > YOUNG_MS ? 'goes' : 'young' };
  });
}

export interface RetentionOptions {
  /** Only what this line refers to; what no line refers to with `orphans`. All lines when left out. */
  line?: string;
  /** Also remove what nobody refers to. */
  orphans?: boolean;
  nowMs?: number;
  /** Aborting it ends the run after the file that is being removed. */
  signal?: AbortSignal;
}

export type RetentionResult =
  | { kind: 'done'; removed: PlannedFile[]; bytes: number }
  /** Another process is at it. */
  | { kind: 'busy' };

/**
 * Removes what retention lets go of. One at a time over all processes of a database.
 *
 * A file is first recorded as removed, then looked at once more, then removed. In between it waits for whoever holds the
 * heads of the routes of the lines that refer to it. Everything that begins to use a version (a claim, a pin, an alias, a
 * rollback) holds that lock: it either is seen by the second look, and the file stays, or it finds the record. A cycle that
 * finds its parent's checkpoint recorded trains in full; a rollback to a version without its model is refused; a pin says so.
 *
 * A crash leaves at most a record of a file that is there: readers still get the file, and the next run removes it, or the
 * record if it is needed by then. A file that can not be removed keeps no other from it.
 *
 * @throws Error when files could not be removed, once all others were.
 */
export async function applyRetention(
  deps: { db: Database; inventory: ArtifactInventory },
  options: RetentionOptions = {},
): Promise<RetentionResult> {
  return alone(deps.db, () => applyAlone(deps, options));
}

async function applyAlone(
  { db, inventory }: { db: Database; inventory: ArtifactInventory },
  { line, orphans = false, nowMs = Date.now(), signal }: RetentionOptions,
): Promise<RetentionResult> {
  const plan = await planRetention({ db, inventory }, { nowMs });
  await forgetPutBack(db, plan);
  const going = plan.filter(
    ({ verdict, owners }) => verdict === 'goes' && (line === undefined || owners.some((owner) => owner.line === line)),
  );
  const lost = orphans ? plan.filter(({ verdict }) => verdict === 'orphan') : [];
  if (going.length + lost.length === 0) return { kind: 'done', removed: [], bytes: 0 };
  await recordRemoved(
    db,
    going.map((file) => recordOf(file, line)),
  );
  const removed: PlannedFile[] = [];
  try {
    for (const owner of new Set(going.flatMap(({ owners }) => owners.map((of) => of.line)))) {
      await transaction(db, (tx) => lockHead(tx, owner));
    }
    const again = await judge([...going, ...lost], { db, nowMs });
    await removeAll(inventory, again, { nowMs, signal, onRemoved: (file) => removed.push(file) });
  } finally {
    const gone = new Set(removed.map(({ name }) => name));
    await forgetRemoved(
      db,
      going.flatMap(({ name }) => (gone.has(name) ? [] : [name])),
    );
  }
  return { kind: 'done', removed, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0) };
}

async function removeAll(
  inventory: ArtifactInventory,
  files: readonly PlannedFile[],
  of: { nowMs: number; signal: AbortSignal | undefined; onRemoved: (file: PlannedFile) => void },
): Promise<void> {
  const failures: string[] = [];
  for (const file of files) {
    if (of.signal?.aborted) break;
    if (file.verdict !== 'goes' && file.verdict !== 'orphan') continue;
    const before = new Date(of.nowMs - (file.verdict === 'goes' ? YOUNG_MS : ORPHAN_MS));
    try {
      if (await inventory.remove(file.name, before)) of.onRemoved(file);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  const [first] = failures;
  if (first === undefined) return;
  const others = failures.length === 1 ? '' : ` (and ${String(failures.length - 1)} more)`;
  throw new Error(`files of the artifact store could not be removed: ${first}${others}; let this user write to it`);
}

function recordOf(
  { name, bytes, owners }: PlannedFile,
  line: string | undefined,
): Parameters<typeof recordRemoved>[1][0] {
  const first = owners.find((owner) => owner.line === line) ?? owners[0];
  if (first === undefined) throw new Error(`nobody refers to artifact ${name}`);
  const others = owners.length === 1 ? '' : ` and ${String(owners.length - 1)} more`;
  return { sha256: name, line: first.line, what: `${first.what}${others}`, bytes, why: WHY };
}

/** A file that is there and stays is not removed, whatever was recorded: it was put again, or a run was cut off. */
async function forgetPutBack(db: Queryable, plan: readonly PlannedFile[]): Promise<void> {
  const recorded = new Set((await listRemoved(db)).map(({ sha256 }) => sha256));
  if (recorded.size === 0) return;
  await forgetRemoved(
    db,
    plan.flatMap(({ name, verdict }) => (verdict !== 'goes' && recorded.has(name) ? [name] : [])),
  );
}

/** Under a lock that goes with its connection, so that a process that dies leaves none behind. */
async function alone(db: Database, work: () => Promise<RetentionResult>): Promise<RetentionResult> {
  const client = await db.connect();
  const ignore = (): void => undefined;
  client.on('error', ignore);
  let broken = false;
  try {
    const { rows } = await client.query<{ locked: boolean }>(
      `select pg_try_advisory_lock(hashtextextended('freshet retention', 0)) as locked`,
    );
    if (rows[0]?.locked !== true) return { kind: 'busy' };
    return await work();
  } catch (error) {
    broken = true;
    throw error;
  } finally {
    if (!broken) {
      await client.query(`select pg_advisory_unlock_all()`).catch(() => {
        broken = true;
      });
    }
    client.off('error', ignore);
    client.release(broken);
  }
}
