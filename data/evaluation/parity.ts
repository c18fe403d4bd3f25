import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import type { FeatureRows } from '../../features/featurizer.ts';
import type { Parity, ParityRow } from '../../policy/parity.ts';
import { ModelError } from '../../scoring/model-session.ts';
import { ModelTimeout, openThreadedModel, type ThreadedModel } from '../../scoring/threaded-model.ts';
import { DataError } from '../data-error.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from '../duckdb.ts';
import { readFeatureRows } from '../feature-rows.ts';

export interface ParityInput {
  /** Local path of the trainer's predictions: `impression_id` and `probability`. */
  predictions: string;
  /** Local paths of the snapshot's Parquet files. Predictions are of rows of the train part; replayed rows are known, too. */
  train: readonly string[];
  replay: readonly string[];
  /** Local path of the ONNX file, and the spec it was trained with. */
  model: string;
  features: readonly Feature[];
}

/** The contract asks for no more; of more, as many are looked at, evenly spread. */
const MAX_ROWS = 10_000;
const BATCH_ROWS = 2_048;
/** A batch takes milliseconds; a minute means that the model hangs. */
const SCORE_WITHIN_MS = 60_000;

const int = z.number().int();

/** There is nothing to compare, for a reason that is the trainer's. */
class NotComparable extends Error {}

/**
 * Scores the rows that the trainer predicted with `model.onnx`, in a thread of its own, and compares. An id that the files
 * hold more than once with different features counts with the row that agrees best: the trainer may have meant either.
 *
 * Bad predictions and broken models are findings, not errors. @throws Error when the train part has no files or can
 * not be read, or the model hangs.
 */
export async function compareWithTrainer(input: ParityInput): Promise<Parity> {
  if (input.train.length === 0) throw new DataError('the snapshot has no rows to train on: take it again');
  const duck = await openDuckDb();
  try {
    const { trainRows } = await duck.row(
      `SELECT count(*) AS "trainRows" FROM ${tableOf(input.train)}`,
      z.object({ trainRows: int }),
    );
    const none = { ...NOTHING, trainRows };
    try {
      await readPredictions(duck, input.predictions);
      return { ...none, ...(await matchRows(duck, input)), ...(await compare(duck, input)) };
    } catch (error) {
      if (error instanceof NotComparable) return { ...none, problem: error.message };
      throw error;
    }
  } finally {
    duck.close();
  }
}

const NOTHING: Omit<Parity, 'trainRows'> = {
  problem: null,
  predictions: 0,
  rows: 0,
  unknownRow: null,
  notNumbers: 0,
  firstNotNumber: null,
  maxDelta: null,
  meanDelta: null,
  worst: null,
};

const tableOf = (paths: readonly string[]): string =>
  `read_parquet([${paths.map(sqlText).join(', ')}], union_by_name = true)`;

/** Table `predicted`: what the trainer said, NULL where it is no probability, by place in its file. */
async function readPredictions(duck: Duck, path: string): Promise<void> {
  const source = `read_parquet(${sqlText(path)})`;
  const unreadable = (error: unknown): never => {
    throw new NotComparable(
      `its predictions.parquet can not be read (${error instanceof Error ? error.message : String(error)}); expected a Parquet file with impression_id (string) and probability (float)`,
    );
  };
  const columns = new Map(
    (await duck.describe(`SELECT * FROM ${source}`).catch(unreadable)).map(({ name, type }) => [name, type]),
  );
  const number = ['FLOAT', 'DOUBLE'].includes(columns.get('probability') ?? '');
  if (columns.get('impression_id') !== 'VARCHAR' || !number) {
    const found = [...columns].map(([name, type]) => `${name} ${type}`).join(', ');
    throw new NotComparable(
      `its predictions.parquet has the columns ${found}; expected impression_id (string) and probability (float)`,
    );
  }
  await duck
    .run(
      `CREATE TABLE predicted AS
       SELECT place, impression_id, CASE WHEN probability BETWEEN 0 AND 1 THEN CAST(probability AS DOUBLE) END AS trainer
       FROM (SELECT *, row_number() OVER () AS place, count(*) OVER () AS predictions FROM ${source})
       WHERE place % greatest(1, CAST(ceil(predictions / ${String(MAX_ROWS)}) AS BIGINT)) = 0`,
    )
    .catch(unreadable);
}

