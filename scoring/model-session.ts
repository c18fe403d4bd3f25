import * as ort from 'onnxruntime-node';
import type { Feature } from '../config/schema.ts';
import type { FeatureRows } from '../features/featurizer.ts';

/** A loaded version. */
export interface Model {
  /**
   * Probabilities in [0, 1], one a row, in the order of the rows.
   *
   * @throws ModelError when the model throws, or answers anything that is no probability (NaN, infinity, a wrong count).
   */
  score(rows: FeatureRows): Promise<Float32Array>;
  close(): Promise<void>;
}

/** A model that can not be loaded, or that answers what no model may answer. */
export class ModelError extends Error {
  override readonly name: string = 'ModelError';
}

const OUTPUT = 'probability';
/** Whatever ONNX Runtime would print below this is in the errors it throws. */
const FATAL = 4;

/**
 * Loads an ONNX model and runs it once on a row of missing values, so that the first request finds it warm.
 *
 * The model's inputs are `ids` int64 [N, categorical features] and `dense` float32 [N, numeric features], each absent
 * when the spec has none of its kind; its output is `probability` float32 [N]. Loading and running block the calling
 * thread: a process that answers requests uses `openThreadedModel`.
 *
 * @throws ModelError when the bytes are no ONNX model, or one that does not keep this contract.
 */
export async function openModel(bytes: Uint8Array, features: readonly Feature[]): Promise<Model> {
  const session = await load(bytes);
  const columns = {
    ids: features.filter((feature) => feature.kind === 'categorical').length,
    dense: features.filter((feature) => feature.kind === 'numeric').length,
  };
  const model: Model = {
    async score(rows) {
      return checkScores(await run(session, rows, columns), rows.count);
    },
    close: () => session.release(),
  };
  try {
    checkContract(session, columns);
    await run(session, missingRow(columns), columns);
  } catch (error) {
    await model.close();
    throw error;
  }
  return model;
}

interface Columns {
  ids: number;
  dense: number;
}

async function load(bytes: Uint8Array): Promise<ort.InferenceSession> {
  try {
    return await ort.InferenceSession.create(bytes, {
      executionProviders: ['cpu'],
      // One thread a model: requests run side by side on other threads, and sums come out the same each time.
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      logSeverityLevel: FATAL,
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
  } catch (error) {
    throw new ModelError(
      `not a model that ONNX Runtime can load (${String(bytes.byteLength)} bytes): ${messageOf(error)}; train the version again or restore its artifact`,
    );
  }
}

function checkContract(session: ort.InferenceSession, columns: Columns): void {
  const expected = [
    ...(columns.ids > 0 ? [describe('ids', 'int64', columns.ids)] : []),
    ...(columns.dense > 0 ? [describe('dense', 'float32', columns.dense)] : []),
  ];
  const found = session.inputMetadata.map(described);
  if (expected.toSorted().join() !== found.toSorted().join()) {
    throw new ModelError(
      `the model takes ${listed(found)}, its feature spec gives ${listed(expected)}: export it with the features it was registered with`,
    );
  }
  const output = session.outputMetadata.find(({ name }) => name === OUTPUT);
  if (output?.isTensor !== true || output.type !== 'float32') {
    throw new ModelError(
      `the model answers ${listed(session.outputMetadata.map(described))}, expected ${OUTPUT} float32 [N]: rename or cast the output`,
    );
  }
}

const describe = (name: string, type: string, width: number): string => `${name} ${type} [N, ${String(width)}]`;

function described(value: ort.InferenceSession.ValueMetadata): string {
  if (!value.isTensor) return `${value.name} (no tensor)`;
  const [, ...widths] = value.shape;
  return `${value.name} ${value.type} [${['N', ...widths.map(String)].join(', ')}]`;
}

const listed = (names: readonly string[]): string => (names.length === 0 ? 'nothing' : names.join(' and '));

async function run(
  session: ort.InferenceSession,
  rows: FeatureRows,
  columns: Columns,
): Promise<ort.Tensor | undefined> {
  const feeds: Record<string, ort.Tensor> = {};
  if (columns.ids > 0) feeds['ids'] = new ort.Tensor('int64', rows.ids, [rows.count, columns.ids]);
  if (columns.dense > 0) feeds['dense'] = new ort.Tensor('float32', rows.dense, [rows.count, columns.dense]);
  try {
    return (await session.run(feeds, { logSeverityLevel: FATAL }))[OUTPUT];
  } catch (error) {
    throw new ModelError(`the model threw while scoring ${String(rows.count)} rows: ${messageOf(error)}`);
  }
}

function checkScores(output: ort.Tensor | undefined, count: number): Float32Array {
  const scores = output?.data;
  if (!(scores instanceof Float32Array) || scores.length !== count) {
    throw new ModelError(`the model answered ${String(output?.size ?? 0)} scores for ${String(count)} rows`);
  }
  const wrong = scores.findIndex((score) => !(score >= 0 && score <= 1));
  if (wrong >= 0)
    throw new ModelError(`the model scored row ${String(wrong)} of ${String(count)} with ${String(scores[wrong])}`);
  return scores;
}

function missingRow(columns: Columns): FeatureRows {
  return { count: 1, ids: new BigInt64Array(columns.ids), dense: new Float32Array(columns.dense).fill(NaN) };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
