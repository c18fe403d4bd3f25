import type { Queryable } from './database.ts';
import { unknownLine } from './lines.ts';

/** The time of the data, in Unix milliseconds: now, or wherever a replayed log stands. */
export interface EventClock {
  now(): Promise<number>;
}

export interface EventClockMapping {
  line: string;
  /** Event time at `operatingMs`, Unix milliseconds. */
  eventMs: number;
  /** Operating time, Unix milliseconds; the database's now when left out. */
  operatingMs?: number;
  /** Event milliseconds that pass in one operating millisecond: 0 stands still. */
  rate: number;
}

const OPERATING_MS = 'extract(epoch from clock_timestamp()) * 1000';

/** Drives a line's event time: event time = eventMs + (operating time - operatingMs) x rate, from now on. */
export async function setEventClock(db: Queryable, mapping: EventClockMapping): Promise<void> {
  const { line, eventMs, operatingMs, rate } = mapping;
  const { rowCount } = await db.query(
    `insert into event_clocks (line, event_ms, operating_ms, rate)
     select line, round($2::float8), round(coalesce($3::float8, ${OPERATING_MS})), $4 from lines where line = $1
     on conflict (line) do update
       set event_ms = excluded.event_ms, operating_ms = excluded.operating_ms, rate = excluded.rate`,
    [line, eventMs, operatingMs ?? null, rate],
  );
  if (rowCount === 0) throw await unknownLine(db, line);
}

/** Event time of a line now, in whole Unix milliseconds; the database's wall clock where nothing drives it. */
export async function readEventNow(db: Queryable, line: string): Promise<number> {
  const { rows } = await db.query<{ now: number }>(
    `select coalesce(c.event_ms + (${OPERATING_MS} - c.operating_ms) * c.rate, ${OPERATING_MS})::float8 as now
     from lines l left join event_clocks c using (line) where l.line = $1`,
    [line],
  );
  const [row] = rows;
  if (row === undefined) throw await unknownLine(db, line);
  return Math.round(row.now);
}

/** Event time and operating time of one moment, Unix milliseconds, and how fast event time passes. */
export interface ClockReading {
  eventMs: number;
  operatingMs: number;
  rate: number;
}

/** Both clocks of a line now; the same, at a rate of 1, where nothing drives its event time. */
export async function readClocks(db: Queryable, line: string): Promise<ClockReading> {
  const { rows } = await db.query<ClockReading>(
    `select now as "operatingMs", coalesce(c.event_ms + (now - c.operating_ms) * c.rate, now)::float8 as "eventMs",
       coalesce(c.rate, 1) as rate
     from (select (${OPERATING_MS})::float8 as now) clock, lines l left join event_clocks c using (line)
     where l.line = $1`,
    [line],
  );
  const [row] = rows;
  if (row === undefined) throw await unknownLine(db, line);
  return row;
}

/** The event clock of a line as the database keeps it. */
export function databaseEventClock(db: Queryable, line: string): EventClock {
  return { now: () => readEventNow(db, line) };
}
