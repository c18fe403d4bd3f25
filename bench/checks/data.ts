import type { Duck } from '../../data/duckdb.ts';
import { sqlText } from '../../data/duckdb.ts';
import type { ProfileColumn } from '../../data/profile/index.ts';

/** Distinct values of the categorical columns, at most. */
const CARDINALITIES = [10, 100, 1_000, 10_000, 100_000];

export const NUMERIC = Array.from({ length: 20 }, (_, index) => `n${String(index)}`);
export const CATEGORICAL = CARDINALITIES.map((_, index) => `c${String(index)}`);
export const COLUMNS: ProfileColumn[] = [
  ...NUMERIC.map((name): ProfileColumn => ({ name, kind: 'numeric' })),
  ...CATEGORICAL.map((name): ProfileColumn => ({ name, kind: 'categorical' })),
];

/** What has drifted in the current data: a mean by half a standard deviation, and how frequent the values of a column are. */
export const DRIFTED = { numeric: 'n3', categorical: 'c2' };

/**
 * Writes a Parquet file of 20 numeric and 5 categorical columns: normal, lognormal, rounded, sparse and with gaps; Unix ms;
 * skewed categories. Made from hashes of the row numbers, so that it is the same each time.
 */
export async function writeData(
  db: Duck,
  input: { path: string; rows: number; part: 'reference' | 'current' },
): Promise<void> {
  const { path, rows, part } = input;
  // One number a row and use; the hash of several arguments is not uniform enough.
  let uses = part === 'reference' ? 0 : 64;
  const uniform = (): string => `((hash(i * 128 + ${String(uses++)}) + 1) / 18446744073709551616.0)`;
  const normal = (): string => `(sqrt(-2 * ln(${uniform()})) * cos(2 * pi() * ${uniform()}))`;
  const numeric = NUMERIC.map((name, index) => `${numericColumn({ name, index, normal: normal(), part })} AS ${name}`);
  const categorical = CATEGORICAL.map((name, index) => {
    const skew = part === 'current' && name === DRIFTED.categorical ? 6 : 3;
    return `'value-' || CAST(floor(${String(CARDINALITIES[index])} * pow(${uniform()}, ${String(skew)})) AS INTEGER) AS ${name}`;
  });
  await db.run(
    `COPY (SELECT ${[...numeric, ...categorical].join(', ')} FROM range(${String(rows)}) AS t(i)) TO ${sqlText(path)} (FORMAT parquet)`,
  );
}

function numericColumn(input: { name: string; index: number; normal: string; part: string }): string {
  const { name, index, normal, part } = input;
  if (name === DRIFTED.numeric) return `CAST(${normal} + ${part === 'current' ? '0.5' : '0'} AS FLOAT)`;
  switch (index) {
    case 16:
      return `CAST(exp(${normal}) AS FLOAT)`;
    case 17:
      return `CAST(greatest(0, round(3 * ${normal})) AS FLOAT)`;
    case 18:
      return `CASE WHEN i % 20 > 0 THEN CAST(${normal} AS FLOAT) END`;
    case 19:
      return `1650000000000 + round(3600000 * ${normal})`;
    default:
      return `CAST(${normal} AS FLOAT)`;
  }
}
