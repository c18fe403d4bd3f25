import { z } from 'zod';

/** A share of 1. */
export const share = z.number().min(0).max(1);
export const columnName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, 'expected a column name: letters, digits and underscores');

/** Columns of a snapshot's Parquet files with their SQL types, before one column a feature: names no feature can have. */
export const SNAPSHOT_COLUMNS = {
  impression_id: 'VARCHAR',
  request_id: 'VARCHAR',
  user_id: 'VARCHAR',
  item_id: 'VARCHAR',
  event_time_ms: 'BIGINT',
  arrived_at_ms: 'BIGINT',
  position: 'INTEGER',
  version: 'INTEGER',
  arm: 'VARCHAR',
  propensity: 'DOUBLE',
  score: 'DOUBLE',
  label: 'TINYINT',
} as const;
