import { z } from 'zod';
import type { EvaluationConfig } from '../../config/schema.ts';
import type { FeatureHash } from '../../features/feature-id.ts';
import { sqlText, type Duck } from '../duckdb.ts';

/** Rows whose value is not told apart from others, and rows without a value. */
export const OTHER = 'other';
export const MISSING = 'missing';

/** Values of more are told apart by their first characters only. */
const MAX_TEXT = 100;

export type SliceKind = 'boolean' | 'number' | 'id' | 'text';

/** Values that a slice tells apart: each with its name and an SQL condition on the column `v`. */
export type SliceValue = { name: string; holds: string };

type Wanted = NonNullable<Extract<EvaluationConfig['slices'][number], { column: string }>['values']>;

/** Types by DuckDB's name; what is none of them is compared as text. */
const NUMBERS = /^(U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|DECIMAL.*)$/;

export function kindOf(type: string, isId: boolean): SliceKind {
  if (type === 'BOOLEAN') return 'boolean';
  if (type === 'BIGINT' && isId) return 'id';
  return NUMBERS.test(type) ? 'number' : 'text';
}

/** SQL that gives the slice's value its one form; NULL where it is missing. Ids are text: they have more digits than a number. */
export function canonical(value: string, { kind, type }: { kind: SliceKind; type: string }): string {
  switch (kind) {
    case 'boolean':
      return `CAST(${value} AS VARCHAR)`;
    case 'id':
      return `CAST(nullif(${value}, 0) AS VARCHAR)`;
    case 'number': {
      // Over the text, 0.1 stays 0.1 and does not become 0.10000000149.
      const double = type === 'FLOAT' ? `CAST(CAST(${value} AS VARCHAR) AS DOUBLE)` : `CAST(${value} AS DOUBLE)`;
      return `CASE WHEN isfinite(${double}) THEN ${double} + 0.0 END`;
    }
    case 'text': {
      // Values become names: neither a query nor Postgres takes a NUL, and a terminal obeys other control characters.
      const text = `regexp_replace(CAST(${value} AS VARCHAR), '[\\x00-\\x1f\\x7f]', '', 'g')`;
      return `nullif(nullif(left(${text}, ${String(MAX_TEXT)}), ''), '${MISSING}')`;
    }
  }
}

/**
 * The values to tell apart of table `slice`, whose column `v` is canonical: those that are wanted, in their order; else each
 * value of a number if there are at most `max` of them, and quartiles if there are more; else the `max` most frequent ones.
 */
export async function chooseValues(
  duck: Duck,
  { kind, wanted, max, hash }: { kind: SliceKind; wanted: Wanted | undefined; max: number; hash: FeatureHash },
): Promise<SliceValue[]> {
  if (wanted !== undefined) return wantedValues(wanted, kind, hash);
  const frequent = await duck.rows(
    `SELECT v FROM slice WHERE v IS NOT NULL GROUP BY v ORDER BY count(*) DESC, v LIMIT ${String(max + 1)}`,
    z.object({ v: z.union([z.string(), z.number()]) }),
  );
  const values = frequent.map(({ v }) => v);
  if (kind === 'number' && values.length > max) return quartiles(duck);
  const kept = values.slice(0, max).filter((value) => value !== OTHER);
  if (kind === 'number')
    return kept
      .map(Number)
      .sort((a, b) => a - b)
      .map((value) => equals(String(value), value));
  return kept
    .map(String)
    .sort()
    .map((value) => equals(value, value));
}

function wantedValues(wanted: Wanted, kind: SliceKind, hash: FeatureHash): SliceValue[] {
  const stored = (value: Wanted[number]): string | number => {
    if (kind === 'id') return String(hash(value));
    return kind === 'number' ? Number(value) : String(value).slice(0, MAX_TEXT);
  };
  const values = wanted.map((value) => equals(String(value), stored(value)));
  return [...new Map(values.map((value) => [value.name, value])).values()];
}

function equals(name: string, value: string | number): SliceValue {
  if (typeof value === 'string') return { name, holds: `v = ${sqlText(value)}` };
  return { name, holds: Number.isFinite(value) ? `v = CAST(${String(value)} AS DOUBLE)` : 'false' };
}

/** Bins between the quartiles, open below and closed above; fewer where quartiles are the same. */
async function quartiles(duck: Duck): Promise<SliceValue[]> {
  const { bounds, top } = await duck.row(
    `SELECT CAST(quantile_disc(v, [0.25, 0.5, 0.75]) AS VARCHAR) AS bounds, max(v) AS top FROM slice`,
    z.object({ bounds: z.string(), top: z.number() }),
  );
  const distinct = [...new Set(z.array(z.number()).parse(JSON.parse(bounds)))].filter((bound) => bound < top);
  const rounded = shortest(distinct);
  const first = rounded[0];
  const last = rounded.at(-1);
  if (first === undefined || last === undefined) return [];
  const between = rounded.slice(1).map((upper, index) => {
    const lower = rounded[index] as number;
    return { name: `(${String(lower)}, ${String(upper)}]`, holds: `v > ${double(lower)} AND v <= ${double(upper)}` };
  });
  return [
    { name: `<= ${String(first)}`, holds: `v <= ${double(first)}` },
    ...between,
    { name: `> ${String(last)}`, holds: `v > ${double(last)}` },
  ];
}

const double = (value: number): string => `CAST(${String(value)} AS DOUBLE)`;

/** The bounds with as few digits as move none by more than a twentieth of what they span. */
function shortest(bounds: readonly number[]): number[] {
  const span = (bounds.at(-1) ?? 0) - (bounds[0] ?? 0) || Math.abs(bounds[0] ?? 0);
  for (let digits = 3; digits <= 17; digits++) {
    const rounded = bounds.map((bound) => Number(bound.toPrecision(digits)));
    const close = rounded.every((bound, index) => Math.abs(bound - (bounds[index] as number)) <= span / 20);
    if (close && new Set(rounded).size === bounds.length) return rounded;
  }
  return [...bounds];
}
