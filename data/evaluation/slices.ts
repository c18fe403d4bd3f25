import { z } from 'zod';
import type { EvaluationConfig, Feature } from '../../config/schema.ts';
import { loadFeatureHash, type FeatureHash } from '../../features/feature-id.ts';
import type { Reason } from '../../policy/verdict.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from '../duckdb.ts';
import type { SliceRows } from './bootstrap.ts';
import type { SeenRows } from './evaluate.ts';
import { parquetSource } from './holdout.ts';
import { tellNovelty, type Novelty } from './novelty.ts';
import { checkExpression, ExpressionError, selectOf, short, wordsOf } from './slice-expression.ts';
import { canonical, chooseValues, kindOf, MISSING, OTHER, type SliceKind, type SliceValue } from './slice-values.ts';

type SliceConfig = EvaluationConfig['slices'][number];

export interface Slices {
  /** By slice in the config's order, then by value; those with no row only where the config names the value. */
  parts: SliceRows[];
  /** Of the slices that could not be made; `numbers.slice` is the slice's name. */
  notes: Reason[];
}

interface SlicesInput {
  /** Local paths of the holdout's files. Indices of rows are in their order. */
  holdout: readonly string[];
  /** Rows that they have. */
  rows: number;
  config: Pick<EvaluationConfig, 'slices' | 'sliceMaxValues'>;
  /** The categorical ones are ids in the files. */
  features: readonly Feature[];
  seen: SeenRows | undefined;
  /** Called before each slice; what it throws ends the work. */
  checkpoint: () => void;
}

/** An expression that takes longer hangs the cycle: it is given up. */
const EXPRESSION_WITHIN_MS = 30_000;
const TABLE = 'holdout';

/** A slice that is left out. */
class Unavailable extends Error {
  readonly what: 'column' | 'expression' | 'novelty';

  constructor(what: Unavailable['what'], message: string) {
    super(message);
    this.what = what;
  }
}

/**
 * Divides the holdout's rows by each slice of the config. What a slice can not be made of, such as an expression that DuckDB
 * refuses, is a note; the other slices stand. DuckDB can read these files only, and write none.
 */
export async function readSlices(input: SlicesInput): Promise<Slices> {
  const slices: Slices = { parts: [], notes: [] };
  if (input.config.slices.length === 0 || input.rows === 0) return slices;
  const duck = await openDuckDb();
  try {
    const db = await openTable(duck, input);
    for (const slice of input.config.slices) {
      input.checkpoint();
      try {
        slices.parts.push(...(await readSlice(db, slice)));
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        const message = `slice ${slice.name} is left out: ${error.message}`;
        slices.notes.push({ code: `evaluation.slice.${error.what}`, message, numbers: { slice: slice.name } });
      }
    }
    return slices;
  } finally {
    duck.close();
  }
}

interface SliceDb extends SlicesInput {
  duck: Duck;
  hash: FeatureHash;
  /** Type by name in lower case. */
  columns: ReadonlyMap<string, string>;
  ids: ReadonlySet<string>;
}

async function openTable(duck: Duck, input: SlicesInput): Promise<SliceDb> {
  const { holdout, features, seen } = input;
  await duck.run(`CREATE VIEW ${TABLE} AS SELECT * FROM ${parquetSource(holdout)}`);
  const readable = [...holdout, ...(seen?.kind === 'files' ? seen.paths : [])];
  // Hours are those of the data, wherever this runs.
  await duck.run(`SET TimeZone = 'UTC'`);
  await duck.run(`SET allowed_paths = [${readable.map(sqlText).join(', ')}]`);
  await duck.run('SET enable_external_access = false');
  await duck.run('SET lock_configuration = true');
  const found = await duck.describe(`SELECT * FROM ${TABLE}`);
  const columns = new Map(found.map(({ name, type }) => [name.toLowerCase(), type]));
  const categorical = features.filter(({ kind }) => kind === 'categorical');
  const ids = new Set(categorical.map(({ name }) => name.toLowerCase()));
  return { ...input, duck, columns, ids, hash: await loadFeatureHash() };
}

async function readSlice(db: SliceDb, slice: SliceConfig): Promise<SliceRows[]> {
  const { duck, hash, config } = db;
  const kind = await makeColumn(db, slice);
  const wanted = 'values' in slice ? slice.values : undefined;
  const values = await chooseValues(duck, { kind, wanted, max: config.sliceMaxValues, hash });
  return partsOf(slice.name, values, await readCodes(db, values), wanted !== undefined);
}

