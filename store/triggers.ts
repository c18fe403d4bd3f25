import { TRIGGERS, type Trigger } from '../config/trigger-section.ts';
import { requestCycle } from './cycle-requests.ts';
import { openCycle } from './cycles.ts';
import { once } from './effects.ts';
import { onlyRow, type Queryable, type Transaction } from './database.ts';

/** What keeps triggers from asking again and again. Operating times, Unix milliseconds. */
export interface TriggerState {
  openCycle: string | null;
  lastStartMs: number | null;
  /** When each trigger last asked for a cycle. */
  firings: Partial<Record<Trigger, number>>;
}

export async function readTriggerState(db: Queryable, line: string): Promise<TriggerState> {
  const open = await openCycle(db, line);
  const firings = await db.query<{ trigger: string; firedAt: Date }>(
    `select distinct on (trigger) trigger, fired_at as "firedAt" from trigger_firings where line = $1
     order by trigger, fired_at desc`,
    [line],
  );
  const known = firings.rows.flatMap(({ trigger, firedAt }) => {
    const name = TRIGGERS.find((candidate) => candidate === trigger);
    return name === undefined ? [] : [[name, firedAt.getTime()] as const];
  });
  return {
    openCycle: open?.cycleId ?? null,
    lastStartMs: (await lastStart(db, line))?.getTime() ?? null,
    firings: Object.fromEntries(known),
  };
}

/** How far the newest snapshot of a line to train on reached, in event time, Unix ms. Null when there is none. */
export async function newestSnapshot(
  db: Queryable,
  line: string,
): Promise<{ cutoffMs: number; takenAtMs: number; maturityMs: number } | null> {
  const { rows } = await db.query<{ cutoffMs: number; takenAtMs: number; maturityMs: number }>(
    `select (manifest->>'cutoffMs')::float8 as "cutoffMs", (manifest->>'eventNowMs')::float8 as "takenAtMs",
       (manifest->>'maturityMs')::float8 as "maturityMs"
     from snapshots where line = $1 and manifest->>'extends' is null order by created_at desc limit 1`,
    [line],
  );
  return rows[0] ?? null;
}

/** When the stable version in force became it. */
export async function stableSince(db: Queryable, line: string): Promise<{ version: number; at: Date }> {
  const { rows } = await db.query<{ version: number; at: Date }>(
    `with head as (select r.line, r.epoch, r.stable from route_heads h join routes r using (line, epoch) where h.line = $1)
     select head.stable as version, first.at
     from head cross join lateral (
       select r.at from routes r where r.line = head.line and r.epoch > coalesce(
         (select max(epoch) from routes other where other.line = head.line and other.stable <> head.stable), 0)
       order by r.epoch limit 1) first`,
    [line],
  );
  return onlyRow(rows);
}

export interface FiringRequest {
  line: string;
  /** Those that ask; the first names the cycle. */
  triggers: readonly [Trigger, ...Trigger[]];
  why: string;
  /** The database's time at which the state that was decided on was read. */
  decidedAtMs: number;
  effectKey: string;
}

export type Firing = { kind: 'asked'; atMs: number } | { kind: 'overtaken'; why: string };

/**
 * Records that triggers ask for a cycle and leaves the request that the cycle takes its reason from. Not when a cycle or
 * another firing came since the decision. A repeated key returns the first answer.
 */
export async function recordFiring(db: Queryable, request: FiringRequest): Promise<Firing> {
  const { line, triggers, why, decidedAtMs, effectKey } = request;
  return once(db, effectKey, async (tx): Promise<Firing> => {
    await tx.query('select from lines where line = $1 for update', [line]);
    const overtaken = await overtakenBy(tx, line, decidedAtMs);
    if (overtaken !== null) return { kind: 'overtaken', why: overtaken };
    const { rows } = await tx.query<{ firedAt: Date }>(
      `insert into trigger_firings (line, trigger, why) select $1, unnest($2::text[]), $3 returning fired_at as "firedAt"`,
      [line, triggers, why],
    );
    await requestCycle(tx, { line, request: { trigger: triggers[0], who: 'watchTriggers', why } });
    return { kind: 'asked', atMs: Math.min(...rows.map(({ firedAt }) => firedAt.getTime())) };
  });
}

/** Whether a cycle of the line began at `sinceMs` or later. */
export async function cycleBeganSince(
  db: Queryable,
  { line, sinceMs }: { line: string; sinceMs: number },
): Promise<boolean> {
  const start = await lastStart(db, line);
  return start !== null && start.getTime() >= sinceMs;
}

async function overtakenBy(tx: Transaction, line: string, decidedAtMs: number): Promise<string | null> {
  const open = await openCycle(tx, line);
  if (open !== null) return `cycle ${open.cycleId} is running`;
  if (await cycleBeganSince(tx, { line, sinceMs: decidedAtMs })) return 'a cycle began meanwhile';
  const { rowCount } = await tx.query(
    'select from trigger_firings where line = $1 and fired_at > to_timestamp($2::float8 / 1000) limit 1',
    [line, decidedAtMs],
  );
  return rowCount === 0 ? null : 'another look at the triggers asked for a cycle meanwhile';
}

async function lastStart(db: Queryable, line: string): Promise<Date | null> {
  const { rows } = await db.query<{ at: Date | null }>('select max(started_at) as at from cycles where line = $1', [
    line,
  ]);
  return onlyRow(rows).at;
}
