import { sqlName } from '../duckdb.ts';
import type { ProfileColumn } from './profile-columns.ts';

/**
 * What is profiled, with uniform names: column i is `c{i}`, a finite DOUBLE or any type that has a text, NULL where missing;
 * `key` (text) and `time`.
 */
export interface Relation {
  columns: readonly ProfileColumn[];
  /** FROM item. */
  sql: string;
}

export function relationOf(input: {
  relation: string;
  columns: readonly ProfileColumn[];
  keyColumn: string;
  timeColumn: string;
}): Relation {
  const seen = new Set<string>();
  for (const { name } of input.columns) {
    if (seen.has(name)) throw new Error(`column "${name}" is to be profiled twice: give each its own name`);
    seen.add(name);
  }
  // By name: how ties of the sample are broken must not depend on the order in which columns are given.
  const columns = [...input.columns].sort((a, b) => (a.name < b.name ? -1 : 1));
  const fields = [
    `CAST(${sqlName(input.keyColumn)} AS VARCHAR) AS key`,
    `${sqlName(input.timeColumn)} AS time`,
    ...columns.map((column, index) => `${valueOf(column)} AS c${String(index)}`),
  ];
  return { columns, sql: `(SELECT ${fields.join(', ')} FROM ${input.relation} AS profiled)` };
}

function valueOf({ name, kind, sql = sqlName(name) }: ProfileColumn): string {
  if (kind === 'categorical') return `(${sql})`;
  const value = `CAST((${sql}) AS DOUBLE)`;
  return `CASE WHEN isfinite(${value}) THEN ${value} END`;
}

/** The columns of one kind with the names they have in the relation. */
export function columnsOf(relation: Relation, kind: ProfileColumn['kind']): { name: string; field: string }[] {
  return relation.columns.flatMap((column, index) =>
    column.kind === kind ? [{ name: column.name, field: `c${String(index)}` }] : [],
  );
}
