import { z } from 'zod';
import type { Duck } from '../duckdb.ts';
import type { NumericProfile } from './profile.ts';
import { columnsOf, type Relation } from './relation.ts';

export type Moments = Omit<NumericProfile, 'kind' | 'missing' | 'distinct'>;

/** How many rows there are, their times, and the number of values of each column (in order of the relation). */
export interface Counts {
  rows: number;
  fromMs: number | null;
  toMs: number | null;
  counts: number[];
  /** Of the numeric columns, by name. */
  ranges: Map<string, { zeros: number; min: number | null; max: number | null }>;
}

const int = z.number().int();
const value = z.number().nullable();

/** Counts and ranges of all columns in one pass. */
export async function countValues(db: Duck, relation: Relation): Promise<Counts> {
  const numeric = columnsOf(relation, 'numeric');
  const row = await db.row(
    `SELECT count(*) AS total, min(time) AS from_ms, max(time) AS to_ms${relation.columns.map((_, index) => `, count(c${String(index)}) AS n${String(index)}`).join('')}${numeric
      .map(
        ({ field }) =>
          `, count(*) FILTER (${field} = 0) AS zeros_${field}, min(${field}) AS min_${field}, max(${field}) AS max_${field}`,
      )
      .join('')}
     FROM ${relation.sql}`,
    z.record(z.string(), value),
  );
  const at = (name: string): number | null => {
    const found = row[name] ?? null;
    // Which of 0 and -0 is the smallest depends on the order.
    return found === 0 ? 0 : found;
  };
  return {
    rows: int.parse(at('total')),
    fromMs: at('from_ms'),
    toMs: at('to_ms'),
    counts: relation.columns.map((_, index) => int.parse(at(`n${String(index)}`))),
    ranges: new Map(
      numeric.map(({ name, field }) => [
        name,
        { zeros: int.parse(at(`zeros_${field}`)), min: at(`min_${field}`), max: at(`max_${field}`) },
      ]),
    ),
  };
}

/**
 * Mean and sum of squared deviations of all numeric columns in one pass. Sums of doubles depend on their order, and with it
 * on threads and files; so distances from a centre are added as integers of 53 bits, scaled by the widest of them.
 *
 * @param centres by name, some value near each column's mean.
 */
export async function sumMoments(
  db: Duck,
  input: { relation: Relation; counts: Counts; centres: ReadonlyMap<string, number> },
): Promise<Map<string, Pick<Moments, 'mean' | 'm2'>>> {
  const { relation, counts, centres } = input;
  const scales = columnsOf(relation, 'numeric').flatMap(({ name, field }) => {
    const { min = null, max = null } = counts.ranges.get(name) ?? {};
    return min === null || max === null
      ? []
      : [{ name, field, min, max, ...scaleOf({ min, max, centre: centres.get(name) ?? min }) }];
  });
  if (scales.length === 0) return new Map();
  const fields = scales.map(({ field, centre, scale }) => {
    const distance = `(${field} * ${sqlDouble(scale)} - ${sqlDouble(centre * scale)})`;
    const sum = (sql: string): string => `CAST(sum(CAST(${sql} * ${sqlDouble(UNIT)} AS BIGINT)) AS DOUBLE)`;
    return `count(${field}) AS n_${field}, ${sum(distance)} AS first_${field}, ${sum(`${distance} * ${distance}`)} AS second_${field}`;
  });
  const row = await db.row(`SELECT ${fields.join(', ')} FROM ${relation.sql}`, z.record(z.string(), z.number()));
  return new Map(
    scales.map(({ name, field, min, max, centre, scale }) => {
      const count = row[`n_${field}`] ?? 0;
      const first = (row[`first_${field}`] ?? 0) / UNIT;
      const second = (row[`second_${field}`] ?? 0) / UNIT;
      const m2 = Math.max(0, second - (first * first) / count) / scale / scale;
      const mean = Math.min(max, Math.max(min, centre + first / count / scale));
      return [name, { mean, m2: Math.min(m2, Number.MAX_VALUE) }];
    }),
  );
}

const UNIT = 2 ** 53;

/** A power of two that brings every distance from the centre into [-1, 1]. */
function scaleOf(input: { min: number; max: number; centre: number }): { centre: number; scale: number } {
  const { min, max, centre } = input;
  const half = Math.max(max / 2 - centre / 2, centre / 2 - min / 2);
  const exponent = half === 0 ? 0 : Math.max(-1_000, Math.ceil(Math.log2(half)) + 1);
  return { centre, scale: 2 ** -exponent };
}

function sqlDouble(number: number): string {
  return `(${String(number)})::DOUBLE`;
}

/** Of the union: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979). */
export function mergeMoments(a: Moments, b: Moments): Moments {
  if (a.count === 0 || b.count === 0) return momentsOf(a.count === 0 ? b : a);
  const count = a.count + b.count;
  const meanA = a.mean ?? 0;
  const delta = (b.mean ?? 0) - meanA;
  return {
    count,
    zeros: a.zeros + b.zeros,
    min: Math.min(a.min ?? Infinity, b.min ?? Infinity),
    max: Math.max(a.max ?? -Infinity, b.max ?? -Infinity),
    mean: meanA + (delta * b.count) / count,
    m2: Math.min((a.m2 ?? 0) + (b.m2 ?? 0) + ((delta * a.count) / count) * delta * b.count, Number.MAX_VALUE),
  };
}

function momentsOf({ count, zeros, min, max, mean, m2 }: Moments): Moments {
  return { count, zeros, min, max, mean, m2 };
}
