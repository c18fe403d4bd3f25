import { sqlName, sqlText } from '../duckdb.ts';
import type { SegmentKind } from './layout.ts';

/**
 * The fixed fields of records, by column name: the SQL type, and the field in JSON. Compaction keeps these and the features: a
 * new field needs a new contract version of the manifest.
 */
export const IMPRESSION = {
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
export const FEEDBACK = {
  impression_id: ['VARCHAR', 'impressionId'],
  line: ['VARCHAR', 'line'],
  event: ['VARCHAR', 'event'],
  value: ['DOUBLE', 'value'],
  event_time_ms: ['BIGINT', 'eventTimeMs'],
  arrived_at_ms: ['BIGINT', 'arrivedAtMs'],
} as const;
export type Fields = Record<string, readonly [type: string, field: string]>;

export const FIELDS: Record<SegmentKind, Fields> = { impressions: IMPRESSION, feedback: FEEDBACK };

/** SQL that is true for a record of a compacted file that could not be read whole. */
export const TORN: Record<SegmentKind, string> = {
  impressions: anyNull('impression_id', 'line', 'user_id', 'item_id', 'event_time_ms', 'arrived_at_ms'),
  feedback: anyNull('impression_id', 'line', 'event', 'event_time_ms', 'arrived_at_ms'),
};

function anyNull(...columns: string[]): string {
  return `(${columns.map((column) => `${column} IS NULL`).join(' OR ')})`;
}

/** A relation of the records of segments; a torn or foreign line is a row of NULL. */
export function segmentRecords(segments: readonly string[], fields: Fields): string {
  const entries = Object.entries(fields);
  if (segments.length === 0) return noRecords(fields);
  const schema = entries.map(([, [type, field]]) => `${sqlName(field)}: ${sqlText(type)}`);
  const named = entries.map(([name, [, field]]) => `${sqlName(field)} AS ${name}`);
  return (
    `(SELECT ${named.join(', ')} FROM read_json([${segments.map(sqlText).join(', ')}], format = 'newline_delimited', ` +
    `ignore_errors = true, hive_partitioning = false, columns = {${schema.join(', ')}}))`
  );
}

export function noRecords(fields: Fields): string {
  const empty = Object.entries(fields).map(([name, [type]]) => `CAST(NULL AS ${type}) AS ${name}`);
  return `(SELECT ${empty.join(', ')} WHERE false)`;
}

/** The type of `features` for these names: the text of each value. */
export function featuresType(names: readonly string[]): string {
  return `STRUCT(${names.map((name) => `${sqlName(name)} VARCHAR`).join(', ')})`;
}

/** The column of a compacted file that says whether a record has features at all. */
export const HAS_FEATURES = 'has_features';

/**
 * The column of a compacted file that holds a feature. DuckDB does not tell names apart by the case of their letters, features
 * do: `Topic` is `feature:^Topic`.
 */
export function featureColumn(name: string): string {
  return `feature:${name.replaceAll(/[A-Z^]/g, (letter) => `^${letter}`)}`;
}

/** A relation of what compacted files hold, with `features` as a struct of `features` or, left out, without it. */
export function compactedRecords(
  files: readonly { path: string; features: ReadonlySet<string> }[],
  { fields, features }: { fields: Fields; features?: readonly string[] },
): string {
  const list = files.map(({ path }) => sqlText(path)).join(', ');
  const structs = features === undefined ? [] : [`${featuresOf(features, files)} AS features`];
  return `(SELECT ${[...Object.keys(fields), ...structs].join(', ')} FROM read_parquet([${list}], union_by_name = true, hive_partitioning = false))`;
}

function featuresOf(names: readonly string[], files: readonly { features: ReadonlySet<string> }[]): string {
  const values = names.map((name) => {
    const column = files.some(({ features }) => features.has(name)) ? sqlName(featureColumn(name)) : 'NULL::VARCHAR';
    return `${sqlName(name)} := ${column}`;
  });
  return `CASE WHEN ${HAS_FEATURES} THEN struct_pack(${values.join(', ')}) END`;
}
