import { z } from 'zod';
import type { Duck } from '../duckdb.ts';
import { segmentRecords } from './record-sql.ts';

/** What records carry under a feature's name: an id is VARCHAR, a number (or nothing) DOUBLE. */
export type LoggedTypes = Record<string, 'VARCHAR' | 'DOUBLE'>;

/** By model line, the features that the impressions of segments carry. */
export async function featuresIn(db: Duck, segments: readonly string[]): Promise<Map<string, LoggedTypes>> {
  const records = segmentRecords(segments, {
    line: ['VARCHAR', 'line'],
    features: ['MAP(VARCHAR, JSON)', 'features'],
  });
  const found = await db.rows(
    `SELECT line, entry.key AS name, if(bool_or(json_type(entry.value) = 'VARCHAR'), 'VARCHAR', 'DOUBLE') AS type
     FROM (SELECT line, unnest(map_entries(features)) AS entry FROM ${records} WHERE line IS NOT NULL)
     GROUP BY line, name ORDER BY line, name`,
    z.object({ line: z.string(), name: z.string(), type: z.enum(['VARCHAR', 'DOUBLE']) }),
  );
  const lines = new Map<string, LoggedTypes>();
  for (const { line, name, type } of found) lines.set(line, { ...lines.get(line), [name]: type });
  return lines;
}

/** Of both: a text in either is one. */
export function mergeTypes(a: LoggedTypes, b: LoggedTypes): LoggedTypes {
  const merged = { ...a };
  for (const [name, type] of Object.entries(b)) merged[name] = merged[name] === 'VARCHAR' ? 'VARCHAR' : type;
  return merged;
}
