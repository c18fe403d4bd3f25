import type { Queryable } from './database.ts';

export interface CycleRequest {
  trigger: string;
  who: string;
  why: string;
}

/** Leaves the reason why the next cycle of `line` is started by something other than the clock. The last one counts. */
export async function requestCycle(
  db: Queryable,
  { line, request }: { line: string; request: CycleRequest },
): Promise<void> {
  await db.query(
    `insert into cycle_requests (line, trigger, who, why) values ($1, $2, $3, $4)
     on conflict (line) do update
       set trigger = excluded.trigger, who = excluded.who, why = excluded.why, at = clock_timestamp()`,
    [line, request.trigger, request.who, request.why],
  );
}

/**
 * Takes the request that started this cycle, if one was left within `freshMs`; an older one belonged to a start that
 * the schedule skipped and is dropped.
 */
export async function takeCycleRequest(
  db: Queryable,
  { line, freshMs }: { line: string; freshMs: number },
): Promise<CycleRequest | null> {
  const { rows } = await db.query<CycleRequest & { fresh: boolean }>(
    `delete from cycle_requests where line = $1
     returning trigger, who, why, at > clock_timestamp() - make_interval(secs => $2 / 1000.0) as fresh`,
    [line, freshMs],
  );
  const [row] = rows;
  return row?.fresh === true ? { trigger: row.trigger, who: row.who, why: row.why } : null;
}
