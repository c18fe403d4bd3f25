import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import { sqlName, type Duck } from '../duckdb.ts';

/** Labelled rows of one side of a cut. */
export interface Counts {
  rows: number;
  positives: number;
}

/** Rows that share something about one feature: a value, a range, or having none. */
export interface Part extends Counts {
  feature: string;
  /** Completes "where it is": `missing`, `0`, `from 3 to 7`. */
  where: string;
}

/** How one feature relates to the label: its AUCs, and the parts of its values that are worth a look. */
export interface FeatureEvidence {
  name: string;
  kind: Feature['kind'];
  /** Of "the value is missing"; NaN when a class is empty. */
  missingAuc: number;
  /**
   * By its value over the rows that have one: NaN when a class is empty. A category counts as its label rate in the other
   * half of the rows.
   */
  valueAuc: number;
  /** Rows with a value. */
  present: Counts;
  parts: Part[];
}

export interface Sampled extends Counts {
  /** Table with the columns `label`, `half` (0 or 1) and the features. */
  table: string;
}

/** Parts smaller than this share are not made: there are at most 50 bins. */
const BIN_SHARE = 0.02;
/** Values that hold this share are also looked at by what is not them: a leak may be anything but 0. */
const HEAVY_SHARE = 0.25;
/** Rows at the overall rate that each category's rate is mixed with, so that a category of three rows is not extreme. */
const PRIOR_ROWS = 10;

const int = z.number().int();
const counts = z.object({ rows: int, positives: int });

/** Table `leakage_rows`: the fresh rows, or a sample of them by a hash of their ids. */
export async function sampleRows(
  db: Duck,
  input: { features: readonly Feature[]; rows: number; sampleRows: number },
): Promise<Sampled> {
  const columns = input.features.map(({ name, kind }) =>
    kind === 'categorical' ? `coalesce(${sqlName(name)}, 0) AS ${sqlName(name)}` : sqlName(name),
  );
  const share = Math.min(1, input.sampleRows / input.rows);
  const kept = share < 1 ? `WHERE hash(impression_id) % 1000000 < ${String(Math.round(share * 1e6))}` : '';
  const table = 'leakage_rows';
  await db.run(`
    CREATE OR REPLACE TEMP TABLE ${table} AS
    SELECT label, (hash(impression_id) >> 32) % 2 AS half, ${columns.join(', ')} FROM fresh ${kept}`);
  const total = await db.row(`SELECT count(*) AS rows, coalesce(sum(label), 0) AS positives FROM ${table}`, counts);
  return { table, ...total };
}

/** Looks at one feature; parts of fewer rows than `minRows` are left out. */
export async function readEvidence(
  db: Duck,
  input: { feature: Feature; all: Sampled; minRows: number },
): Promise<FeatureEvidence> {
  const { feature, all, minRows } = input;
  const found = await (feature.kind === 'numeric' ? readNumeric(db, input) : readCategorical(db, input));
  const absent = { rows: all.rows - found.present.rows, positives: all.positives - found.present.positives };
  const parts = [{ feature: feature.name, where: 'missing', ...absent }, ...found.parts].filter(
    (part) => part.rows >= minRows && part.rows < all.rows,
  );
  return { name: feature.name, kind: feature.kind, missingAuc: flagAuc(absent, all), ...found, parts };
}

interface Found {
  valueAuc: number;
  present: Counts;
  parts: Part[];
}

async function readNumeric(db: Duck, input: { feature: Feature; all: Sampled }): Promise<Found> {
  const { feature, all } = input;
  const column = sqlName(feature.name);
  const bins = await readBins(db, {
    all,
    cells: `SELECT CAST(${column} AS DOUBLE) AS value, count(*) AS rows, sum(label) AS positives
      FROM ${all.table} WHERE ${column} IS NOT NULL GROUP BY ${column}`,
  });
  const present = total(bins);
  return { valueAuc: aucOf(bins), present, parts: rangesOf({ bins, all, name: feature.name, label: numericWords }) };
}

/**
 * A category is judged by itself where enough rows have it, and all of them by the rate they have in the other half of the
 * rows (target encoding, cross-fitted: Micci-Barreca 2001), which finds a leak spread over many rare categories.
 */
async function readCategorical(db: Duck, input: { feature: Feature; all: Sampled; minRows: number }): Promise<Found> {
  const { feature, all, minRows } = input;
  const { name } = feature;
  const column = sqlName(name);
  const values = await db.rows(
    `SELECT CAST(${column} AS VARCHAR) AS id, count(*) AS rows, sum(label) AS positives FROM ${all.table}
     GROUP BY ${column} HAVING rows >= ${String(minRows)} OR ${column} = 0 ORDER BY rows DESC, id`,
    z.object({ id: z.string(), rows: int, positives: int }),
  );
  const missing = values.find(({ id }) => id === '0') ?? { rows: 0, positives: 0 };
  const present = { rows: all.rows - missing.rows, positives: all.positives - missing.positives };
  const parts = values
    .filter(({ id }) => id !== '0')
    .flatMap(({ id, ...count }) => withOthers({ name, where: `the id ${id}`, count, present, all }));
  const prior = `${String(PRIOR_ROWS)} * ${String(all.positives / all.rows)}`;
  const bins = await readBins(db, {
    all,
    cells: `
      SELECT (other_positives + ${prior}) / (other_rows + ${String(PRIOR_ROWS)}) AS value,
        CAST(sum(rows) AS BIGINT) AS rows, CAST(sum(positives) AS BIGINT) AS positives
      FROM (
        SELECT rows, positives, sum(rows) OVER same - rows AS other_rows, sum(positives) OVER same - positives AS other_positives
        FROM (
          SELECT ${column} AS id, half, count(*) AS rows, sum(label) AS positives FROM ${all.table}
          WHERE ${column} <> 0 GROUP BY ${column}, half
        ) WINDOW same AS (PARTITION BY id)
      ) GROUP BY value`,
  });
  // Where nearly all rows have a category that was judged by itself, its rates say nothing more.
  const rare = present.rows - total(values.filter(({ id }) => id !== '0')).rows;
  const encoded = rare < minRows ? [] : rangesOf({ bins, all, name, label: encodedWords });
  return { valueAuc: aucOf(bins), present, parts: [...parts, ...encoded] };
}

