/** Which part of a source is wanted. A source may give rows around it too. */
export interface SourceRange {
  line: string;
  fromMs: number;
  toMs: number;
}

/**
 * Where impressions and feedback come from: two relations, as SQL that DuckDB can put after FROM. Rows may repeat and
 * may belong to other lines; a row that could not be read has a NULL id. Times are BIGINT Unix ms of event time, and the
 * arrival time is when readers could first see the row: a row that arrives later never changes what an earlier moment saw.
 */
export interface DataSource {
  /**
   * `impression_id, request_id, line, user_id, item_id, arm` VARCHAR, `event_time_ms, arrived_at_ms` BIGINT,
   * `position, version` INTEGER, `propensity, score` DOUBLE, and `features`, a STRUCT of the named features as VARCHAR.
   */
  impressions(range: SourceRange, features: readonly string[]): Promise<string>;
  /** `impression_id, line, event` VARCHAR, `value` DOUBLE, `event_time_ms, arrived_at_ms` BIGINT. */
  feedback(range: SourceRange): Promise<string>;
}
