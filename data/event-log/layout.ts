import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The event log's folders: `<root>/impressions/dt=2026-01-31/hour=07/<process>-<boot>-<seq>.ndjson`, `feedback/` alike,
 * partitioned by event time in UTC. `spool/<process>/` and `held/<process>/` hold the same tree of segments that readers
 * do not see.
 */
export const SEGMENT_KINDS = ['impressions', 'feedback'] as const;
export type SegmentKind = (typeof SEGMENT_KINDS)[number];

const HOUR_MS = 3_600_000;
const SEGMENT_SUFFIX = '.ndjson';

/** The partition of an event time, relative to a kind's folder. @throws RangeError for a time that is no date. */
export function partitionOf(eventTimeMs: number): string {
  const iso = new Date(eventTimeMs).toISOString();
  return `dt=${iso.slice(0, 10)}/hour=${iso.slice(11, 13)}`;
}

/**
 * Paths of the published segments whose partition overlaps [fromMs, toMs], sorted. Taken once, so that a reader sees one
 * state of the log however long it reads. A log that was never written is empty.
 */
export async function listSegments(input: {
  root: string;
  kind: SegmentKind;
  fromMs: number;
  toMs: number;
}): Promise<string[]> {
  const first = Math.floor(input.fromMs / HOUR_MS) * HOUR_MS;
  const segments: string[] = [];
  for (let hour = first; hour <= input.toMs; hour += HOUR_MS) {
    const folder = join(input.root, input.kind, partitionOf(hour));
    const names = await namesIn(folder);
    segments.push(...names.filter((name) => name.endsWith(SEGMENT_SUFFIX)).map((name) => join(folder, name)));
  }
  return segments.sort();
}

/** Segments below a folder of the same tree, as paths relative to it, sorted. */
export async function segmentsBelow(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const kind of SEGMENT_KINDS) {
    for (const day of await namesIn(join(folder, kind))) {
      for (const hour of await namesIn(join(folder, kind, day))) {
        const names = await namesIn(join(folder, kind, day, hour));
        found.push(...names.filter((name) => name.endsWith(SEGMENT_SUFFIX)).map((name) => join(kind, day, hour, name)));
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
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
