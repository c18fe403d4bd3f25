import { readdir, readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { trainerResult } from '../../activities/trainer-outputs.ts';
import { compareWithTrainer } from '../../data/evaluation/parity.ts';
import { openDuckDb, sqlText } from '../../data/duckdb.ts';
import { readFeatureRows } from '../../data/feature-rows.ts';
import type { FeatureRows } from '../../features/featurizer.ts';
import { decideParity } from '../../policy/parity.ts';
import { auc } from '../../policy/ranking-metrics.ts';
import { openModel, type Model } from '../../scoring/model-session.ts';
import { messageOf } from '../stack/say.ts';
import type { BenchRun, TrainerBench } from './bench.ts';
import { fail, pass, warn, type CheckFinding } from './finding.ts';
import { NEIGHBOUR_IDS } from './snapshot.ts';

export const OUTPUTS = ['model.onnx', 'checkpoint.pt', 'result.json', 'predictions.parquet'] as const;
const LEARNS_AUC = 0.6;
const SAME_SCORE = 1e-5;
const FLOAT32_MAX = 3.4e38;

/** Whether a run that should have ended well did; says what is wrong otherwise. */
export async function endedWell(bench: TrainerBench, run: BenchRun): Promise<string | null> {
  if (run.code !== 0 || run.startError !== null || run.timedOut) return bench.describe(run);
  const missing = await missingOutputs(run);
  return missing.length === 0 ? null : `exited with 0 without ${missing.join(', ')} in outputDir`;
}

async function missingOutputs(run: BenchRun): Promise<string[]> {
  const sizes = await Promise.all(OUTPUTS.map((name) => sizeOf(`${run.outputDir}/${name}`)));
  return OUTPUTS.filter((_, index) => (sizes[index] ?? 0) === 0);
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

/** Whether a run that exited with 0 left what that promises. */
export async function checkFiles(run: BenchRun): Promise<CheckFinding> {
  const missing = await missingOutputs(run);
  const promised = OUTPUTS.join(', ');
  if (missing.length === 0) return pass('outputs', promised);
  return fail(
    'outputs',
    `exit code 0 promises all of ${promised} in outputDir; missing or empty: ${missing.join(', ')}`,
  );
}

/** Checks of what a run said and left that has exited with 0. */
export async function checkOutputs(bench: TrainerBench, name: string, run: BenchRun): Promise<CheckFinding[]> {
  const missing = await missingOutputs(run);
  const findings = checkOutput(run);
  if (!missing.includes('result.json')) findings.push(await checkResult(run));
  if (!missing.includes('model.onnx')) findings.push(...(await checkModel(bench, run)));
  if (!missing.includes('model.onnx') && !missing.includes('predictions.parquet')) {
    findings.push(await checkPredictions(bench, name));
  }
  return findings;
}

/** What was said on standard output. */
function checkOutput({ lines, malformed, garbage }: BenchRun): CheckFinding[] {
  const progress = lines.filter((line) => line.type === 'progress');
  const absurd = progress.find(
    (line) => line.epoch > line.epochs || line.step > line.steps || line.samplesPerSecond < 0,
  );
  return [
    malformed[0] !== undefined
      ? fail('progress', `a line that the contract knows has wrong fields: ${malformed[0]}`)
      : absurd !== undefined
        ? fail(
            'progress',
            `epoch and step may not exceed epochs and steps, nor rates be negative: ${JSON.stringify(absurd)}`,
          )
        : progress.length === 0
          ? fail(
              'progress',
              'no progress line: print at least one, and flush it; a trainer that says nothing for two minutes is ended',
            )
          : pass('progress', `${String(progress.length)} of ${String(lines.length)} lines`),
    garbage[0] === undefined
      ? pass('stdout', 'nothing but JSON lines')
      : warn(
          'stdout',
          `standard output is for JSON lines of the contract; print this to standard error: ${garbage[0]}`,
        ),
  ];
}

async function checkResult(run: BenchRun): Promise<CheckFinding> {
  const check = 'result.json';
  try {
    const parsed = trainerResult.safeParse(JSON.parse(await readFile(`${run.outputDir}/result.json`, 'utf8')));
    if (!parsed.success) return fail(check, z.prettifyError(parsed.error));
    const { strategy, examples, metrics } = parsed.data;
    if (strategy !== 'full')
      return fail(check, `strategy is ${strategy} although the manifest asked for full: say what was done`);
    if (examples === 0) return warn(check, 'examples is 0: expected the rows times the epochs that were trained on');
    return pass(check, `${String(examples)} examples, metrics ${Object.keys(metrics).join(', ') || 'none'}`);
  } catch (error) {
    return fail(check, `can not be read as JSON: ${messageOf(error)}`);
  }
}

async function checkModel(bench: TrainerBench, run: BenchRun): Promise<CheckFinding[]> {
  const bytes = await readFile(`${run.outputDir}/model.onnx`);
  let model: Model;
  try {
    model = await openModel(bytes, bench.config.features);
  } catch (error) {
    return [fail('model', `${messageOf(error)}${await filesBeside(run)}`)];
  }
  try {
    const loads = pass('model', `one file of ${String(Math.ceil(bytes.length / 1_024))} KiB that ONNX Runtime loads`);
    return [loads, await checkBatches(bench, model), await checkOddRows(model), ...(await checkLearning(bench, model))];
  } finally {
    await model.close();
  }
}

async function filesBeside(run: BenchRun): Promise<string> {
  const others = (await readdir(run.outputDir)).filter((file) => !(OUTPUTS as readonly string[]).includes(file));
  return others.length === 0 ? '' : `; the weights have to be inside of it, is ${others.join(', ')} part of it?`;
}

async function checkBatches(bench: TrainerBench, model: Model): Promise<CheckFinding> {
  const rows = await rowsOf(bench, bench.snapshot.train);
  const sizes = [1, 7, 1_000];
  const batches: Float32Array[] = [];
  for (const size of sizes) {
    try {
      batches.push(await model.score(slice(rows, size)));
    } catch (error) {
      return fail(
        'model.batches',
        `in a batch of ${String(size)} rows ${messageOf(error)}; expected one probability a row, whatever their number: the first dimension of inputs and output is dynamic`,
      );
    }
  }
  const largest = batches.at(-1);
  for (const scores of batches) {
    const row = scores.findIndex((score, index) => !(Math.abs(score - (largest?.[index] ?? NaN)) <= SAME_SCORE));
    if (row >= 0)
      return fail(
        'model.batches',
        `row ${String(row)} scores differently in a batch of ${String(scores.length)}: rows must not see each other`,
      );
  }
  return pass('model.batches', `probabilities for batches of ${sizes.join(', ')} rows`);
}

/** Missing values, ids that no snapshot had, and numbers at the ends of their range: all of them arrive one day. */
async function checkOddRows(model: Model): Promise<CheckFinding> {
  const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
  const odd: [string, [bigint, bigint], [number, number]][] = [
    ['all values missing', [0n, 0n], [NaN, NaN]],
    ['one number missing', [NEIGHBOUR_IDS[0], 1n], [NaN, 1]],
    ['ids that were never seen', [12_345n, -12_345n], [10, 10]],
    ['the largest ids', [int64.min, int64.max], [10, 10]],
    ['the largest numbers', [0n, 0n], [FLOAT32_MAX, FLOAT32_MAX]],
    ['the smallest numbers', [0n, 0n], [-FLOAT32_MAX, -FLOAT32_MAX]],
    ['a number below what log1p takes', [0n, 0n], [0, -5]],
  ];
  for (const [what, ids, dense] of odd) {
    try {
      await model.score({ count: 1, ids: BigInt64Array.from(ids), dense: Float32Array.from(dense) });
    } catch (error) {
      return fail('model.odd-rows', `with ${what}: ${messageOf(error)}; a probability has to come out of every row`);
    }
  }
  return pass('model.odd-rows', 'probabilities for missing values, unknown ids and extreme numbers');
}

async function checkLearning(bench: TrainerBench, model: Model): Promise<CheckFinding[]> {
  const rows = await rowsOf(bench, bench.snapshot.train);
  let scores: Float32Array;
  try {
    scores = await model.score(rows);
  } catch {
    return [];
  }
  const learned = auc(await labelsOf(bench), scores);
  const [a, b] = await Promise.all(
    NEIGHBOUR_IDS.map((id) =>
      model.score({ count: 1, ids: BigInt64Array.from([id, 0n]), dense: Float32Array.of(NaN, NaN) }),
    ),
  );
  const found = `AUC ${learned.toFixed(3)} on the train part`;
  return [
    learned > LEARNS_AUC
      ? pass('model.learns', found)
      : warn(
          'model.learns',
          `${found}, expected more than ${String(LEARNS_AUC)}: the clicks depend on all four features; are labels and columns read in order?`,
        ),
    a?.[0] === b?.[0]
      ? warn(
          'model.ids',
          `ids ${NEIGHBOUR_IDS.join(' and ')} score the same though one is clicked far more: are 64-bit ids cut to doubles?`,
        )
      : pass('model.ids', 'ids keep all their 64 bits'),
  ];
}

async function checkPredictions(bench: TrainerBench, name: string): Promise<CheckFinding> {
  const { features, gate } = bench.config;
  const { train, replay } = bench.snapshot;
  const parity = await compareWithTrainer({
    predictions: bench.outputOf(name, 'predictions.parquet'),
    ...{ train, replay },
    model: bench.outputOf(name, 'model.onnx'),
    features,
  });
  const { kind, reasons } = decideParity({ parity, config: gate.parity });
  const message = reasons.map((reason) => reason.message).join(' ');
  return kind === 'pass' ? pass('predictions', message) : fail('predictions', message);
}

async function rowsOf(bench: TrainerBench, paths: readonly string[]): Promise<FeatureRows> {
  const duck = await openDuckDb();
  try {
    return await readFeatureRows(duck, `SELECT * FROM ${filesOf(paths)}`, bench.config.features);
  } finally {
    duck.close();
  }
}

async function labelsOf(bench: TrainerBench): Promise<number[]> {
  const duck = await openDuckDb();
  try {
    const rows = await duck.rows(`SELECT label FROM ${filesOf(bench.snapshot.train)}`, z.object({ label: z.number() }));
    return rows.map(({ label }) => label);
  } finally {
    duck.close();
  }
}

const filesOf = (paths: readonly string[]): string => `read_parquet([${paths.map(sqlText).join(', ')}])`;

function slice({ count, ids, dense }: FeatureRows, rows: number): FeatureRows {
  return {
    count: rows,
    ids: ids.subarray(0, (ids.length / count) * rows),
    dense: dense.subarray(0, (dense.length / count) * rows),
  };
}
