import type { Feature } from '../../config/schema.ts';
import { sqlName } from '../duckdb.ts';

/** A column to profile. */
export interface ProfileColumn {
  name: string;
  kind: 'numeric' | 'categorical';
  /** SQL expression of the value; the column of that name when left out. */
  sql?: string;
}

/** What is profiled of each snapshot besides its features. */
const OTHER_COLUMNS: readonly ProfileColumn[] = [
  { name: 'label', kind: 'numeric' },
  { name: 'score', kind: 'numeric' },
  { name: 'position', kind: 'numeric' },
  { name: 'propensity', kind: 'numeric' },
  { name: 'arrival_lag_ms', kind: 'numeric', sql: 'arrived_at_ms - event_time_ms' },
  { name: 'arm', kind: 'categorical' },
  { name: 'version', kind: 'categorical' },
  { name: 'hour_of_day', kind: 'categorical', sql: '(event_time_ms // 3600000) % 24' },
  { name: 'user_id', kind: 'categorical' },
  { name: 'item_id', kind: 'categorical' },
];

/**
 * The columns of a snapshot's profile: every feature (an id of 0 is missing), and label, score, position, propensity,
 * arrival lag, arm, version, hour of the day (UTC), user and item. A feature that has the name of a derived one
 * (`arrival_lag_ms`, `hour_of_day`) takes its place.
 */
export function profileColumns(features: readonly Feature[]): ProfileColumn[] {
  const names = new Set(features.map(({ name }) => name));
  return [
    ...features.map(({ name, kind }): ProfileColumn =>
      kind === 'numeric' ? { name, kind } : { name, kind, sql: `nullif(${sqlName(name)}, 0)` },
    ),
    ...OTHER_COLUMNS.filter(({ name }) => !names.has(name)),
  ];
}
