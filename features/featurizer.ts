import type { Feature } from '../config/schema.ts';
import { MISSING_ID, type FeatureHash } from './feature-id.ts';

/** What a model is fed, row by row: `ids` is `count` x categorical features, `dense` is `count` x numeric features. */
export interface FeatureRows {
  count: number;
  /** Row-major; 0n is missing. */
  ids: BigInt64Array;
  /** Row-major; NaN is missing. The graph replaces it, after standardising, by 0. */
  dense: Float32Array;
}

/** The raw values of one request: the user's, the context's, and each candidate's own. */
export interface RawFeatures {
  user: Readonly<Record<string, unknown>>;
  context: Readonly<Record<string, unknown>>;
  candidates: readonly { id: string; features: Readonly<Record<string, unknown>> }[];
}

/** The numbers of one row by feature name: an id as decimal text (JSON has no 64-bit integers), a number, or null if missing. */
export type LoggedFeatures = Record<string, number | string | null>;

export interface Featurizer extends ColumnNames {
  /** @throws FeatureError for a value that is neither missing nor of the feature's kind. */
  featurize(raw: RawFeatures): FeatureRows;
  /** Exactly what row `row` feeds the model: numbers after rounding to float32, ids as decimal text (missing is "0"). */
  loggedFeatures(rows: FeatureRows, row: number): LoggedFeatures;
}

/** A raw value of the wrong type. `path` is where it stands in the rank request. */
export class FeatureError extends Error {
  override readonly name = 'FeatureError';
  readonly feature: string;
  readonly path: string;

  constructor({ feature, path, problem }: { feature: string; path: string; problem: string }) {
    super(`feature "${feature}" at ${path}: ${problem}`);
    this.feature = feature;
    this.path = path;
  }
}

/**
 * The one place where raw values become numbers: serving and the importer of old logs both run this. Columns keep the
 * order of the spec. Scaling and the mapping of ids to embedding rows live in the ONNX graph, not here.
 */
export function createFeaturizer(features: readonly Feature[], hash: FeatureHash): Featurizer {
  const categorical = features.filter((feature) => feature.kind === 'categorical');
  const numeric = features.filter((feature) => feature.kind === 'numeric');

  const names: ColumnNames = {
    categorical: categorical.map(({ name }) => name),
    numeric: numeric.map(({ name }) => name),
  };

  return {
    ...names,

    featurize(raw) {
      const count = raw.candidates.length;
      const ids = new BigInt64Array(count * categorical.length);
      const dense = new Float32Array(count * numeric.length);
      for (const [column, feature] of categorical.entries())
        fillColumn({ into: ids, width: categorical.length, column, feature, raw, convert: hash });
      for (const [column, feature] of numeric.entries())
        fillColumn({ into: dense, width: numeric.length, column, feature, raw, convert: toNumber });
      return { count, ids, dense };
    },

    loggedFeatures: (rows, row) => loggedRow(names, { rows, row }),
  };
}

/** Names in the order of the columns. */
export interface ColumnNames {
  readonly categorical: readonly string[];
  readonly numeric: readonly string[];
}

/** {@link Featurizer.loggedFeatures} where only the names of the columns are known. */
export function loggedRow(
  { categorical, numeric }: ColumnNames,
  { rows, row }: { rows: Pick<FeatureRows, 'ids' | 'dense'>; row: number },
): LoggedFeatures {
  const logged: LoggedFeatures = {};
  for (const [column, name] of categorical.entries()) {
    logged[name] = String(rows.ids[row * categorical.length + column] ?? MISSING_ID);
  }
  for (const [column, name] of numeric.entries()) {
    const value = rows.dense[row * numeric.length + column] ?? NaN;
    logged[name] = Number.isNaN(value) ? null : value;
  }
  return logged;
}

/** Fills one column of a row-major matrix that is `width` wide. */
interface Column<T> {
  into: Record<number, T>;
  width: number;
  column: number;
  feature: Feature;
  raw: RawFeatures;
  convert: (value: unknown) => T;
}

function fillColumn<T>({ into, width, column, feature, raw, convert }: Column<T>): void {
  const field = feature.field ?? feature.name;
  const { candidates } = raw;
  // Where it stands, for the error: -1 is what all candidates share.
  let row = -1;
  try {
    if (feature.from === 'candidate') {
      for (row = 0; row < candidates.length; row++)
        into[row * width + column] = convert(ownValue(candidates[row]?.features, field));
    } else {
      const shared = convert(ownValue(raw[feature.from], field));
      for (let place = 0; place < candidates.length; place++) into[place * width + column] = shared;
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const where = feature.from === 'candidate' ? `candidates[${String(row)}].features` : feature.from;
    throw new FeatureError({ feature: feature.name, path: `${where}.${field}`, problem: error.message });
  }
}

/** What every object inherits is no value of a request. None of it is a string or a number. */
function ownValue(values: Readonly<Record<string, unknown>> | undefined, field: string): unknown {
  const value = values?.[field];
  if (typeof value === 'string' || typeof value === 'number' || value === undefined) return value;
  return values !== undefined && Object.hasOwn(values, field) ? value : undefined;
}

function toNumber(value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(Math.fround(value))) return value;
  if (value === null || value === undefined || value === '') return NaN;
  const number =
    typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string' ? Number(value) : NaN;
  const blank = typeof value === 'string' && value.trim() === '';
  if (blank || !Number.isFinite(Math.fround(number))) {
    throw new TypeError(`expected a finite number (or its text, or null if missing), got ${shown(value)}`);
  }
  return number;
}

function shown(value: unknown): string {
  if (typeof value === 'string') return `the text ${JSON.stringify(value.slice(0, 40))}`;
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  return `a value of type ${typeof value}`;
}
