import type { DuckDBDataChunk } from '@duckdb/node-api';
import type { Feature } from '../config/schema.ts';
import type { FeatureRows } from '../features/featurizer.ts';
import type { Duck } from './duckdb.ts';

/** Names of the columns by place in a model's inputs; null where there is none: it is fed as missing. */
export interface FeatureColumns {
  ids: (string | null)[];
  dense: (string | null)[];
}

/**
 * The rows of a query as a model of these features takes them.
 *
 * @param sql its columns have the features' names; BIGINT ids and FLOAT or DOUBLE numbers. @throws Error when one is not there.
 */
export async function readFeatureRows(db: Duck, sql: string, features: readonly Feature[]): Promise<FeatureRows> {
  const of = (wanted: Feature['kind']): string[] =>
    features.filter(({ kind }) => kind === wanted).map(({ name }) => name);
  const columns = { ids: of('categorical'), dense: of('numeric') };
  const result = await db.connection.run(sql);
  const names = result.columnNames();
  const absent = features.filter(({ name }) => !names.includes(name)).map(({ name }) => name);
  if (absent.length > 0) throw new Error(`the rows have no column ${absent.join(', ')}`);
  const position = new Map(names.map((name, index) => [name, index]));
  const parts = (await result.fetchAllChunks()).map((chunk) => featuresOf(chunk, columns, position));
  const rows: FeatureRows = {
    count: parts.reduce((sum, part) => sum + part.count, 0),
    ids: new BigInt64Array(parts.reduce((sum, part) => sum + part.ids.length, 0)),
    dense: new Float32Array(parts.reduce((sum, part) => sum + part.dense.length, 0)),
  };
  const at = { ids: 0, dense: 0 };
  for (const part of parts) {
    rows.ids.set(part.ids, at.ids);
    rows.dense.set(part.dense, at.dense);
    at.ids += part.ids.length;
    at.dense += part.dense.length;
  }
  return rows;
}

/** A chunk's rows, row-major; missing numbers are NaN, missing ids 0. */
export function featuresOf(
  chunk: DuckDBDataChunk,
  { ids, dense }: FeatureColumns,
  position: ReadonlyMap<string, number>,
): FeatureRows {
  const count = chunk.rowCount;
  const rows = {
    count,
    ids: new BigInt64Array(count * ids.length),
    dense: new Float32Array(count * dense.length).fill(NaN),
  };
  fill(
    rows.ids,
    ids.map((name) => vectorOf<bigint>(chunk, name, position)),
  );
  fill(
    rows.dense,
    dense.map((name) => vectorOf<number>(chunk, name, position)),
  );
  return rows;
}

interface Vector<T> {
  itemCount: number;
  getItem(row: number): T | null;
}

function vectorOf<T>(
  chunk: DuckDBDataChunk,
  name: string | null,
  position: ReadonlyMap<string, number>,
): Vector<T> | null {
  const index = name === null ? undefined : position.get(name);
  return index === undefined ? null : (chunk.getColumnVector(index) as unknown as Vector<T>);
}

/** Columns into row-major `into`, whose missing values stay what they are. */
function fill<T>(into: Record<number, T>, columns: readonly (Vector<T> | null)[]): void {
  for (const [column, vector] of columns.entries()) {
    if (vector === null) continue;
    for (let row = 0; row < vector.itemCount; row++) {
      const value = vector.getItem(row);
      if (value !== null) into[row * columns.length + column] = value;
    }
  }
}
