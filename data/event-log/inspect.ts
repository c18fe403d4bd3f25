import { join } from 'node:path';
import { z } from 'zod';
import { openDuckDb } from '../duckdb.ts';
import { bytesOf, sha256Of } from './compaction.ts';
import { countLines } from './count-lines.ts';
import { readHour, type HourState } from './hour-state.ts';
import { listHours, namesIn, SEGMENT_KINDS, segmentsBelow, type SegmentKind } from './layout.ts';
import { FIELDS, segmentRecords, TORN } from './record-sql.ts';

/** What the log holds of one kind. */
export interface LogAmounts {
  kind: SegmentKind;
  hours: number;
  /** Start of the oldest hour, Unix ms of event time; null without any. */
  oldestMs: number | null;
  compacted: { hours: number; rows: number; torn: number; bytes: number };
  /** Segments that are not compacted yet. */
  segments: { files: number; bytes: number };
}

export interface LogReport {
  root: string;
  kinds: LogAmounts[];
  /** Segments that readers do not see, by the process that will publish them when it starts or when the hold ends. */
  unpublished: { process: string; where: 'spool' | 'held'; files: number; bytes: number }[];
}

/** What the log holds, by what stands in manifests and folders: nothing is read. */
export async function describeLog(root: string): Promise<LogReport> {
  const states = await Promise.all((await listHours(root)).map((hour) => readHour(hour)));
  const kinds: LogAmounts[] = [];
  for (const kind of SEGMENT_KINDS) {
    const own = states.filter(
      ({ hour, compacted, segments }) => hour.kind === kind && (compacted !== null || segments.length > 0),
    );
    const manifests = own.flatMap(({ compacted }) => compacted ?? []);
    const segments = own.flatMap((state) => state.segments);
    const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
    kinds.push({
      kind,
      hours: own.length,
      oldestMs: own[0]?.hour.startMs ?? null,
      compacted: {
        hours: manifests.length,
        rows: sum(manifests.map(({ rows }) => rows)),
        torn: sum(manifests.map(({ torn }) => torn)),
        bytes: sum(manifests.map(({ file }) => file.bytes)),
      },
      segments: { files: segments.length, bytes: await bytesOf(segments) },
    });
  }
  return { root, kinds, unpublished: await unpublishedIn(root) };
}

async function unpublishedIn(root: string): Promise<LogReport['unpublished']> {
  const found: LogReport['unpublished'] = [];
  for (const where of ['spool', 'held'] as const) {
    for (const process of await namesIn(join(root, where))) {
      const folder = join(root, where, process);
      const paths = (await segmentsBelow(folder)).map((path) => join(folder, path));
      if (paths.length > 0) found.push({ process, where, files: paths.length, bytes: await bytesOf(paths) });
    }
  }
  return found;
}

/** A file that is not what it should be. */
export interface LogFinding {
  path: string;
  problem: string;
}

/**
 * Reads the whole log: segments with torn lines (published, in the spool, held), and compacted files that are not those that
 * their manifests name. A segment in the spool may be one that is being written.
 */
export async function checkLog(root: string): Promise<LogFinding[]> {
  const findings: LogFinding[] = [];
  for (const hour of await listHours(root)) {
    try {
      findings.push(...(await checkHour(await readHour(hour))));
    } catch (error) {
      findings.push({ path: hour.folder, problem: error instanceof Error ? error.message : String(error) });
    }
  }
  for (const where of ['spool', 'held']) {
    for (const process of await namesIn(join(root, where))) {
      const folder = join(root, where, process);
      for (const segment of await segmentsBelow(folder)) {
        const kind = SEGMENT_KINDS.find((name) => segment.startsWith(`${name}/`));
        if (kind !== undefined) findings.push(...(await checkSegments(kind, [join(folder, segment)])));
      }
    }
  }
  return findings;
}

async function checkHour({ hour, compacted, segments }: HourState): Promise<LogFinding[]> {
  const findings = await checkSegments(hour.kind, segments);
  if (compacted === null) return findings;
  const { path, torn, file } = compacted;
  const sha256 = await sha256Of(path).catch(() => null);
  if (sha256 === null) findings.push({ path, problem: 'is missing, and its manifest names it' });
  else if (sha256 !== file.sha256) findings.push({ path, problem: 'is not the file that its manifest names' });
  if (torn > 0) findings.push({ path, problem: `${String(torn)} torn when it was compacted` });
  return findings;
}

/** Of a group that has none it is known after one read. */
async function checkSegments(kind: SegmentKind, segments: readonly string[]): Promise<LogFinding[]> {
  if (segments.length === 0) return [];
  const torn = await tornIn(kind, segments);
  if (torn === 0) return [];
  const [only, ...others] = segments;
  if (only !== undefined && others.length === 0)
    return [{ path: only, problem: `${String(torn)} of ${String(await countLines(segments))} lines torn` }];
  const middle = Math.ceil(segments.length / 2);
  return [
    ...(await checkSegments(kind, segments.slice(0, middle))),
    ...(await checkSegments(kind, segments.slice(middle))),
  ];
}

async function tornIn(kind: SegmentKind, segments: readonly string[]): Promise<number> {
  const db = await openDuckDb();
  try {
    const { torn } = await db.row(
      `SELECT count(*) AS torn FROM ${segmentRecords(segments, FIELDS[kind])} WHERE ${TORN[kind]}`,
      z.object({ torn: z.number().int() }),
    );
    return torn;
  } finally {
    db.close();
  }
}