/** Table `slice` with one column `v` in its canonical form, one row a row of the holdout in its order. */
async function makeColumn(db: SliceDb, slice: SliceConfig): Promise<SliceKind> {
  if ('novelty' in slice) return makeNovelty(db, slice.novelty);
  if ('column' in slice) {
    const type = db.columns.get(slice.column.toLowerCase());
    if (type === undefined) throw new Unavailable('column', `the snapshot has no column ${slice.column}`);
    const kind = kindOf(type, db.ids.has(slice.column.toLowerCase()));
    await storeValues(db, `SELECT ${canonical(sqlName(slice.column), { kind, type })} AS v FROM ${TABLE}`);
    return kind;
  }
  return makeExpression(db, slice.expression);
}

async function makeExpression(db: SliceDb, expression: string): Promise<SliceKind> {
  const { duck } = db;
  const timer = setTimeout(() => {
    duck.connection.interrupt();
  }, EXPRESSION_WITHIN_MS);
  try {
    await checkExpression(duck, { expression, table: TABLE, columns: new Set(db.columns.keys()) });
    const select = selectOf(expression, TABLE);
    const type = (await duck.describe(select))[0]?.type ?? '';
    const kind = kindOf(type, db.ids.has(expression.trim().toLowerCase()));
    await storeValues(db, `SELECT ${canonical('v', { kind, type })} AS v FROM (${select})`);
    return kind;
  } catch (error) {
    const why = error instanceof ExpressionError ? error.message : wordsOf(error);
    throw new Unavailable('expression', `its expression ${JSON.stringify(short(expression))} can not be used: ${why}`);
  } finally {
    clearTimeout(timer);
  }
}

async function makeNovelty(db: SliceDb, of: Novelty): Promise<SliceKind> {
  const { duck, seen, columns } = db;
  if (seen === undefined) throw new Unavailable('novelty', 'what was trained on is not known');
  if (seen.kind === 'lacking') throw new Unavailable('novelty', seen.why);
  const column = `${of}_id`;
  if (!columns.has(column)) throw new Unavailable('novelty', `the snapshot has no column ${column}`);
  await duck.run(
    `CREATE OR REPLACE TEMP TABLE keys AS SELECT row_number() OVER () AS row, CAST(${column} AS VARCHAR) AS ${column} FROM ${TABLE}`,
  );
  await tellNovelty(duck, { of, seen: seen.paths, into: 'slice' }).catch((error: unknown) => {
    throw new Unavailable('novelty', `the rows that were trained on can not be read: ${wordsOf(error)}`);
  });
  return 'text';
}

async function storeValues({ duck, rows }: SliceDb, select: string): Promise<void> {
  await duck.run(`CREATE OR REPLACE TEMP TABLE slice AS ${select}`);
  const { count } = await duck.row('SELECT count(*) AS count FROM slice', z.object({ count: z.number() }));
  if (count !== rows) throw new Error(`it gives ${String(count)} values for ${String(rows)} rows`);
}

/** Code of each row: 0 missing, 1 other, from 2 on the place of its value. */
async function readCodes({ duck, rows }: SliceDb, values: readonly SliceValue[]): Promise<Uint32Array> {
  const cases = values.map(({ holds }, index) => `WHEN ${holds} THEN ${String(index + 2)}`);
  const result = await duck.connection.stream(
    `SELECT CAST(CASE WHEN v IS NULL THEN 0 ${cases.join(' ')} ELSE 1 END AS UINTEGER) FROM slice`,
  );
  const codes = new Uint32Array(rows);
  let row = 0;
  for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    codes.set(chunk.getColumnValues(0) as number[], row);
    row += chunk.rowCount;
  }
  return codes;
}

/** Values of one name are one part. Without `keepEmpty`, values without rows are left out; the rest always are. */
function partsOf(slice: string, values: readonly SliceValue[], codes: Uint32Array, keepEmpty: boolean): SliceRows[] {
  const names = [...new Set([...values.map(({ name }) => name), OTHER, MISSING])];
  const place = [MISSING, OTHER, ...values.map(({ name }) => name)].map((name) => names.indexOf(name));
  const counts = new Uint32Array(names.length);
  for (const code of codes) {
    const part = place[code] as number;
    counts[part] = (counts[part] as number) + 1;
  }
  const parts = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  for (const [row, code] of codes.entries()) {
    const part = place[code] as number;
    (parts[part] as Uint32Array)[counts[part] as number] = row;
    counts[part] = (counts[part] as number) + 1;
  }
  const named = new Set(keepEmpty ? values.map(({ name }) => name) : []);
  return names
    .map((value, index) => ({ slice, value, rows: parts[index] as Uint32Array }))
    .filter(({ value, rows }) => rows.length > 0 || named.has(value));
}
