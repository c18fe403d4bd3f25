import type { Feature } from '../../config/schema.ts';
import type { Duck } from '../duckdb.ts';

/** Which part of a source is wanted. A source may give rows around it too, and all that it has after `toMs`. */
export interface SourceRange {
  line: string;
  fromMs: number;
  toMs: number;
  /** Names of features that the config has dropped and the champion still takes: missing where the source has no such column. */
  dropped?: readonly string[];
}

/** How a source was read. */
export interface SourceReading {
  kind: 'eventLog' | 'lake' | 'postgres';
  /** Where it is, for messages and the manifest; without a password. */
  location: string;
  /**
   * Rows that the source says it holds in what was read, counted by other means than reading them: footers, lines,
   * `count(*)`. The snapshot fails when it has read another number.
   */
  rows: number;
  /** Columns of the impressions as the source has them, before any mapping, by name. */
  columns: { name: string; type: string }[];
}

/**
 * Where impressions and feedback come from. Times are BIGINT Unix ms of event time, and the arrival time is when readers
 * could first see the row: a row that arrives later never changes what an earlier moment saw.
 */
export interface DataSource {
  /**
   * Reads the source once, in one state, into two tables. Rows may repeat and may belong to other lines; a row that could
   * not be read has a NULL id.
   *
   * `source_rows`: `row` BIGINT, unique; `impression_id, request_id, line, user_id, item_id, arm` VARCHAR, `event_time_ms,
   * arrived_at_ms` BIGINT, `position, version` INTEGER, `propensity, score` DOUBLE, `features`, a STRUCT of the features
   * by name, each as VARCHAR (a categorical value as its 64-bit id), and `known_at_ms`, a STRUCT of BIGINT of the features
   * that declare `knownAt` (NULL where no feature does).
   *
   * `source_feedback`: `impression_id, line, event` VARCHAR, `value` DOUBLE, `event_time_ms, arrived_at_ms` BIGINT.
   *
   * @throws DataError naming the file, table or column when the source is not what the config says; Error when it can not
   * be reached now.
   */
  load(db: Duck, range: SourceRange, features: readonly Feature[]): Promise<SourceReading>;
}
