import type { SourceTimes } from '../../config/source-section.ts';
import { sqlText } from '../duckdb.ts';

/** A value of a source in SQL, and its DuckDB type. */
export interface Value {
  sql: string;
  type: string;
}

export type ValueKind = 'text' | 'integer' | 'float' | 'boolean' | 'time' | 'list' | 'other';

export function kindOf(type: string): ValueKind {
  if (type.endsWith(']')) return 'list';
  if (/^(VARCHAR|UUID|ENUM\b.*)$/.test(type)) return 'text';
  if (/^U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)$/.test(type)) return 'integer';
  if (/^(FLOAT|DOUBLE|DECIMAL\b.*)$/.test(type)) return 'float';
  if (type === 'BOOLEAN') return 'boolean';
  if (/^(TIMESTAMP|DATE)/.test(type)) return 'time';
  return 'other';
}

/** Type of the elements of a list type. */
export function elementType(type: string): string {
  return type.replace(/\[\d*\]$/, '');
}

/** SQL of a value as text; NULL where it is missing (NaN too). Floats in DuckDB's shortest form: `5.0`. */
export function textOf({ sql, type }: Value): string {
  if (type.startsWith('DECIMAL')) return `CAST(CAST(${sql} AS DOUBLE) AS VARCHAR)`;
  if (kindOf(type) === 'float') return `CASE WHEN NOT isnan(${sql}) THEN CAST(${sql} AS VARCHAR) END`;
  return `CAST(${sql} AS VARCHAR)`;
}

/** SQL of an id as text: 5.0, which is what a table of integers with gaps becomes in many tools, is 5. Empty is NULL. */
export function idOf(value: Value): string {
  const text = textOf(value);
  if (kindOf(value.type) !== 'float') return `nullif(${text}, '')`;
  return `regexp_replace(${text}, '\\.0$', '')`;
}

/** SQL of a 0 or 1; NULL where the value is missing or neither. */
export function flagOf({ sql, type }: Value): string {
  if (kindOf(type) === 'boolean') return `CAST(${sql} AS INTEGER)`;
  const text = `lower(trim(${textOf({ sql, type })}))`;
  const number = `TRY_CAST(CASE ${text} WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE ${text} END AS DOUBLE)`;
  return `CASE ${number} WHEN 0 THEN 0 WHEN 1 THEN 1 END`;
}

const UNIT_TO_MS = { ms: '', s: ' * 1000', us: ' / 1000' } as const;
/** 2000 and the end of 9999: what is outside is no time of an impression. */
const FIRST_MS = 946_684_800_000;
const LAST_MS = 253_402_300_799_999;
/** A time of day followed by Z or an offset. */
const ZONED = String.raw`:\d\d(\.\d+)? ?(Z|[+-]\d\d(:?\d\d)?)$`;

/** SQL of a time in Unix ms; NULL where the value is no time from 2000 to 9999. */
export function timeMsOf({ sql, type }: Value, times: SourceTimes): string {
  const ms = unixMs({ sql, type }, times);
  return `CASE WHEN ${ms} BETWEEN ${String(FIRST_MS)} AND ${String(LAST_MS)} THEN CAST(${ms} AS BIGINT) END`;
}

function unixMs({ sql, type }: Value, { timeUnit, timeZone }: SourceTimes): string {
  const local = (timestamp: string): string =>
    timeZone === 'UTC' ? `epoch_ms(${timestamp})` : `epoch_ms(timezone(${sqlText(timeZone)}, ${timestamp}))`;
  if (type === 'TIMESTAMP WITH TIME ZONE') return `CASE WHEN isfinite(${sql}) THEN epoch_ms(${sql}) END`;
  if (kindOf(type) === 'time') {
    const timestamp = `CAST(${sql} AS TIMESTAMP)`;
    return `CASE WHEN isfinite(${timestamp}) THEN ${local(timestamp)} END`;
  }
  if (timeUnit === 'timestamp') {
    const text = `CAST(${sql} AS VARCHAR)`;
    const zoned = `TRY_CAST(${text} AS TIMESTAMP WITH TIME ZONE)`;
    const plain = `TRY_CAST(${text} AS TIMESTAMP)`;
    return `CASE WHEN regexp_matches(${text}, ${sqlText(ZONED)}) THEN CASE WHEN isfinite(${zoned}) THEN epoch_ms(${zoned}) END WHEN isfinite(${plain}) THEN ${local(plain)} END`;
  }
  const number = `TRY_CAST(${sql} AS DOUBLE)`;
  return `CASE WHEN isfinite(${number}) THEN floor(${number}${UNIT_TO_MS[timeUnit]}) END`;
}
