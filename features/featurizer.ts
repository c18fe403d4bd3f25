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

export interface Featurizer {
  /** Names in the order of the columns. */
  readonly categorical: readonly string[];
  readonly numeric: readonly string[];
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

  return {
    categorical: categorical.map((feature) => feature.name),
    numeric: numeric.map((feature) => feature.name),

    featurize(raw) {
      const count = raw.candidates.length;
      const ids = new BigInt64Array(count * categorical.length);
      const dense = new Float32Array(count * numeric.length);
      fillColumns({ into: ids, columns: categorical, raw, convert: (value) => hash(value) });
      fillColumns({ into: dense, columns: numeric, raw, convert: toNumber });
      return { count, ids, dense };
    },

    loggedFeatures(rows, row) {
      const logged: LoggedFeatures = {};
      for (const [column, { name }] of categorical.entries()) {
        logged[name] = String(rows.ids[row * categorical.length + column] ?? MISSING_ID);
      }
      for (const [column, { name }] of numeric.entries()) {
        const value = rows.dense[row * numeric.length + column] ?? NaN;
        logged[name] = Number.isNaN(value) ? null : value;
      }
      return logged;
    },
  };
}

interface Columns<T> {
  into: Record<number, T>;
  columns: readonly Feature[];
  raw: RawFeatures;
  convert: (value: unknown) => T;
}

function fillColumns<T>({ into, columns, raw, convert }: Columns<T>): void {
  for (const [column, feature] of columns.entries()) {
    const field = feature.field ?? feature.name;
    const converted = (values: Readonly<Record<string, unknown>>, where: string): T => {
      try {
        return convert(Object.hasOwn(values, field) ? values[field] : undefined);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        throw new FeatureError({ feature: feature.name, path: `${where}.${field}`, problem: error.message });
      }
    };
    const shared = feature.from === 'candidate' ? undefined : converted(raw[feature.from], feature.from);
    for (const [row, candidate] of raw.candidates.entries()) {
      into[row * columns.length + column] =
        shared ?? converted(candidate.features, `candidates[${String(row)}].features`);
    }
  }
}

function toNumber(value: unknown): number {
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
