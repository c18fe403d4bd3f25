import { writeFile } from 'node:fs/promises';
import type { Feature } from '../../../config/schema.ts';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { lineConfig } from '../../policy/line-config.ts';

/** See fixtures/make-model.py. */
export const columnsModel = new URL('./fixtures/columns.onnx', import.meta.url).pathname;
export const fixture = (name: string): string => new URL(`../../fixtures/${name}.onnx`, import.meta.url).pathname;

/** A spec by names: those that begin with c are categorical, the others numeric. */
export function spec(...names: string[]): Feature[] {
  return lineConfig({
    features: names.map((name) =>
      name.startsWith('c') ? { kind: 'categorical' as const, name } : { kind: 'numeric' as const, name },
    ),
  }).features;
}

export interface Row {
  /** Five rows each; some have none. */
  request: string | null;
  user: string | null;
  label: number;
  c1: number | null;
  c2: number | null;
  x1: number | null;
  x2: number | null;
}

/** What `columns.onnx` answers. */
export function columnsScore(ids: (number | null)[], dense: (number | null)[]): number {
  const [i0, i1] = ids.map((id) => (((id ?? 0) % 5) + 5) % 5) as [number, number];
  const [d0, d1] = dense.map((value) => value ?? 0) as [number, number];
  return 1 / (1 + Math.exp(-(d0 + 2 * d1 + i0 / 10 + i1 / 100)));
}

export const rows: Row[] = Array.from({ length: 5_000 }, (_, index) => {
  const x1 = Math.sin(index);
  const x2 = Math.cos(3 * index) / 2;
  return {
    request: index % 97 === 0 ? null : `request-${String(Math.floor(index / 5))}`,
    user: index % 50 === 0 ? null : `user-${String(Math.floor(index / 5) % 400)}`,
    label: Math.sin(12.9898 * index) < x1 + x2 ? 1 : 0,
    c1: index % 7 === 0 ? null : index % 11,
    c2: index % 13,
    x1: index % 9 === 0 ? null : x1,
    x2,
  };
});

/** Writes rows as a holdout file of the snapshot's columns. */
export async function writeHoldout(
  path: string,
  content: Row[],
  columns = 'CAST(c1 AS BIGINT) AS c1, CAST(c2 AS BIGINT) AS c2, CAST(x1 AS FLOAT) AS x1, CAST(x2 AS FLOAT) AS x2',
): Promise<string> {
  const duck = await openDuckDb();
  const json = `${path}.ndjson`;
  await writeFile(json, content.map((row) => JSON.stringify(row)).join('\n'));
  const types =
    "{user: 'VARCHAR', request: 'VARCHAR', label: 'TINYINT', c1: 'BIGINT', c2: 'BIGINT', x1: 'FLOAT', x2: 'FLOAT'}";
  await duck.run(
    `COPY (SELECT user AS user_id, request AS request_id, label, ${columns} FROM read_json(${sqlText(json)}, format = 'newline_delimited', columns = ${types})) TO ${sqlText(path)} (FORMAT parquet)`,
  );
  duck.close();
  return path;
}
