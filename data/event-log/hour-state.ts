import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hoursBetween, isSegment, namesIn, SEGMENT_KINDS, type LogHour, type SegmentKind } from './layout.ts';
import { nameTest, segmentNamesSchema } from './segment-names.ts';

const int = z.number().int().nonnegative();

/** What a compacted hour's manifest says; `compacted-<generation>.json` beside the Parquet file. */
export const compactedHourSchema = z.object({
  contractVersion: z.literal(1),
  kind: z.enum(SEGMENT_KINDS),
  hourStartMs: z.number().int(),
  generation: int.min(1),
  compactedAt: z.string(),
  file: z.object({ name: z.string(), sha256: z.string(), bytes: int }),
  /** Lines of the segments, torn ones included: they are rows of NULL in the file. */
  rows: int,
  /** Of these, what could not be read whole. */
  torn: int,
  /** What the whole rows of each model line are, and of impressions the features that they carry. */
  lines: z.array(
    z.object({ line: z.string(), rows: int, features: z.record(z.string(), z.enum(['VARCHAR', 'DOUBLE'])) }),
  ),
  /** The segments that the file stands for: readers leave them out. */
  replaces: segmentNamesSchema,
});
export type CompactedHour = z.output<typeof compactedHourSchema>;

/** An hour of the log as readers see it: what a compaction made of it, and the segments that came since. */
export interface HourState {
  hour: LogHour;
  compacted: (CompactedHour & { path: string }) | null;
  /** Paths of the segments that no manifest names, sorted. */
  segments: string[];
}

const MANIFEST = /^compacted-(\d{8})\.json$/;

export function manifestName(generation: number): string {
  return `compacted-${String(generation).padStart(8, '0')}.json`;
}

/** The generation of a manifest's name; null for another file. */
export function generationOf(name: string): number | null {
  const [, digits] = MANIFEST.exec(name) ?? [];
  return digits === undefined ? null : Number(digits);
}

/**
 * The states of the hours that overlap [fromMs, toMs], oldest first, without those that hold nothing. Each is listed once,
 * so that a reader sees one state of an hour however long it reads: what is missing in the listing because it was replaced
 * is in the manifest, which is read after it.
 *
 * @throws Error naming the manifest when one can not be read.
 */
export async function readLog(input: {
  root: string;
  kind: SegmentKind;
  fromMs: number;
  toMs: number;
}): Promise<HourState[]> {
  const states: HourState[] = [];
  for (const hour of hoursBetween(input)) {
    const state = await readHour(hour);
    if (state.compacted !== null || state.segments.length > 0) states.push(state);
  }
  return states;
}

/** The state of one hour. @throws Error naming the manifest when it can not be read. */
export async function readHour(hour: LogHour): Promise<HourState> {
  const names = await namesIn(hour.folder);
  const segments = names.filter(isSegment).sort();
  const compacted = await newestManifest(hour, names);
  const isReplaced = compacted === null ? () => false : nameTest(compacted.replaces);
  return {
    hour,
    compacted: compacted && { ...compacted, path: join(hour.folder, compacted.file.name) },
    segments: segments.filter((name) => !isReplaced(name)).map((name) => join(hour.folder, name)),
  };
}

async function newestManifest(hour: LogHour, names: readonly string[]): Promise<CompactedHour | null> {
  const newest = Math.max(...names.map((name) => generationOf(name) ?? 0));
  if (newest < 1) return null;
  const path = join(hour.folder, manifestName(newest));
  let problem: unknown;
  try {
    const parsed = compactedHourSchema.safeParse(JSON.parse(await readFile(path, 'utf8')));
    if (parsed.success && parsed.data.kind === hour.kind && parsed.data.hourStartMs === hour.startMs)
      return parsed.data;
    const issue = parsed.error?.issues[0];
    problem = issue === undefined ? 'it is of another hour' : `${issue.path.join('.')}: ${issue.message}`;
  } catch (error) {
    problem = error instanceof Error ? error.message : error;
  }
  throw new Error(
    `the event log's ${path} can not be read (${String(problem)}): it says which segments of its hour a Parquet file has replaced. ` +
      'Put the file back from a backup; if a newer build wrote it, read the log with that build',
  );
}
