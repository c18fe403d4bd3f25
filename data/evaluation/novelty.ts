import { sqlName, type Duck } from '../duckdb.ts';
import { parquetSource } from './holdout.ts';

const COLUMN = { user: 'user_id', item: 'item_id' } as const;

/** What may be new in the holdout. */
export type Novelty = keyof typeof COLUMN;

/**
 * Table `into` with one column `v`, one row a row of the holdout in its order: `known` where its user or item is in a row of
 * the seen files, else `new`; NULL where it has none. Needs table `keys` with the holdout's `row` and that column.
 */
export async function tellNovelty(
  duck: Duck,
  { of, seen, into }: { of: Novelty; seen: readonly string[]; into: string },
): Promise<void> {
  const key = sqlName(COLUMN[of]);
  const known = sqlName(`known ${of}`);
  // The holdout's own are few; what was seen streams past them.
  await duck.run(`
    CREATE OR REPLACE TEMP TABLE ${known} AS
    SELECT DISTINCT ${key} FROM (${seen.length === 0 ? `SELECT ${key} FROM keys LIMIT 0` : seenKeys(key, seen)})
    SEMI JOIN keys USING (${key})`);
  await duck.run(`
    CREATE OR REPLACE TEMP TABLE ${into} AS
    SELECT CASE WHEN keys.${key} IS NULL THEN NULL WHEN known.${key} IS NULL THEN 'new' ELSE 'known' END AS v
    FROM keys LEFT JOIN ${known} AS known USING (${key}) ORDER BY keys.row`);
  await duck.run(`DROP TABLE ${known}`);
}

const seenKeys = (key: string, seen: readonly string[]): string =>
  `SELECT CAST(${key} AS VARCHAR) AS ${key} FROM ${parquetSource(seen)}`;
