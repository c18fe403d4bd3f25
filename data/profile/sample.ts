import type { Duck } from '../duckdb.ts';
import { compareText } from './heavy-hitters.ts';
import type { ProfileSample } from './profile.ts';
import type { Relation } from './relation.ts';

/** Of the key alone, salted so that it is independent of other samples by hashes of ids. */
const HASH = `md5_number_upper('profile ' || key)`;
const HASHES = 2 ** 64;

/** The rows with the smallest hashes of their keys; rows that share a key are ordered by their values. Rows without a key are never in it. */
export async function sampleRelation(
  db: Duck,
  input: { relation: Relation; rows: number; capacity: number },
): Promise<ProfileSample> {
  const { relation, rows, capacity } = input;
  const wanted = Math.min(rows, capacity);
  const fields = relation.columns.map(({ kind }, index) =>
    kind === 'numeric' ? `c${String(index)}` : `CAST(c${String(index)} AS VARCHAR) AS c${String(index)}`,
  );
  const ties = relation.columns.map((_, index) => `, c${String(index)} NULLS LAST`).join('');
  // Only hashes below a threshold are sorted: one that lets enough rows through, but for one time in millions.
  for (let share = (wanted + 6 * Math.sqrt(wanted) + 20) / Math.max(1, rows); ; share *= 8) {
    const threshold = share >= 1 ? '' : ` WHERE h < ${BigInt(Math.floor(share * HASHES)).toString()}::UBIGINT`;
    const reader = await db.connection.runAndReadAll(
      `SELECT * FROM (SELECT ${[`${HASH} AS h`, ...fields].join(', ')} FROM ${relation.sql} WHERE key IS NOT NULL)${threshold}
       ORDER BY h${ties} LIMIT ${String(wanted)}`,
    );
    if (reader.currentRowCount < wanted && share < 1) continue;
    const [hashes = [], ...values] = reader.getColumns();
    const sample: ProfileSample = {
      capacity,
      hashes: BigUint64Array.from(hashes as bigint[]),
      numeric: {},
      categorical: {},
    };
    relation.columns.forEach(({ name, kind }, index) => {
      const column = values[index] ?? [];
      // Plus 0: -0 sorts as 0 and must be it.
      if (kind === 'numeric') sample.numeric[name] = Float64Array.from(column, (found) => Number(found ?? NaN) + 0);
      else sample.categorical[name] = column as (string | null)[];
    });
    return sample;
  }
}

/** The sample of the union, with the columns that all have. */
export function mergeSamples(samples: readonly ProfileSample[], columns: ReadonlySet<string>): ProfileSample {
  const capacity = Math.min(...samples.map((sample) => sample.capacity));
  const names = [...columns].sort();
  let rows: Row[] = [];
  for (const sample of samples) rows = smallest({ rows, more: rowsOf(sample), names, capacity });
  const merged: ProfileSample = {
    capacity,
    hashes: BigUint64Array.from(rows, ({ sample, index }) => sample.hashes[index] ?? 0n),
    numeric: {},
    categorical: {},
  };
  const [first] = samples;
  for (const name of names) {
    if (first?.numeric[name] !== undefined)
      merged.numeric[name] = Float64Array.from(rows, ({ sample, index }) => sample.numeric[name]?.[index] ?? NaN);
    else merged.categorical[name] = rows.map(({ sample, index }) => sample.categorical[name]?.[index] ?? null);
  }
  return merged;
}

interface Row {
  sample: ProfileSample;
  index: number;
}

function rowsOf(sample: ProfileSample): Row[] {
  return Array.from(sample.hashes, (_, index) => ({ sample, index }));
}

/** Merges two lists that are in order. */
function smallest(input: { rows: Row[]; more: Row[]; names: string[]; capacity: number }): Row[] {
  const { rows, more, names, capacity } = input;
  const merged: Row[] = [];
  for (let i = 0, j = 0; merged.length < capacity;) {
    const a = rows[i];
    const b = more[j];
    if (a === undefined && b === undefined) break;
    if (b === undefined || (a !== undefined && compareRows(a, b, names) <= 0)) {
      if (a !== undefined) merged.push(a);
      i++;
    } else {
      merged.push(b);
      j++;
    }
  }
  return merged;
}

function compareRows(a: Row, b: Row, names: string[]): number {
  const hashA = a.sample.hashes[a.index] ?? 0n;
  const hashB = b.sample.hashes[b.index] ?? 0n;
  if (hashA !== hashB) return hashA < hashB ? -1 : 1;
  for (const name of names) {
    const order =
      compareNumbers(a.sample.numeric[name]?.[a.index], b.sample.numeric[name]?.[b.index]) ||
      compareTexts(a.sample.categorical[name]?.[a.index], b.sample.categorical[name]?.[b.index]);
    if (order !== 0) return order;
  }
  return 0;
}

function compareNumbers(a = Number.NaN, b = Number.NaN): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a - b;
}

function compareTexts(a: string | null = null, b: string | null = null): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return compareText(a, b);
}
