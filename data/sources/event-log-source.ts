import type { Feature } from '../../config/schema.ts';
import type { Duck } from '../duckdb.ts';
import { countLines } from '../event-log/count-lines.ts';
import { readLog, type HourState } from '../event-log/hour-state.ts';
import type { SegmentKind } from '../event-log/layout.ts';
import { featuresIn, mergeTypes, type LoggedTypes } from '../event-log/logged-features.ts';
import {
  compactedRecords,
  featuresType,
  FEEDBACK,
  IMPRESSION,
  noRecords,
  segmentRecords,
} from '../event-log/record-sql.ts';
import type { DataSource, SourceReading } from './data-source.ts';
import { sortedByName } from './source-columns.ts';
import { knownAtType } from './source-tables.ts';

/** Partitions of this much after the range are read too: a clock that is wrong by hours or a time zone shows as future rows. */
const AHEAD_MS = 86_400_000;

/**
 * The published segments of an event log, and what compaction made of them: the rows are the same either way. A torn or
 * foreign line becomes a row with a NULL id; the source's own count is the lines of the segment files, counted byte by byte,
 * when they are read or when they were compacted. When a feature became known is not in the log: it was fed to the model, so
 * it was known.
 */
export function eventLogSource(options: { root: string }): DataSource {
  const { root } = options;
  return {
    async load(db, range, features): Promise<SourceReading> {
      const reach = { root, fromMs: range.fromMs, toMs: range.toMs + AHEAD_MS };
      const hours = async (kind: SegmentKind): Promise<HourState[]> => readLog({ ...reach, kind });
      const impressions = await hours('impressions');
      await db.run(`
        CREATE TABLE source_rows AS
        SELECT row_number() OVER () AS row, *, CAST(NULL AS ${knownAtType(features)}) AS known_at_ms
        FROM ${impressionsOf(impressions, features)}`);
      await db.run(`CREATE TABLE source_feedback AS SELECT * FROM ${feedbackOf(await hours('feedback'))}`);
      return {
        kind: 'eventLog',
        location: root,
        rows: await countRows(impressions),
        columns: sortedByName(await columnsOf(db, { hours: impressions, line: range.line })),
      };
    },
  };
}

function impressionsOf(hours: readonly HourState[], features: readonly Feature[]): string {
  const names = features.map(({ name }) => name);
  const segments = segmentRecords(segmentsOf(hours), { ...IMPRESSION, features: [featuresType(names), 'features'] });
  const files = compactedOf(hours).map(({ path, lines }) => ({
    path,
    features: new Set(lines.flatMap((line) => Object.keys(line.features))),
  }));
  return both(segments, files.length === 0 ? null : compactedRecords(files, { fields: IMPRESSION, features: names }));
}

function feedbackOf(hours: readonly HourState[]): string {
  const files = compactedOf(hours).map(({ path }) => ({ path, features: new Set<string>() }));
  const segments = segmentsOf(hours);
  return both(
    segments.length === 0 ? noRecords(FEEDBACK) : segmentRecords(segments, FEEDBACK),
    files.length === 0 ? null : compactedRecords(files, { fields: FEEDBACK }),
  );
}

function both(segments: string, compacted: string | null): string {
  return compacted === null ? segments : `(FROM ${segments} UNION ALL FROM ${compacted})`;
}

function segmentsOf(hours: readonly HourState[]): string[] {
  return hours.flatMap(({ segments }) => segments);
}

function compactedOf(hours: readonly HourState[]): NonNullable<HourState['compacted']>[] {
  return hours.flatMap(({ compacted }) => compacted ?? []);
}

async function countRows(hours: readonly HourState[]): Promise<number> {
  const compacted = compactedOf(hours).reduce((sum, { rows }) => sum + rows, 0);
  return compacted + (await countLines(segmentsOf(hours)));
}

/** The fixed fields, and the features that the line's records of its newest hour carry: an id is VARCHAR, a number DOUBLE. */
async function columnsOf(
  db: Duck,
  { hours, line }: { hours: readonly HourState[]; line: string },
): Promise<SourceReading['columns']> {
  const fixed = Object.values(IMPRESSION).map(([type, field]) => ({ name: field, type }));
  for (const { compacted, segments } of hours.toReversed()) {
    const known: LoggedTypes = compacted?.lines.find((found) => found.line === line)?.features ?? {};
    const added = segments.length === 0 ? {} : ((await featuresIn(db, segments)).get(line) ?? {});
    const found = Object.entries(mergeTypes(known, added));
    if (found.length > 0) return [...fixed, ...found.map(([name, type]) => ({ name: `features.${name}`, type }))];
  }
  return fixed;
}
