import { z } from 'zod';
import type { Duck } from '../duckdb.ts';
import type { CategoricalProfile } from './profile.ts';
import type { Relation } from './relation.ts';

/** Values kept with their counts. */
export const HEAVY = 1_000;
/** Distinct values that are counted at a time, which bounds the memory; more take several passes over the column. */
const AT_A_TIME = 1_000_000;

export type HeavyHitters = Pick<CategoricalProfile, 'heavy' | 'heavyError'>;

/**
 * The most frequent values of a column with their exact counts.
 *
 * @param input.distinct about how many values there are.
 */
export async function heavyHitters(
  db: Duck,
  input: { relation: Relation; field: string; distinct: number },
): Promise<HeavyHitters> {
  const bits = Math.max(0, Math.ceil(Math.log2(input.distinct / AT_A_TIME)));
  const counts: [string, number][] = [];
  for (let part = 0; part < 2 ** bits; part++) {
    const within = bits === 0 ? '' : ` AND hash(${input.field}) >> ${String(64 - bits)} = ${String(part)}`;
    const rows = await db.rows(
      `SELECT CAST(${input.field} AS VARCHAR) AS value, count(*) AS n FROM ${input.relation.sql}
       WHERE ${input.field} IS NOT NULL${within} GROUP BY ${input.field} ORDER BY n DESC, value LIMIT ${String(HEAVY + 1)}`,
      z.object({ value: z.string(), n: z.number().int() }),
    );
    counts.push(...rows.map(({ value, n }): [string, number] => [value, n]));
  }
  return cut(counts);
}

/** Of the union. A value that a list lacks may have occurred up to its error there: that error moves into the result's. */
export function mergeHeavyHitters(lists: readonly HeavyHitters[]): HeavyHitters {
  const error = lists.reduce((sum, { heavyError }) => sum + heavyError, 0);
  const merged = new Map<string, { count: number; missed: number }>();
  for (const { heavy, heavyError } of lists) {
    for (const [value, count] of heavy) {
      const entry = merged.get(value) ?? { count: 0, missed: error };
      merged.set(value, { count: entry.count + count, missed: entry.missed - heavyError });
    }
  }
  const { heavy } = cut([...merged].map(([value, { count }]) => [value, count]));
  const kept = new Set(heavy.map(([value]) => value));
  let heavyError = error;
  for (const [value, { count, missed }] of merged)
    if (!kept.has(value)) heavyError = Math.max(heavyError, count + missed);
  return { heavy, heavyError };
}

function cut(counts: [string, number][]): HeavyHitters {
  counts.sort(([a, countA], [b, countB]) => countB - countA || compareText(a, b));
  return { heavy: counts.slice(0, HEAVY), heavyError: counts[HEAVY]?.[1] ?? 0 };
}

/** UTF-8 order, which is DuckDB's. */
export function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
