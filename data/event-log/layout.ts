import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The event log's folders: `<root>/impressions/dt=2026-01-31/hour=07/<process>-<boot>-<seq>.ndjson`, `feedback/` alike,
 * partitioned by event time in UTC. `spool/<process>/` and `held/<process>/` hold the same tree of segments that readers
 * do not see. An hour that was compacted also holds `compacted-<generation>.json` and the Parquet file that it names.
 */
export const SEGMENT_KINDS = ['impressions', 'feedback'] as const;
export type SegmentKind = (typeof SEGMENT_KINDS)[number];

export const HOUR_MS = 3_600_000;
const SEGMENT_SUFFIX = '.ndjson';

/** The partition of an event time, relative to a kind's folder. @throws RangeError for a time that is no date. */
export function partitionOf(eventTimeMs: number): string {
  const iso = new Date(eventTimeMs).toISOString();
  return `dt=${iso.slice(0, 10)}/hour=${iso.slice(11, 13)}`;
}

/** One hour of one kind. */
export interface LogHour {
  kind: SegmentKind;
  startMs: number;
  folder: string;
}

/** The hours that overlap [fromMs, toMs], oldest first; also those that the log does not have. */
export function hoursBetween(input: { root: string; kind: SegmentKind; fromMs: number; toMs: number }): LogHour[] {
  const { root, kind } = input;
  const hours: LogHour[] = [];
  for (let startMs = hourOf(input.fromMs); startMs <= input.toMs; startMs += HOUR_MS) {
    hours.push({ kind, startMs, folder: join(root, kind, partitionOf(startMs)) });
  }
  return hours;
}

/** The hours that the log has, of both kinds, oldest first. */
export async function listHours(root: string): Promise<LogHour[]> {
  const hours: LogHour[] = [];
  for (const kind of SEGMENT_KINDS) {
    for (const day of await namesIn(join(root, kind))) {
      for (const hour of await namesIn(join(root, kind, day))) {
        const startMs = Date.parse(`${day.slice(3)}T${hour.slice(5)}:00:00Z`);
        // What others keep there is not ours.
        if (Number.isNaN(startMs) || partitionOf(startMs) !== `${day}/${hour}`) continue;
        hours.push({ kind, startMs, folder: join(root, kind, day, hour) });
      }
    }
  }
  return hours.sort((a, b) => a.startMs - b.startMs);
}

function hourOf(timeMs: number): number {
  return Math.floor(timeMs / HOUR_MS) * HOUR_MS;
}

export function isSegment(name: string): boolean {
  return name.endsWith(SEGMENT_SUFFIX);
}

/** Segments below a folder of the same tree, as paths relative to it, sorted. */
export async function segmentsBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const kind of SEGMENT_KINDS) {
    for (const day of await namesIn(join(folder, kind))) {
      for (const hour of await namesIn(join(folder, kind, day))) {
        const names = await namesIn(join(folder, kind, day, hour));
        found.push(...names.filter(isSegment).map((name) => join(kind, day, hour, name)));
      }
    }
  }
  return found.sort();
}

/** Names in a folder; none when it does not exist. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
