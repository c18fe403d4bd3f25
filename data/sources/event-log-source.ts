import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import { sqlName, sqlText, type Duck } from '../duckdb.ts';
import { listSegments, type SegmentKind } from '../event-log/layout.ts';
import type { DataSource, SourceReading } from './data-source.ts';
import { sortedByName } from './source-columns.ts';
import { knownAtType } from './source-tables.ts';

/** By name: the SQL type, and the field of the record. */
const IMPRESSION = {
  impression_id: ['VARCHAR', 'impressionId'],
  request_id: ['VARCHAR', 'requestId'],
  line: ['VARCHAR', 'line'],
  user_id: ['VARCHAR', 'userId'],
  item_id: ['VARCHAR', 'itemId'],
  event_time_ms: ['BIGINT', 'eventTimeMs'],
  arrived_at_ms: ['BIGINT', 'arrivedAtMs'],
  position: ['INTEGER', 'position'],
  version: ['INTEGER', 'version'],
  arm: ['VARCHAR', 'arm'],
  propensity: ['DOUBLE', 'propensity'],
  score: ['DOUBLE', 'score'],
} as const;
const FEEDBACK = {
  impression_id: ['VARCHAR', 'impressionId'],
  line: ['VARCHAR', 'line'],
  event: ['VARCHAR', 'event'],
  value: ['DOUBLE', 'value'],
  event_time_ms: ['BIGINT', 'eventTimeMs'],
  arrived_at_ms: ['BIGINT', 'arrivedAtMs'],
} as const;
type Fields = Record<string, readonly [type: string, field: string]>;

/** Partitions of this much after the range are read too: a clock that is wrong by hours or a time zone shows as future rows. */
const AHEAD_MS = 86_400_000;
const FILES_AT_ONCE = 8;
const NEWLINE = 10;

/**
 * The published segments of an event log. A torn or foreign line becomes a row with a NULL id; the source's own count is
 * the lines of the segment files, counted byte by byte. When a feature became known is not in the log: it was fed to the
 * model, so it was known.
 */
export function eventLogSource(options: { root: string }): DataSource {
  const { root } = options;
  return {
    async load(db, range, features): Promise<SourceReading> {
      const reach = { root, fromMs: range.fromMs, toMs: range.toMs + AHEAD_MS };
      const segments = async (kind: SegmentKind): Promise<string[]> => listSegments({ ...reach, kind });
      const impressions = await segments('impressions');
      await db.run(`
        CREATE TABLE source_rows AS
        SELECT row_number() OVER () AS row, *, CAST(NULL AS ${knownAtType(features)}) AS known_at_ms
        FROM ${recordsOf(impressions, { ...IMPRESSION, features: [featuresType(features), 'features'] })}`);
      await db.run(
        `CREATE TABLE source_feedback AS SELECT * FROM ${recordsOf(await segments('feedback'), { ...FEEDBACK })}`,
      );
      return {
        kind: 'eventLog',
        location: root,
        rows: await countLines(impressions),
        columns: sortedByName(await columnsOf(db, { segments: impressions, line: range.line })),
      };
    },
  };
}

function featuresType(features: readonly Feature[]): string {
  return `STRUCT(${features.map(({ name }) => `${sqlName(name)} VARCHAR`).join(', ')})`;
}

/** A relation of a segment list's records. */
function recordsOf(segments: readonly string[], fields: Fields): string {
  const entries = Object.entries(fields);
  if (segments.length === 0) {
    const empty = entries.map(([name, [type]]) => `CAST(NULL AS ${type}) AS ${name}`);
    return `(SELECT ${empty.join(', ')} WHERE false)`;
  }
  const schema = entries.map(([, [type, field]]) => `${sqlName(field)}: ${sqlText(type)}`);
  const named = entries.map(([name, [, field]]) => `${sqlName(field)} AS ${name}`);
  return (
    `(SELECT ${named.join(', ')} FROM read_json([${segments.map(sqlText).join(', ')}], format = 'newline_delimited', ` +
    `ignore_errors = true, hive_partitioning = false, columns = {${schema.join(', ')}}))`
  );
}

/** Lines that hold anything, a last one without its end too. */
async function countLines(paths: readonly string[]): Promise<number> {
  let lines = 0;
  for (let first = 0; first < paths.length; first += FILES_AT_ONCE) {
    const some = paths.slice(first, first + FILES_AT_ONCE);
    const counts = await Promise.all(some.map(async (path) => linesIn(await readFile(path))));
    lines += counts.reduce((sum, count) => sum + count, 0);
  }
  return lines;
}

function linesIn(bytes: Buffer): number {
  let lines = 0;
  let start = 0;
  while (start < bytes.length) {
    const found = bytes.indexOf(NEWLINE, start);
    const end = found === -1 ? bytes.length : found;
    if (end > start) lines += 1;
    start = end + 1;
  }
  return lines;
}

/** The fixed fields, and the features that the line's records of its newest hour carry: an id is VARCHAR, a number DOUBLE. */
async function columnsOf(
  db: Duck,
  input: { segments: readonly string[]; line: string },
): Promise<SourceReading['columns']> {
  const fixed = Object.values(IMPRESSION).map(([type, field]) => ({ name: field, type }));
  const hours = [...new Set(input.segments.map((path) => dirname(path)))].sort().reverse();
  for (const hour of hours) {
    const segments = input.segments.filter((path) => dirname(path) === hour);
    const records = recordsOf(segments, { line: ['VARCHAR', 'line'], features: ['MAP(VARCHAR, JSON)', 'features'] });
    const found = await db.rows(
      `SELECT entry.key AS name, if(bool_or(json_type(entry.value) = 'VARCHAR'), 'VARCHAR', 'DOUBLE') AS type
       FROM (SELECT unnest(map_entries(features)) AS entry FROM ${records} WHERE line = ${sqlText(input.line)})
       GROUP BY name ORDER BY name`,
      z.object({ name: z.string(), type: z.string() }),
    );
    if (found.length > 0) return [...fixed, ...found.map(({ name, type }) => ({ name: `features.${name}`, type }))];
  }
  return fixed;
}
