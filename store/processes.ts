import type { Queryable } from './database.ts';
import { unknownLine } from './lines.ts';

/** One process that routes a line. `boot` tells one life of the process from the next. */
export interface RoutingProcess {
  processId: string;
  line: string;
  boot: string;
}

export interface Confirmation {
  /** Every process seen within the last lease has reported the epoch. */
  confirmed: boolean;
  waitingFor: { processId: string; reportedEpoch: number; seenSecondsAgo: number }[];
}

/** Registers a process for a line, before it reads a route. A new boot starts from no reported epoch. */
export async function registerProcess(db: Queryable, { processId, line, boot }: RoutingProcess): Promise<void> {
  const { rowCount } = await db.query(
    `insert into routing_processes (process_id, line, boot) select $1, line, $3 from lines where line = $2
     on conflict (process_id, line) do update set seen_at = clock_timestamp(),
       registered_at = case when routing_processes.boot = excluded.boot
                            then routing_processes.registered_at else clock_timestamp() end,
       reported_epoch = case when routing_processes.boot = excluded.boot then routing_processes.reported_epoch else 0 end,
       boot = excluded.boot`,
    [processId, line, boot],
  );
  if (rowCount === 0) throw await unknownLine(db, line);
}

/**
 * Reports that no request routed under an epoch before `epoch` is open. False when this boot of the process is not
 * registered (any more): it must register again before it routes. A report never goes back.
 */
export async function reportEpoch(
  db: Queryable,
  { processId, line, boot, epoch }: RoutingProcess & { epoch: number },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update routing_processes set reported_epoch = greatest(reported_epoch, $4), seen_at = clock_timestamp()
     where process_id = $1 and line = $2 and boot = $3`,
    [processId, line, boot, epoch],
  );
  return rowCount === 1;
}

/** Says that the process is alive and routes; false when this boot of it is not registered (any more). */
export async function touchProcess(db: Queryable, { processId, line, boot }: RoutingProcess): Promise<boolean> {
  return reportEpoch(db, { processId, line, boot, epoch: 0 });
}

/** Takes a process that stopped routing off the list, so that no rollback waits for it. */
export async function removeProcess(db: Queryable, { processId, line, boot }: RoutingProcess): Promise<void> {
  await db.query('delete from routing_processes where process_id = $1 and line = $2 and boot = $3', [
    processId,
    line,
    boot,
  ]);
}

/**
 * Whether every routing process knows an epoch. A process that was not seen for `leaseMs` can no longer serve a canary or
 * a shadow: whatever lease it read has run out since. (It may still serve the stable it knew.)
 */
export async function confirmation(
  db: Queryable,
  { line, epoch, leaseMs }: { line: string; epoch: number; leaseMs: number },
): Promise<Confirmation> {
  const { rows } = await db.query<Confirmation['waitingFor'][number]>(
    `select process_id as "processId", reported_epoch as "reportedEpoch",
       extract(epoch from clock_timestamp() - seen_at)::float8 as "seenSecondsAgo"
     from routing_processes
     where line = $1 and reported_epoch < $2 and seen_at > clock_timestamp() - make_interval(secs => $3::float8 / 1000)
     order by process_id`,
    [line, epoch, leaseMs],
  );
  return { confirmed: rows.length === 0, waitingFor: rows };
}
