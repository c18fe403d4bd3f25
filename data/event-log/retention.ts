import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LineConfig } from '../../config/schema.ts';
import { snapshotReach } from '../snapshot-times.ts';
import { readHour, type HourState } from './hour-state.ts';
import { HOUR_MS, listHours, namesIn, partitionOf } from './layout.ts';

/** An hour that retention may remove, and why it stays if it does. */
export interface PlannedHour {
  state: HourState;
  bytes: number;
  /** Null when it goes. */
  keep: string | null;
}

/** What a line of the log is kept for. Times are Unix ms of the line's event time. */
export interface LineOfLog {
  config: LineConfig;
  eventNowMs: number;
}

/**
 * A snapshot that is tried again reads what it read at first, and its cycle may have been waiting: a day is longer than any
 * activity goes on trying.
 */
const SLACK_MS = 86_400_000;

/**
 * Which hours retention would remove. An hour goes when, for every model line that has rows in it, it ended longer ago than
 * `keepMs` in the line's event time, and longer ago than the line's next snapshot can read: window, label maturity, season
 * and week of references, and a day. Lines that are not applied any more are kept for `keepMs` of this machine's time.
 * What is not compacted stays: it is not known whose rows are in it.
 */
export async function planLogRetention(input: {
  root: string;
  lines: readonly LineOfLog[];
  nowMs: number;
  keepMs: number;
}): Promise<PlannedHour[]> {
  const needed = new Map(input.lines.map((line) => [line.config.line, neededFrom(line, input.keepMs)]));
  const planned: PlannedHour[] = [];
  for (const hour of await listHours(input.root)) {
    const state = await readHour(hour);
    planned.push({ state, bytes: state.compacted?.file.bytes ?? 0, keep: whyKept(state, { ...input, needed }) });
  }
  return planned;
}

/** From when on a line's rows stay. */
function neededFrom({ config, eventNowMs }: LineOfLog, keepMs: number): number {
  const { reachMs } = snapshotReach(config, eventNowMs);
  return Math.min(eventNowMs - keepMs, config.source.kind === 'eventLog' ? reachMs - SLACK_MS : Infinity);
}

function whyKept(
  { hour, compacted, segments }: HourState,
  { needed, nowMs, keepMs }: { needed: ReadonlyMap<string, number>; nowMs: number; keepMs: number },
): string | null {
  if (compacted === null || segments.length > 0) return 'is not compacted yet';
  const endMs = hour.startMs + HOUR_MS;
  for (const { line, rows } of compacted.lines) {
    if (rows > 0 && endMs > (needed.get(line) ?? nowMs - keepMs))
      return needed.has(line) ? `${line} may read it` : `${line} is not applied any more, and it is young`;
  }
  if (compacted.lines.every(({ rows }) => rows === 0) && endMs > nowMs - keepMs)
    return 'has torn rows only, and is young';
  return null;
}

/** Removes the hours that a plan lets go; each disappears as a whole. Returns how many went, and their bytes. */
export async function applyLogRetention(
  root: string,
  plan: readonly PlannedHour[],
): Promise<{ hours: number; bytes: number }> {
  const aside = join(root, 'removed');
  let [hours, bytes] = [0, 0];
  for (const { state, keep, bytes: own } of plan) {
    if (keep !== null) continue;
    const { folder, kind, startMs } = state.hour;
    await mkdir(aside, { recursive: true });
    const name = `${kind}-${partitionOf(startMs).replace('/', '-')}-${randomUUID().slice(0, 8)}`;
    if (!(await moved(folder, join(aside, name)))) continue;
    await rmdir(dirname(folder)).catch(() => undefined);
    hours += 1;
    bytes += own;
  }
  // Also what an earlier run that died had moved.
  for (const name of await namesIn(aside)) await rm(join(aside, name), { recursive: true, force: true });
  return { hours, bytes };
}

/** Whether it was there. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