/** Neighbouring values, in order; a value that fills a bin has it alone. */
interface Bin extends Counts {
  low: number;
  high: number;
  /** Pairs of a positive of this bin with a lower negative; ties count half. */
  concordant: number;
}

const bin = z.object({ low: z.number(), high: z.number(), rows: int, positives: int, concordant: z.number() });

/** @param input.cells query of `value` (each once), `rows` and `positives`. */
function readBins(db: Duck, input: { all: Counts; cells: string }): Promise<Bin[]> {
  const width = String(Math.max(1, Math.ceil(input.all.rows * BIN_SHARE)));
  return db.rows(
    `WITH ranked AS (
       SELECT value, rows, positives, rows >= ${width} AS alone,
         sum(rows) OVER below - rows AS rows_below,
         sum(rows - positives) OVER below - (rows - positives) AS negatives_below,
         sum(CASE WHEN rows >= ${width} THEN 1 ELSE 0 END) OVER below AS alone_below
       FROM (${input.cells}) WINDOW below AS (ORDER BY value ROWS UNBOUNDED PRECEDING)
     )
     SELECT min(value) AS low, max(value) AS high, sum(rows) AS rows, sum(positives) AS positives,
       CAST(sum(positives * (negatives_below + (rows - positives) / 2)) AS DOUBLE) AS concordant
     FROM ranked GROUP BY alone_below, alone, CASE WHEN NOT alone THEN rows_below // ${width} END ORDER BY low`,
    bin,
  );
}

interface Words {
  one: (bin: Bin) => string;
  upTo: (bin: Bin) => string;
  from: (bin: Bin) => string;
}

const numericWords: Words = {
  one: ({ low, high }) => (low === high ? figure(low) : `from ${figure(low)} to ${figure(high)}`),
  upTo: ({ high }) => `${figure(high)} or less`,
  from: ({ low }) => `${figure(low)} or more`,
};

const encodedWords: Words = {
  one: ({ low, high }) => `an id with a label rate, in other rows, from ${figure(low)} to ${figure(high)}`,
  upTo: ({ high }) => `an id with a label rate, in other rows, of at most ${figure(high)}`,
  from: ({ low }) => `an id with a label rate, in other rows, of at least ${figure(low)}`,
};

function rangesOf(input: { bins: readonly Bin[]; all: Counts; name: string; label: Words }): Part[] {
  const { bins, all, name, label } = input;
  const present = total(bins);
  const parts = bins.flatMap((here) => withOthers({ name, where: label.one(here), count: here, present, all }));
  let below: Counts = { rows: 0, positives: 0 };
  for (const [index, here] of bins.entries()) {
    const next = bins[index + 1];
    below = { rows: below.rows + here.rows, positives: below.positives + here.positives };
    if (next === undefined) break;
    if (index > 0) parts.push({ feature: name, where: label.upTo(here), ...below });
    if (index < bins.length - 2) parts.push({ feature: name, where: label.from(next), ...minus(present, below) });
  }
  return parts;
}

/** A part, and what has a value but not this one if it is a large one. */
function withOthers(input: { name: string; where: string; count: Counts; present: Counts; all: Counts }): Part[] {
  const { name, where, count, present, all } = input;
  const part = { feature: name, where, rows: count.rows, positives: count.positives };
  if (count.rows < HEAVY_SHARE * all.rows) return [part];
  return [part, { feature: name, where: `anything but ${where}`, ...minus(present, count) }];
}

/** The Mann-Whitney statistic over bins that cover all values. */
function aucOf(bins: readonly Bin[]): number {
  const { rows, positives } = total(bins);
  return bins.reduce((sum, { concordant }) => sum + concordant, 0) / (positives * (rows - positives));
}

/** AUC of a flag: (1 + its share of the positives - its share of the negatives) / 2. */
function flagAuc(flagged: Counts, all: Counts): number {
  const ofPositives = flagged.positives / all.positives;
  const ofNegatives = (flagged.rows - flagged.positives) / (all.rows - all.positives);
  return (1 + ofPositives - ofNegatives) / 2;
}

function total(parts: readonly Counts[]): Counts {
  const sum = (of: (part: Counts) => number): number => parts.reduce((rest, part) => rest + of(part), 0);
  return { rows: sum(({ rows }) => rows), positives: sum(({ positives }) => positives) };
}

const minus = (a: Counts, b: Counts): Counts => ({ rows: a.rows - b.rows, positives: a.positives - b.positives });

const figure = (value: number): string => String(Number(value.toPrecision(6)));
