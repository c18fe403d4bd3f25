import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import { readFeatureRows } from '../../data/feature-rows.ts';
import type { Rescore } from '../../data/checks/check.ts';
import { sqlName, type Duck } from '../../data/duckdb.ts';
import { makeCategoryIds } from '../../data/sources/category-ids.ts';
import { fieldOf } from '../../data/sources/source-columns.ts';
import type { FeatureRows } from '../../features/featurizer.ts';
import { benchConfig } from './line.ts';

const SLOTS = 1 << 18;
const RATE = 0.05;

/** A logistic regression on hashed features: what serves in this benchmark. */
export interface Scorer {
  /** Fills `score` of every row of table `log`. */
  scoreLog: (db: Duck) => Promise<void>;
  /** Scores rows of a snapshot's views. */
  rescore: (db: Duck) => Rescore;
}

/** Trains on the first rows of table `log`, in one pass. */
export async function trainScorer(db: Duck, input: { untilMs: number }): Promise<Scorer> {
  const { features } = benchConfig();
  await featurize(db, features);
  const columns = features.map(({ name }) => sqlName(name)).join(', ');
  const early = `FROM featurized WHERE time_ms < ${String(input.untilMs)} ORDER BY time_ms, impression_id`;
  const rows = await readFeatureRows(db, `SELECT ${columns} ${early}`, features);
  const labels = await db.rows(`SELECT is_click AS label ${early}`, z.object({ label: z.number() }));
  const weights = new Float64Array(SLOTS + 2 * features.length);
  for (const [row, { label }] of labels.entries()) learn(weights, { rows, row, label });
  return {
    scoreLog: async (target) => {
      const all = 'FROM featurized ORDER BY impression_id';
      const scored = scoresOf(weights, await readFeatureRows(target, `SELECT ${columns} ${all}`, features));
      const ids = await target.rows(`SELECT impression_id AS id ${all}`, z.object({ id: z.string() }));
      await target.run('CREATE TABLE scores (impression_id VARCHAR, scored DOUBLE)');
      const appender = await target.connection.createAppender('scores');
      for (const [row, { id }] of ids.entries()) {
        appender.appendVarchar(id);
        appender.appendDouble(scored[row] ?? Number.NaN);
        appender.endRow();
      }
      appender.closeSync();
      await target.run('UPDATE log SET score = scored FROM scores WHERE log.impression_id = scores.impression_id');
      for (const table of ['scores', 'featurized']) await target.run(`DROP TABLE ${table}`);
    },
    rescore:
      (views) =>
      async ({ version, sql }) => {
        if (version !== 1) return { impossible: `version ${String(version)} never served` };
        return scoresOf(weights, await readFeatureRows(views, `SELECT ${columns} FROM (${sql})`, features));
      },
  };
}

/** Table `featurized`: what the gateway would feed to a model. */
async function featurize(db: Duck, features: readonly Feature[]): Promise<void> {
  const joins: string[] = [];
  const values: string[] = [];
  for (const [index, feature] of features.entries()) {
    const column = sqlName(fieldOf(feature));
    if (feature.kind === 'numeric') {
      values.push(`CAST(${column} AS FLOAT) AS ${sqlName(feature.name)}`);
      continue;
    }
    const table = `ids_${String(index)}`;
    await makeCategoryIds(db, {
      name: table,
      value: { sql: column, type: 'VARCHAR' },
      from: `(SELECT CAST(${column} AS VARCHAR) AS ${column} FROM log)`,
    });
    joins.push(`LEFT JOIN ${table} ON ${table}.freshet_text = CAST(log.${column} AS VARCHAR)`);
    values.push(`coalesce(${table}.freshet_id, 0) AS ${sqlName(feature.name)}`);
  }
  await db.run(
    `CREATE TABLE featurized AS SELECT impression_id, time_ms, is_click, ${values.map((value) => value.replace(/^CAST\("/, 'CAST(log."')).join(', ')} FROM log ${joins.join(' ')}`,
  );
}

interface Row {
  rows: FeatureRows;
  row: number;
}

function slotsOf({ rows, row }: Row): { slots: number[]; dense: number[] } {
  const width = rows.ids.length / rows.count;
  const denseWidth = rows.dense.length / rows.count;
  const slots: number[] = [];
  for (let i = 0; i < width; i += 1) {
    const id = BigInt.asUintN(64, (rows.ids[row * width + i] ?? 0n) * 0x9e3779b97f4a7c15n + BigInt(i));
    slots.push(Number(id >> 46n));
  }
  const dense: number[] = [];
  for (let i = 0; i < denseWidth; i += 1) {
    const value = rows.dense[row * denseWidth + i] ?? Number.NaN;
    dense.push(Number.isNaN(value) ? 0 : Math.log1p(Math.max(0, value)) / 10);
  }
  return { slots, dense };
}

function scoreOf(weights: Float64Array, { slots, dense }: { slots: number[]; dense: number[] }): number {
  let sum = 0;
  for (const slot of slots) sum += weights[slot] ?? 0;
  for (const [i, value] of dense.entries()) sum += value * (weights[SLOTS + i] ?? 0);
  return 1 / (1 + Math.exp(-sum));
}

function learn(weights: Float64Array, { rows, row, label }: Row & { label: number }): void {
  const found = slotsOf({ rows, row });
  const step = RATE * (label - scoreOf(weights, found));
  for (const slot of found.slots) weights[slot] = (weights[slot] ?? 0) + step;
  for (const [i, value] of found.dense.entries()) weights[SLOTS + i] = (weights[SLOTS + i] ?? 0) + step * value;
}

function scoresOf(weights: Float64Array, rows: FeatureRows): Float64Array {
  return Float64Array.from({ length: rows.count }, (_, row) => scoreOf(weights, slotsOf({ rows, row })));
}
