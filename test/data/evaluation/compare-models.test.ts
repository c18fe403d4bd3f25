import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { compareModels } from '../../../data/evaluation/compare-models.ts';
import type { EvaluationInput } from '../../../data/evaluation/evaluate.ts';
import type { Evaluation } from '../../../policy/gate.ts';
import { auc, calibrationRatio, logLoss } from '../../../policy/statistics.ts';
import { columnsModel, columnsScore, fixture, rows, spec, writeHoldout } from './holdout-rows.ts';

let folder: string;
let holdout: string[];

const compare = (given: EvaluationInput): Promise<Evaluation> => compareModels(given, () => undefined);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-evaluate-'));
  holdout = [
    await writeHoldout(join(folder, 'a.parquet'), rows.slice(0, 3_000)),
    await writeHoldout(join(folder, 'b.parquet'), rows.slice(3_000)),
  ];
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const input = (change: Partial<EvaluationInput> = {}): EvaluationInput => ({
  holdout,
  challenger: { model: columnsModel, features: spec('c1', 'x1', 'c2', 'x2') },
  champion: { version: 3, model: columnsModel, features: spec('x2', 'x1', 'c2', 'c1') },
  gate: { metric: 'auc', replicates: 300 },
  seed: 1,
  ...change,
});

const labels = rows.map(({ label }) => label);
const challengerScores = rows.map(({ c1, c2, x1, x2 }) => columnsScore([c1, c2], [x1, x2]));
const championScores = rows.map(({ c1, c2, x1, x2 }) => columnsScore([c2, c1], [x2, x1]));

describe('compareModels', () => {
  it('feeds each model the columns of its own spec, in that order, missing values as missing', async () => {
    const evaluation = await compare(input());
    expect(evaluation.challengerMetrics.auc.estimate).toBeCloseTo(auc(labels, challengerScores), 5);
    expect(evaluation.challengerMetrics.logLoss.estimate).toBeCloseTo(logLoss(labels, challengerScores), 5);
    expect(evaluation.challengerMetrics.calibration.estimate).toBeCloseTo(
      calibrationRatio(labels, challengerScores),
      5,
    );
    expect(evaluation.championMetrics?.auc.estimate).toBeCloseTo(auc(labels, championScores), 5);
    expect(evaluation.gain?.estimate).toBeCloseTo(auc(labels, challengerScores) - auc(labels, championScores), 5);
    const changes = challengerScores.map((score, row) => Math.abs(score - (championScores[row] ?? NaN)));
    expect(evaluation.maxScoreChange).toBeCloseTo(Math.max(...changes), 5);
  });

  it('reports size, latency and counts, a row without a user as a user of its own', async () => {
    const evaluation = await compare(input());
    const named = new Set(rows.map(({ user }) => user).filter((user) => user !== null)).size;
    expect(evaluation).toMatchObject({
      rows: 5_000,
      positives: labels.filter((label) => label === 1).length,
      users: named + rows.filter(({ user }) => user === null).length,
      champion: 3,
      championMissing: [],
      modelBytes: (await readFile(columnsModel)).byteLength,
    });
    expect(evaluation.latencyMsPerRow).toBeGreaterThan(0);
  });

  it('turns the sign of a loss, so that more gain is better', async () => {
    const evaluation = await compare(input({ gate: { metric: 'logLoss', replicates: 200 } }));
    const expected = logLoss(labels, championScores) - logLoss(labels, challengerScores);
    expect(evaluation.gain?.estimate).toBeCloseTo(expected, 5);
    const { lower, upper } = evaluation.gain ?? { lower: NaN, upper: NaN };
    expect(lower).toBeLessThan(expected);
    expect(upper).toBeGreaterThan(expected);
  });

  it('gives the same figures for the same seed', async () => {
    const [first, second] = [await compare(input()), await compare(input())];
    expect({ ...first, latencyMsPerRow: 0 }).toEqual({ ...second, latencyMsPerRow: 0 });
  });

  it('takes bytes as well as a path', async () => {
    const bytes = await readFile(columnsModel);
    const evaluation = await compare(input({ challenger: { model: bytes, features: spec('c1', 'x1', 'c2', 'x2') } }));
    expect(evaluation.challengerMetrics.auc.estimate).toBeCloseTo(auc(labels, challengerScores), 5);
  });

  it('has the figures of both on the historical holdout, which change nothing else', async () => {
    const old = rows.slice(1_000, 2_500);
    const historical = [await writeHoldout(join(folder, 'historical.parquet'), old)];
    const [plain, evaluation] = [await compare(input()), await compare(input({ historical }))];

    const of = (scores: number[]) => {
      const pair = [labels.slice(1_000, 2_500), scores.slice(1_000, 2_500)] as const;
      return { auc: expect.closeTo(auc(...pair), 5) as number, logLoss: expect.closeTo(logLoss(...pair), 5) as number };
    };
    expect(evaluation.historical).toEqual({
      rows: 1_500,
      challenger: of(challengerScores),
      champion: of(championScores),
    });
    expect({ ...evaluation, historical: null, latencyMsPerRow: 0 }).toEqual({ ...plain, latencyMsPerRow: 0 });
    expect((await compare(input({ historical, champion: null }))).historical?.champion).toBeNull();
  });

  it('compares with nothing when there is no champion', async () => {
    const evaluation = await compare(input({ champion: null }));
    expect(evaluation).toMatchObject({
      champion: null,
      championMetrics: null,
      gain: null,
      gainStandardError: null,
      maxScoreChange: null,
    });
  });

  it('feeds a column that the files do not have, or have as another kind, as missing, and names it', async () => {
    const evaluation = await compare(
      input({ champion: { version: 3, model: columnsModel, features: spec('c1', 'x1', 'cOld', 'old') } }),
    );
    expect(evaluation.championMissing).toEqual(['cOld', 'old']);
    const expected = auc(
      labels,
      rows.map(({ c1, x1 }) => columnsScore([c1, null], [x1, null])),
    );
    expect(evaluation.championMetrics?.auc.estimate).toBeCloseTo(expected, 5);

    const path = join(folder, 'other-kind.parquet');
    await writeHoldout(
      path,
      rows,
      'CAST(c1 AS BIGINT) AS c1, CAST(c2 AS FLOAT) AS c2, CAST(x1 AS FLOAT) AS x1, CAST(x2 AS FLOAT) AS x2',
    );
    expect((await compare(input({ holdout: [path] }))).championMissing).toEqual(['c2']);
  });

  it('stops at the next batch or replicate when told to', async () => {
    for (const allowed of [0, 2, 50]) {
      let calls = 0;
      const stopped = compareModels(input(), () => {
        if (calls++ === allowed) throw new Error('stop');
      });
      await expect(stopped).rejects.toThrow('stop');
      expect(calls).toBe(allowed + 1);
    }
  });

  it('has no figures, and no failure, when the holdout is empty', async () => {
    const evaluation = await compare(input({ holdout: [await writeHoldout(join(folder, 'empty.parquet'), [])] }));
    expect(evaluation).toMatchObject({ rows: 0, positives: 0, users: 0, maxScoreChange: null });
    expect(evaluation.gain).toEqual({ estimate: NaN, lower: NaN, upper: NaN });
  });
});

