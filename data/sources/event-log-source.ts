import { sqlName, sqlText } from '../duckdb.ts';
import { listSegments, type SegmentKind } from '../event-log/layout.ts';
import type { DataSource, SourceRange } from './data-source.ts';

/** The published segments of an event log. A torn or foreign line becomes a row with a NULL id. */
export function eventLogSource(options: { root: string }): DataSource {
  const relation = async (
    kind: SegmentKind,
    range: SourceRange,
    columns: Record<string, [type: string, json: string]>,
  ): Promise<string> => {
    const segments = await listSegments({ root: options.root, kind, fromMs: range.fromMs, toMs: range.toMs });
    const entries = Object.entries(columns);
    if (segments.length === 0) {
      const empty = entries.map(([name, [type]]) => `CAST(NULL AS ${type}) AS ${name}`);
      return `(SELECT ${empty.join(', ')} WHERE false)`;
    }
    const schema = entries.map(([, [type, json]]) => `${sqlName(json)}: ${sqlText(type)}`);
    const named = entries.map(([name, [, json]]) => `${sqlName(json)} AS ${name}`);
    return (
      `(SELECT ${named.join(', ')} FROM read_json([${segments.map(sqlText).join(', ')}], format = 'newline_delimited', ` +
      `ignore_errors = true, hive_partitioning = false, columns = {${schema.join(', ')}}))`
    );
  };
  return {
    impressions: (range, features) =>
      relation('impressions', range, {
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
        features: [`STRUCT(${features.map((name) => `${sqlName(name)} VARCHAR`).join(', ')})`, 'features'],
      }),
    feedback: (range) =>
      relation('feedback', range, {
        impression_id: ['VARCHAR', 'impressionId'],
        line: ['VARCHAR', 'line'],
        event: ['VARCHAR', 'event'],
        value: ['DOUBLE', 'value'],
        event_time_ms: ['BIGINT', 'eventTimeMs'],
        arrived_at_ms: ['BIGINT', 'arrivedAtMs'],
      }),
  };
}
