import type { Logger } from 'pino';
import { compactHour, hoursToCompact } from '../data/event-log/compaction.ts';
import { removeReplaced } from '../data/event-log/replaced-files.ts';
import { applyLogRetention, planLogRetention, type LineOfLog } from '../data/event-log/retention.ts';
import type { LogHour } from '../data/event-log/layout.ts';
import type { Database } from '../store/database.ts';
import { readEventNow } from '../store/event-clock.ts';
import { listLines } from '../store/lines.ts';
import { startRepeating, type Beat, type RepeatingTimes } from './repeating.ts';

/** Milliseconds. */
export interface LogKeepingSettings {
  /** An hour is compacted when nothing came for so long. */
  quietMs: number;
  /** What a compaction replaced is deleted so long after it. */
  graceMs: number;
  /** Rows are kept at least so long, by event time. */
  keepMs: number;
}

/** An hour is due ten minutes after its last segment at the earliest: looking twice in that time is often enough. */
const BEAT: Beat = { everyMs: 300_000, firstAfterMs: { least: 30_000, spread: 120_000 } };

interface Keeping {
  db: Database;
  root: string;
  settings: LogKeepingSettings;
  logger: Logger;
}

/**
 * Keeps the event log until stopped: compacts the hours that are over, deletes what that replaced, and removes what no line
 * can read any more. What fails is logged and tried again in the next round; what another worker is doing is left to it.
 */
export function startLogKeeping({ db, root, settings, logger, ...times }: Keeping & RepeatingTimes): {
  stop: () => Promise<void>;
} {
  const keeping = { db, root, settings, logger };
  return startRepeating((signal) => alone(keeping, () => keepOnce(keeping, signal)), {
    ...times,
    ...{ beat: BEAT, logger },
    problem: 'the event log could not be kept, trying again in a few minutes',
  });
}

async function keepOnce(keeping: Keeping, signal: AbortSignal): Promise<void> {
  const { db, root, settings, logger } = keeping;
  for (const hour of await hoursToCompact({ root, nowMs: Date.now(), quietMs: settings.quietMs })) {
    if (signal.aborted) return;
    await compact(hour, logger);
  }
  const replaced = await removeReplaced({ root, nowMs: Date.now(), graceMs: settings.graceMs });
  if (replaced > 0) logger.info({ files: replaced }, 'deleted what compactions of the event log replaced');
  const lines = await linesOfLog(db);
  const plan = await planLogRetention({ root, lines, nowMs: Date.now(), keepMs: settings.keepMs });
  const removed = await applyLogRetention(root, plan);
  if (removed.hours > 0) logger.info(removed, 'retention removed hours of the event log');
}

/** What is wrong with one hour is no reason to leave the others. */
async function compact(hour: LogHour, logger: Logger): Promise<void> {
  const of = { kind: hour.kind, hour: new Date(hour.startMs).toISOString() };
  try {
    const result = await compactHour(hour);
    if (result.kind !== 'compacted') return;
    const { rows, torn, file } = result.manifest;
    logger.info({ ...of, segments: result.segments, rows, bytes: file.bytes }, 'compacted an hour of the event log');
    if (torn > 0) logger.warn({ ...of, torn }, 'an hour of the event log has torn records: its whole ones are kept');
  } catch (error) {
    logger.warn(
      { ...of, error: String(error) },
      'an hour of the event log could not be compacted: it is read as it is',
    );
  }
}

/** The lines that are applied, and where their event time stands. */
export async function linesOfLog(db: Database): Promise<LineOfLog[]> {
  const lines: LineOfLog[] = [];
  for (const { line, config } of await listLines(db)) lines.push({ config, eventNowMs: await readEventNow(db, line) });
  return lines;
}

/**
 * Under a lock that goes with its connection. It only saves work: two workers that compact the same hour do no harm (see
 * `compactHour`), also when the connection of one is lost while it goes on.
 */
async function alone({ db, root }: Keeping, work: () => Promise<void>): Promise<void> {
  const client = await db.connect();
  const ignore = (): void => undefined;
  client.on('error', ignore);
  try {
    const { rows } = await client.query<{ locked: boolean }>(
      'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked',
      [`freshet event log ${root}`],
    );
    if (rows[0]?.locked === true) await work();
  } finally {
    client.off('error', ignore);
    // Closed, and the lock with it.
    client.release(true);
  }
}