describe('bad input', () => {
  it('names the model that can not be loaded', async () => {
    const broken = { model: Buffer.from('not a model'), features: spec('c1', 'x1') };
    await expect(compare(input({ challenger: broken }))).rejects.toThrow(
      /the challenger: not a model that ONNX Runtime can load/,
    );
    await expect(compare(input({ champion: { ...broken, version: 3 } }))).rejects.toThrow(/the champion \(version 3\)/);
  });

  it('names the model that answers no probability', async () => {
    const nan = { model: fixture('nan'), features: spec('x1') };
    await expect(compare(input({ challenger: nan }))).rejects.toThrow(/the challenger: .*NaN/);
  });

  it('says that the holdout can not be read', async () => {
    const garbage = join(folder, 'garbage.parquet');
    await writeFile(garbage, 'garbage');
    await expect(compare(input({ holdout: [garbage] }))).rejects.toThrow(
      /the holdout can not be read: .*garbage\.parquet/,
    );
    await expect(compare(input({ holdout: [] }))).rejects.toThrow(/the holdout has no files/);
  });

  it('says which column is missing', async () => {
    const path = join(folder, 'no-label.parquet');
    const duck = await openDuckDb();
    await duck.run(`COPY (SELECT 'a' AS user_id, 'b' AS request_id) TO ${sqlText(path)} (FORMAT parquet)`);
    duck.close();
    await expect(compare(input({ holdout: [path] }))).rejects.toThrow(
      /no column label; its columns are user_id, request_id/,
    );
  });

  it('refuses labels other than 0 and 1', async () => {
    const path = await writeHoldout(
      join(folder, 'labels.parquet'),
      rows.slice(0, 10).map((row) => ({ ...row, label: 2 })),
    );
    await expect(compare(input({ holdout: [path] }))).rejects.toThrow(/the label 2, expected 0 or 1/);
  });
});
