import { SNAPSHOT_COLUMNS } from '../config/fields.ts';
import type { Feature } from '../config/schema.ts';
import { sqlName } from './duckdb.ts';

/** Columns that hold a value in every row. */
export const KEY_COLUMNS = ['impression_id', 'user_id', 'item_id', 'event_time_ms', 'arrived_at_ms', 'label'] as const;

/** Names and types of a snapshot's columns, in order: a categorical feature is its 64-bit id, a numeric one NULL where missing. */
export function snapshotColumns(features: readonly Feature[]): { name: string; type: string }[] {
  return [
    ...Object.entries(SNAPSHOT_COLUMNS).map(([name, type]) => ({ name, type })),
    ...features.map(({ name, kind }) => ({ name, type: kind === 'categorical' ? 'BIGINT' : 'FLOAT' })),
  ];
}

/** SQL of a feature's value from its logged text; NULL where it is missing or not a number of its kind. */
export function loggedValue(feature: Feature): string {
  const text = `features.${sqlName(feature.name)}`;
  if (feature.kind === 'categorical') return `TRY_CAST(${text} AS BIGINT)`;
  const value = `TRY_CAST(${text} AS FLOAT)`;
  return `CASE WHEN isfinite(${value}) THEN ${value} END`;
}
