import { z } from 'zod';
import type { Duck } from '../duckdb.ts';
import type { ColumnProfile } from './profile.ts';
import type { Relation } from './relation.ts';

/** Bits of a hash that choose the register, and those whose leading zeros are counted. */
const INDEX_BITS = 12;
const RANK_BITS = 64 - INDEX_BITS;
export const REGISTERS = 2 ** INDEX_BITS;

/** Tells hash functions apart: DuckDB does not promise that `hash` stays the same. */
export async function hashFingerprint(db: Duck): Promise<string> {
  const { fingerprint } = await db.row(
    `SELECT concat_ws('-', hash('short'), hash('longer than what is stored inline'), hash(0.5::DOUBLE)) AS fingerprint`,
    z.object({ fingerprint: z.string() }),
  );
  return fingerprint;
}

/**
 * Registers of a HyperLogLog sketch for each column, in order (Flajolet et al., "HyperLogLog", AofA 2007): of the hashes
 * that fall to a register, the most leading zeros plus one. Merging is a maximum.
 */
export async function distinctRegisters(db: Duck, relation: Relation): Promise<Uint8Array[]> {
  const registers = relation.columns.map(() => new Uint8Array(REGISTERS));
  if (registers.length === 0) return registers;
  // The most leading zeros are those of the smallest hash.
  const sketches = relation.columns.map(({ kind }, index) => {
    const hash = kind === 'numeric' ? `hash(c${String(index)})` : `hash(CAST(c${String(index)} AS VARCHAR))`;
    return `SELECT ${String(index)} AS sketch, CAST(h >> ${String(RANK_BITS)} AS USMALLINT) AS register,
        CAST(min(h & ${String(2 ** RANK_BITS - 1)}) AS DOUBLE) AS smallest
      FROM (SELECT ${hash} AS h FROM ${relation.sql} WHERE c${String(index)} IS NOT NULL) GROUP BY register`;
  });
  const reader = await db.connection.runAndReadAll(sketches.join(' UNION ALL '));
  const [sketch = [], register = [], smallest = []] = reader.getColumns();
  for (let row = 0; row < sketch.length; row++) {
    const target = registers[Number(sketch[row])];
    if (target !== undefined) target[Number(register[row])] = leadingZeros(Number(smallest[row])) + 1;
  }
  return registers;
}

function leadingZeros(value: number): number {
  const high = Math.floor(value / 2 ** 32);
  return high > 0 ? Math.clz32(high) - INDEX_BITS : RANK_BITS - 32 + Math.clz32(value % 2 ** 32);
}

/** The sketch of the union: the same as if its rows had been counted together. Empty when one can not be told. */
export function mergeRegisters(sketches: readonly Uint8Array[]): Uint8Array {
  if (sketches.some(({ length }) => length !== REGISTERS)) return new Uint8Array(0);
  const merged = new Uint8Array(REGISTERS);
  for (const sketch of sketches) sketch.forEach((rank, index) => (merged[index] = Math.max(merged[index] ?? 0, rank)));
  return merged;
}

/**
 * Number of distinct values. Exact when a categorical column has no more than its heavy hitters and for a constant one; else
 * estimated (standard error 1.6 %). NaN when it can not be told: merged profiles hashed with different functions.
 */
export function distinctOf(column: ColumnProfile): number {
  if (column.count === 0) return 0;
  if (column.kind === 'categorical' && column.heavyError === 0) return column.heavy.length;
  if (column.kind === 'numeric' && column.min === column.max) return 1;
  if (column.distinct.length !== REGISTERS) return Number.NaN;
  return Math.min(column.count, Math.round(estimate(column.distinct)));
}

/** Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), algorithm 6. */
function estimate(registers: Uint8Array): number {
  const counts = new Float64Array(RANK_BITS + 2);
  for (const rank of registers) counts[rank] = (counts[rank] ?? 0) + 1;
  const at = (rank: number): number => counts[rank] ?? 0;
  let z = REGISTERS * tau(1 - at(RANK_BITS + 1) / REGISTERS);
  for (let rank = RANK_BITS; rank >= 1; rank--) z = (z + at(rank)) / 2;
  z += REGISTERS * sigma(at(0) / REGISTERS);
  return REGISTERS ** 2 / (2 * Math.LN2 * z);
}

function sigma(x: number): number {
  if (x === 1) return Infinity;
  let y = 1;
  let sum = x;
  for (let before = -1, power = x; sum !== before;) {
    power *= power;
    before = sum;
    sum += power * y;
    y += y;
  }
  return sum;
}

function tau(x: number): number {
  if (x === 0 || x === 1) return 0;
  let y = 1;
  let sum = 1 - x;
  for (let before = -1, root = x; sum !== before;) {
    root = Math.sqrt(root);
    before = sum;
    y /= 2;
    sum -= (1 - root) ** 2 * y;
  }
  return sum / 3;
}