/** Table `matched`: the predicted rows of the snapshot with their features, in an order of its own. */
async function matchRows(
  duck: Duck,
  { train, replay, features }: ParityInput,
): Promise<Pick<Parity, 'predictions' | 'rows' | 'unknownRow'>> {
  const columns = ['impression_id', ...features.map(({ name }) => sqlName(name))].join(', ');
  await duck.run(`
    CREATE TABLE matched AS
    SELECT row_number() OVER () AS "#row", place AS "#place", trainer AS "#trainer", rows.*
    FROM predicted JOIN (
      SELECT DISTINCT ${columns} FROM ${tableOf([...train, ...replay])} SEMI JOIN predicted USING (impression_id)
    ) AS rows USING (impression_id)`);
  return duck.row(
    `SELECT count(*) AS predictions, count(*) FILTER (known) AS rows,
       min(coalesce(impression_id, 'one without an id')) FILTER (NOT known) AS "unknownRow"
     FROM (SELECT impression_id, place IN (SELECT "#place" FROM matched) AS known FROM predicted)`,
    z.object({ predictions: int, rows: int, unknownRow: z.string().nullable() }),
  );
}

type Figures = Pick<Parity, 'notNumbers' | 'firstNotNumber' | 'maxDelta' | 'meanDelta' | 'worst'>;

async function compare(duck: Duck, { model, features }: ParityInput): Promise<Partial<Figures>> {
  const matched = 'FROM matched ORDER BY "#row"';
  const said = await duck.rows(
    `SELECT "#place" AS place, impression_id AS "impressionId", "#trainer" AS trainer ${matched}`,
    z.object({ place: int, impressionId: z.string(), trainer: z.number().nullable() }),
  );
  if (said.length === 0) return {};
  const scores = await scoreRows({ model, features }, await readFeatureRows(duck, `SELECT * ${matched}`, features));
  const byPlace = new Map<number, ParityRow>();
  for (const [index, { place, impressionId, trainer }] of said.entries()) {
    const row = { impressionId, trainer, onnx: scores[index] ?? null };
    const other = byPlace.get(place);
    if (other === undefined || deltaOf(row) < deltaOf(other)) byPlace.set(place, row);
  }
  return figuresOf([...byPlace.values()]);
}

/** Infinite where a side says no probability. */
const deltaOf = ({ trainer, onnx }: ParityRow): number =>
  trainer === null || onnx === null ? Infinity : Math.abs(trainer - onnx);

function figuresOf(rows: readonly ParityRow[]): Figures {
  const numbers = rows.filter((row) => Number.isFinite(deltaOf(row)));
  const notNumbers = rows.filter((row) => !Number.isFinite(deltaOf(row)));
  const worst = numbers.reduce<ParityRow | null>(
    (most, row) => (most === null || deltaOf(row) > deltaOf(most) ? row : most),
    null,
  );
  return {
    notNumbers: notNumbers.length,
    firstNotNumber: notNumbers[0] ?? null,
    maxDelta: worst === null ? null : deltaOf(worst),
    meanDelta: worst === null ? null : numbers.reduce((sum, row) => sum + deltaOf(row), 0) / numbers.length,
    worst,
  };
}

/** What ONNX Runtime answers, batch by batch; null where it is no probability. */
async function scoreRows(
  { model: path, features }: Pick<ParityInput, 'model' | 'features'>,
  rows: FeatureRows,
): Promise<(number | null)[]> {
  const model = await openThreadedModel({ title: 'model.onnx', path, features }).catch((error: unknown) => {
    if (error instanceof ModelError) throw new NotComparable(error.message);
    throw error;
  });
  try {
    const scores: (number | null)[] = [];
    for (let from = 0; from < rows.count; from += BATCH_ROWS) {
      scores.push(...(await scoreBatch(model, sliceOf(rows, from, Math.min(BATCH_ROWS, rows.count - from)))));
    }
    return scores;
  } finally {
    await model.close();
  }
}

/** A batch that the model refuses is scored row by row, so that the rows that are at fault have a name. */
async function scoreBatch(model: ThreadedModel, rows: FeatureRows): Promise<(number | null)[]> {
  const together = await ask(model, rows);
  if (typeof together !== 'string') return [...together];
  const alone: (number | null)[] = [];
  for (let row = 0; row < rows.count; row++) {
    const answer = await ask(model, sliceOf(rows, row, 1));
    alone.push(typeof answer === 'string' ? null : (answer[0] ?? null));
  }
  if (alone.includes(null)) return alone;
  throw new NotComparable(`${together}, though it scores each row alone: is its batch dimension dynamic?`);
}

/** Probabilities, or the words with which the model refused. @throws ModelTimeout */
async function ask(model: ThreadedModel, rows: FeatureRows): Promise<Float32Array | string> {
  try {
    return (await model.score(rows, SCORE_WITHIN_MS)).scores;
  } catch (error) {
    if (error instanceof ModelError && !(error instanceof ModelTimeout)) return error.message;
    throw error;
  }
}

function sliceOf({ count, ids, dense }: FeatureRows, from: number, rows: number): FeatureRows {
  const cut = <T extends BigInt64Array | Float32Array>(values: T): T => {
    const width = values.length / count;
    return values.slice(from * width, (from + rows) * width) as T;
  };
  return { count: rows, ids: cut(ids), dense: cut(dense) };
}
