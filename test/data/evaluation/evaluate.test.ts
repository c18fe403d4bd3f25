import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataError } from '../../../data/data-error.ts';
import { evaluate, type EvaluationInput } from '../../../data/evaluation/evaluate.ts';
import { lineConfig } from '../../policy/line-config.ts';
import { columnsModel, rows, spec, writeHoldout } from './holdout-rows.ts';

let folder: string;
let input: EvaluationInput;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-evaluate-'));
  input = {
    holdout: [await writeHoldout(join(folder, 'holdout.parquet'), rows)],
    challenger: { model: columnsModel, features: spec('c1', 'x1', 'c2', 'x2') },
    champion: { version: 3, model: columnsModel, features: spec('x2', 'x1', 'c2', 'c1') },
    config: lineConfig().evaluation,
    replicates: 300,
    seed: 1,
  };
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('evaluate', () => {
  it('leaves the event loop free while it works', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    const evaluation = await evaluate({ ...input, replicates: 3_000 });
    clearInterval(timer);
    expect(evaluation).toMatchObject({ overall: { rows: rows.length }, champion: 3 });
    expect(turns).toBeGreaterThan(20);
  });

  it('ends when it is told to', async () => {
    const controller = new AbortController();
    const running = evaluate({ ...input, replicates: 100_000 }, { signal: controller.signal });
    setTimeout(() => {
      controller.abort(new Error('the cycle was cancelled'));
    }, 50);
    await expect(running).rejects.toThrow('the cycle was cancelled');
    await expect(evaluate(input, { signal: controller.signal })).rejects.toThrow('the cycle was cancelled');
  });

  it('tells bad data, which no retry helps, from other failures', async () => {
    await expect(evaluate({ ...input, holdout: [] })).rejects.toBeInstanceOf(DataError);
    const failure = evaluate({ ...input, challenger: { model: join(folder, 'none.onnx'), features: spec('x1') } });
    await expect(failure).rejects.toThrow(/the challenger: .*none\.onnx/);
    await expect(failure).rejects.not.toBeInstanceOf(DataError);
  });
});
