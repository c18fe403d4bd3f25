import { stat } from 'node:fs/promises';
import * as ort from 'onnxruntime-node';
import type { Feature } from '../config/schema.ts';
import type { FeatureRows } from '../features/featurizer.ts';
import type { RowWidths } from './shared-batch.ts';

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

/** A model that requests are scored with together. */
export interface BatchModel extends Model {
  /**
   * Scores the rows of several requests in one run: the first `counts[0]` rows are one's, and so on. What goes wrong with
   * one request is its error alone.
   */
  scoreEach(rows: FeatureRows, counts: readonly number[]): Promise<(Float32Array | ModelError)[]>;
  /** Values of a row, by input. */
  widths: RowWidths;
}

/** A model that can not be loaded, or that answers what no model may answer. */
export class ModelError extends Error {
  override readonly name: string = 'ModelError';
  /** `notNumbers`: it answered, with NaN or infinity. */
  readonly kind: 'failed' | 'notNumbers';

  constructor(message: string, kind: 'failed' | 'notNumbers' = 'failed') {
    super(message);
    this.kind = kind;
  }
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
 * @param model the bytes of the ONNX file, or its path: from a path no second copy stays in memory.
 * @throws ModelError when it is no ONNX model, or one that does not keep this contract.
 */
export async function openModel(model: Uint8Array | string, features: readonly Feature[]): Promise<BatchModel> {
  const session = await load(model);
  const columns = rowWidths(features);
  const score = async (rows: FeatureRows): Promise<Float32Array> =>
    checkScores(await run(session, rows, columns), rows.count);
  const opened: BatchModel = {
    score,
    async scoreEach(rows, counts) {
      const parts = partsOf(counts);
      if (parts.length > 1) {
        try {
          const scores = scoresOf(await run(session, rows, columns), rows.count);
          return parts.map((part) => caught(() => checkProbabilities(scores.subarray(part.from, part.to))));
        } catch {
          // One of them breaks the run: each for itself, so that it breaks none but its own.
        }
      }
      const results: (Float32Array | ModelError)[] = [];
      for (const part of parts) results.push(await score(slice(rows, part, columns)).catch(asModelError));
      return results;
    },
    widths: columns,
    close: () => session.release(),
  };
  try {
    checkContract(session, columns);
    await run(session, missingRow(columns), columns);
  } catch (error) {
    await opened.close();
    throw error;
  }
  return opened;
}

/** What a spec feeds a model, row by row. */
export function rowWidths(features: readonly Feature[]): RowWidths {
  const categorical = features.filter(({ kind }) => kind === 'categorical').length;
  return { ids: categorical, dense: features.length - categorical };
}

const SESSION_OPTIONS: ort.InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  // One thread a model: requests run side by side on other threads, and sums come out the same each time.
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: FATAL,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
};

async function load(model: Uint8Array | string): Promise<ort.InferenceSession> {
  const bytes = typeof model === 'string' ? (await stat(model)).size : model.byteLength;
  try {
    // Told apart for the types alone.
    return typeof model === 'string'
      ? await ort.InferenceSession.create(model, SESSION_OPTIONS)
      : await ort.InferenceSession.create(model, SESSION_OPTIONS);
  } catch (error) {
    throw new ModelError(
      `not a model that ONNX Runtime can load (${String(bytes)} bytes): ${messageOf(error)}; train the version again or restore its artifact`,
    );
  }
}

function checkContract(session: ort.InferenceSession, columns: RowWidths): void {
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
  columns: RowWidths,
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
  return checkProbabilities(scoresOf(output, count));
}

function scoresOf(output: ort.Tensor | undefined, count: number): Float32Array {
  const scores = output?.data;
  if (!(scores instanceof Float32Array) || scores.length !== count) {
    throw new ModelError(`the model answered ${String(output?.size ?? 0)} scores for ${String(count)} rows`);
  }
  return scores;
}

/** How far rounding takes a sigmoid in single precision: ONNX Runtime's own answers 1.0000001 for a logit of 17.844. */
const ROUNDING = 1e-6;

/** In place: what is beyond 0 or 1 by no more than rounding is taken for that. */
function checkProbabilities(scores: Float32Array): Float32Array {
  for (let row = 0; row < scores.length; row++) {
    const score = scores[row] ?? NaN;
    if (score >= 0 && score <= 1) continue;
    if (!(score >= -ROUNDING && score <= 1 + ROUNDING)) {
      throw new ModelError(
        `the model scored row ${String(row)} of ${String(scores.length)} with ${String(score)}`,
        Number.isFinite(score) ? 'failed' : 'notNumbers',
      );
    }
    scores[row] = score < 0 ? 0 : 1;
  }
  return scores;
}

interface Part {
  from: number;
  to: number;
}

function partsOf(counts: readonly number[]): Part[] {
  let from = 0;
  return counts.map((count) => {
    const part = { from, to: from + count };
    from = part.to;
    return part;
  });
}

function slice(rows: FeatureRows, { from, to }: Part, columns: RowWidths): FeatureRows {
  return {
    count: to - from,
    ids: rows.ids.subarray(from * columns.ids, to * columns.ids),
    dense: rows.dense.subarray(from * columns.dense, to * columns.dense),
  };
}

function caught(score: () => Float32Array): Float32Array | ModelError {
  try {
    return score();
  } catch (error) {
    return asModelError(error);
  }
}

const asModelError = (error: unknown): ModelError =>
  error instanceof ModelError ? error : new ModelError(messageOf(error));

function missingRow(columns: RowWidths): FeatureRows {
  return { count: 1, ids: new BigInt64Array(columns.ids), dense: new Float32Array(columns.dense).fill(NaN) };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
