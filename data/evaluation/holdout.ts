import type { DuckDBDataChunk } from '@duckdb/node-api';
import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import type { FeatureRows } from '../../features/featurizer.ts';
import { DataError } from '../data-error.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from '../duckdb.ts';
import { featuresOf, type FeatureColumns } from '../feature-rows.ts';

/** A piece of the holdout, in file order. */
export interface HoldoutBatch {
  labels: Uint8Array;
  /** The user of each row; rows without a user are each a user of their own request, null where they have none either. */
  users: (string | null)[];
  /** The request that each row was ranked in; null where it is not known. */
  requests: (string | null)[];
  /** What each spec's model is fed for these rows, in the order of the specs. */
  features: FeatureRows[];
}

export interface Holdout {
  rows: number;
  /** By spec, the names of the features that the files have no column of that kind for: they are fed as missing. */
  missing: string[][];
  batches(): AsyncGenerator<HoldoutBatch>;
  close(): void;
}

/**
 * Opens holdout files for one or more feature specs: each batch holds the same rows for all of them.
 *
 * @throws DataError when a file can not be read or lacks `label`, `user_id` or `request_id`.
 */
export async function openHoldout(paths: readonly string[], specs: readonly (readonly Feature[])[]): Promise<Holdout> {
  const duck = await openDuckDb();
  try {
    if (paths.length === 0) throw new DataError('the holdout has no files: take the snapshot again');
    const source = parquetSource(paths);
    const columns = await describeSource(duck, source);
    const plans = specs.map((features) => planFor(features, columns));
    const names = [...new Set(plans.flatMap(({ ids, dense }) => [...ids, ...dense]))].filter((name) => name !== null);
    const { rows } = await duck.row(`SELECT count(*) AS rows FROM ${source}`, z.object({ rows: z.number() }));
    const selected = names.map(
      (name) => `CAST(${sqlName(name)} AS ${columns.get(name) === 'id' ? 'BIGINT' : 'FLOAT'})`,
    );
    const keys = [
      'CAST(label AS INTEGER)',
      "coalesce(CAST(user_id AS VARCHAR), 'request ' || request_id)",
      requestOf(columns),
    ];
    const query = `SELECT ${[...keys, ...selected].join(', ')} FROM ${source}`;
    const position = new Map(names.map((name, index) => [name, index + keys.length]));
    return {
      rows,
      missing: plans.map(({ missing }) => missing),
      batches: () => readBatches(duck, query, { plans, position }),
      close: () => {
        duck.close();
      },
    };
  } catch (error) {
    duck.close();
    throw error;
  }
}

/** SQL that reads Parquet files one after the other; a column that one of them lacks is NULL there. */
export function parquetSource(paths: readonly string[]): string {
  return `read_parquet([${paths.map(sqlText).join(', ')}], union_by_name = true)`;
}

type ColumnKind = 'id' | 'number' | 'other';

/** SQL of a row's request; a snapshot gives a row without one the impression's id. */
function requestOf(columns: ReadonlyMap<string, ColumnKind>): string {
  const request = `nullif(CAST(request_id AS VARCHAR), '')`;
  return columns.has('impression_id') ? `nullif(${request}, CAST(impression_id AS VARCHAR))` : request;
}

async function describeSource(duck: Duck, source: string): Promise<Map<string, ColumnKind>> {
  const found = await duck.describe(`SELECT * FROM ${source}`).catch((error: unknown) => {
    throw new DataError(`the holdout can not be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  const names = new Set(found.map(({ name }) => name));
  const lacking = ['label', 'user_id', 'request_id'].filter((name) => !names.has(name));
  if (lacking.length > 0) {
    throw new DataError(`the holdout has no column ${lacking.join(', ')}; its columns are ${[...names].join(', ')}`);
  }
  const kinds = new Map<string, ColumnKind>();
  for (const { name, type } of found) {
    if (type === 'BIGINT') kinds.set(name, 'id');
    else kinds.set(name, type === 'FLOAT' || type === 'DOUBLE' ? 'number' : 'other');
  }
  return kinds;
}

interface Plan extends FeatureColumns {
  missing: string[];
}

function planFor(features: readonly Feature[], columns: Map<string, ColumnKind>): Plan {
  const plan: Plan = { ids: [], dense: [], missing: [] };
  for (const { kind, name } of features) {
    const known = columns.get(name) === (kind === 'categorical' ? 'id' : 'number');
    (kind === 'categorical' ? plan.ids : plan.dense).push(known ? name : null);
    if (!known) plan.missing.push(name);
  }
  return plan;
}

async function* readBatches(
  duck: Duck,
  query: string,
  { plans, position }: { plans: readonly Plan[]; position: ReadonlyMap<string, number> },
): AsyncGenerator<HoldoutBatch> {
  const result = await duck.connection.stream(query);
  for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
    yield batchOf(chunk, plans, position);
  }
}

function batchOf(chunk: DuckDBDataChunk, plans: readonly Plan[], position: ReadonlyMap<string, number>): HoldoutBatch {
  const labels = Uint8Array.from(chunk.getColumnValues(0), (label) => {
    if (label === 0 || label === 1) return label;
    throw new DataError(`the holdout has the label ${String(label)}, expected 0 or 1: the snapshot was not checked`);
  });
  const features = plans.map((plan) => featuresOf(chunk, plan, position));
  return { labels, users: textsOf(chunk, 1), requests: textsOf(chunk, 2), features };
}

const textsOf = (chunk: DuckDBDataChunk, column: number): (string | null)[] =>
  chunk.getColumnValues(column) as (string | null)[];
