import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { compareModels } from '../../../data/evaluation/compare-models.ts';
import type { EvaluationInput } from '../../../data/evaluation/evaluate.ts';
import type { Evaluation } from '../../../policy/evaluation.ts';
import {
  auc,
  calibrationRatio,
  expectedCalibrationError,
  hitRateAtK,
  logLoss,
  ndcgAtK,
  normalizedEntropy,
  reciprocalRank,
} from '../../../policy/ranking-metrics.ts';
import { lineConfig } from '../../policy/line-config.ts';
import { FEATURES_OF, modelPath } from '../../scoring/fixtures.ts';
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
  config: { ...lineConfig().evaluation, k: 3, latencyCandidates: [] },
  replicates: 300,
  seed: 1,
  ...change,
});

const labels = rows.map(({ label }) => label);
const challengerScores = rows.map(({ c1, c2, x1, x2 }) => columnsScore([c1, c2], [x1, x2]));
const championScores = rows.map(({ c1, c2, x1, x2 }) => columnsScore([c2, c1], [x2, x1]));

/** The mean over the requests that have a positive, of the rows that have a request. */
function overRequests(of: (labels: number[], scores: number[]) => number, scores: number[]): number {
  const members = new Map<string, number[]>();
  for (const [row, { request }] of rows.entries()) {
    if (request !== null) members.set(request, [...(members.get(request) ?? []), row]);
  }
  const found = [...members.values()].map((group) =>
    of(
      group.map((row) => labels[row] as number),
      group.map((row) => scores[row] as number),
    ),
  );
  const known = found.filter((value) => !Number.isNaN(value));
  return known.reduce((sum, value) => sum + value, 0) / known.length;
}

const figuresOf = (scores: number[]): Record<string, number> => ({
  auc: auc(labels, scores),
  logLoss: logLoss(labels, scores),
  normalizedEntropy: normalizedEntropy(labels, scores),
  ndcg: overRequests((...group) => ndcgAtK(...group, 3), scores),
  mrr: overRequests(reciprocalRank, scores),
  hitRate: overRequests((...group) => hitRateAtK(...group, 3), scores),
  calibration: calibrationRatio(labels, scores),
  calibrationError: expectedCalibrationError(labels, scores),
});

describe('compareModels', () => {
  it('feeds each model the columns of its own spec, in that order, missing values as missing', async () => {
    const { overall, maxScoreChange } = await compare(input());
    const [challenger, champion] = [figuresOf(challengerScores), figuresOf(championScores)];
    for (const [metric, expected] of Object.entries(challenger)) {
      const name = metric as keyof typeof overall.challenger;
      // Float32 scores may lie in another bin of the calibration error.
      const digits = name === 'calibrationError' ? 3 : 5;
      expect(overall.challenger[name].estimate, metric).toBeCloseTo(expected, digits);
      expect(overall.champion?.[name].estimate, metric).toBeCloseTo(champion[metric] as number, digits);
      if (name === 'calibration') continue;
      const less = ['logLoss', 'normalizedEntropy', 'calibrationError'].includes(name);
      const gain = (less ? -1 : 1) * (expected - (champion[metric] as number));
      expect(overall.gain?.[name].estimate, metric).toBeCloseTo(gain, digits);
    }
    const changes = challengerScores.map((score, row) => Math.abs(score - (championScores[row] ?? NaN)));
    expect(maxScoreChange).toBeCloseTo(Math.max(...changes), 5);
  });

  it('counts rows, users and requests: a row without a user is a user of its own, one without a request in none', async () => {
    const named = new Set(rows.map(({ user }) => user).filter((user) => user !== null)).size;
    const requests = new Set(rows.map(({ request }) => request).filter((request) => request !== null));
    const clicked = new Set(rows.flatMap(({ request, label }) => (label === 1 ? [request] : [])));
    expect(await compare(input())).toMatchObject({
      overall: {
        rows: 5_000,
        positives: labels.filter((label) => label === 1).length,
        users: named + rows.filter(({ user }) => user === null).length,
        groups: requests.size,
        groupsWithoutPositive: [...requests].filter((request) => !clicked.has(request)).length,
      },
    });
  });

  it('takes a request that has only the id of the impression for none', async () => {
    const some = rows.slice(0, 100);
    const columns = 'c1, c2, x1, x2, request_id AS impression_id';
    const path = await writeHoldout(join(folder, 'no-requests.parquet'), some, columns);
    const { overall } = await compare(input({ holdout: [path] }));
    expect(overall).toMatchObject({ rows: 100, groups: 0 });
    expect(overall.challenger.ndcg.estimate).toBeNaN();
  });

  it('says what it compared, of which size, with which settings', async () => {
    const bytes = (await readFile(columnsModel)).byteLength;
    const evaluation = await compare(input());
    expect(evaluation).toMatchObject({ champion: 3, championMissing: [], modelBytes: bytes, championBytes: bytes });
    expect(evaluation).toMatchObject({ k: 3, replicates: 300, seed: 1, historical: null });
    expect(evaluation.calibrationCurve.champion?.reduce((sum, bin) => sum + bin.rows, 0)).toBe(5_000);
  });

  it('gives the same figures for the same seed', async () => {
    const [first, second] = [await compare(input()), await compare(input())];
    expect(first).toEqual(second);
  });

  it('takes bytes as well as a path', async () => {
    const bytes = await readFile(columnsModel);
    const evaluation = await compare(input({ challenger: { model: bytes, features: spec('c1', 'x1', 'c2', 'x2') } }));
    expect(evaluation.overall.challenger.auc.estimate).toBeCloseTo(auc(labels, challengerScores), 5);
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
    expect({ ...evaluation, historical: null }).toEqual(plain);
    expect((await compare(input({ historical, champion: null }))).historical?.champion).toBeNull();
  });

  it('compares with nothing when there is no champion', async () => {
    const evaluation = await compare(input({ champion: null }));
    expect(evaluation).toMatchObject({
      champion: null,
      overall: { champion: null, gain: null },
      calibrationCurve: { champion: null },
      maxScoreChange: null,
      championBytes: null,
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
    expect(evaluation.overall.champion?.auc.estimate).toBeCloseTo(expected, 5);

    const path = join(folder, 'other-kind.parquet');
    await writeHoldout(
      path,
      rows,
      'CAST(c1 AS BIGINT) AS c1, CAST(c2 AS FLOAT) AS c2, CAST(x1 AS FLOAT) AS x1, CAST(x2 AS FLOAT) AS x2',
    );
    expect((await compare(input({ holdout: [path] }))).championMissing).toEqual(['c2']);
  });

  it('stops at the next batch or replicate when told to', async () => {
    for (const allowed of [0, 2, 4, 50]) {
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
    expect(evaluation).toMatchObject({ overall: { rows: 0, positives: 0, users: 0 }, maxScoreChange: null });
    expect(evaluation).toMatchObject({ slices: [], latency: [] });
    expect(evaluation.overall.gain?.auc).toMatchObject({ estimate: NaN, lower: NaN, upper: NaN });
  });
});

describe('on rows that can be counted by hand', () => {
  const probabilities = [0.1, 0.4, 0.35, 0.8];
  const four = probabilities.map((probability, index) => ({
    ...{ request: 'r', user: `u${String(index)}`, label: index > 1 ? 1 : 0, c1: null, c2: null, x2: null },
    x1: Math.log(probability / (1 - probability)),
  }));

  it('has these figures of a model and of its opposite', async () => {
    const path = await writeHoldout(join(folder, 'four.parquet'), four, '0::BIGINT AS author, x1 AS quality');
    const { overall, maxScoreChange } = await compare(
      input({
        holdout: [path],
        challenger: { model: modelPath('rising'), features: FEATURES_OF.rising },
        champion: { version: 1, model: modelPath('falling'), features: FEATURES_OF.falling },
        config: { ...input().config, k: 1 },
      }),
    );
    const found = ({ auc, logLoss, normalizedEntropy, mrr, hitRate, calibration }: typeof overall.challenger) =>
      [auc, logLoss, normalizedEntropy, mrr, hitRate, calibration].map(({ estimate }) => Number(estimate.toFixed(5)));
    // Ranked by the model: 1 0 1 0; by its opposite: 0 1 0 1, with probabilities .9 .65 .6 .2.
    expect(found(overall.challenger)).toEqual([0.75, 0.47229, 0.68137, 1, 1, 0.825]);
    expect(overall.champion && found(overall.champion)).toEqual([0.25, 1.31477, 1.89682, 0.5, 0, 1.175]);
    expect(overall.gain?.auc.estimate).toBeCloseTo(0.5, 6);
    expect(overall).toMatchObject({ rows: 4, positives: 2, users: 4, groups: 1, groupsWithoutPositive: 0 });
    expect(maxScoreChange).toBeCloseTo(0.8, 6);
  });
});

describe('slices', () => {
  const few = { ...lineConfig().evaluation, latencyCandidates: [], sliceMinRows: 300 };

  it('have the figures of their own rows, for both models; small ones are counted', async () => {
    const slices = [
      { name: 'kind', column: 'c2' },
      { name: 'half', expression: 'x2 > 0' },
    ];
    const evaluation = await compare(input({ config: { ...few, slices } }));
    expect(evaluation.notes).toEqual([]);
    for (const { slice, value, figures, ...population } of evaluation.slices) {
      const members = [...rows.keys()].filter((row) => {
        const { c2, x2 } = rows[row] ?? { c2: null, x2: null };
        return slice === 'kind' ? (c2 === 0 ? 'missing' : String(c2)) === value : String((x2 ?? 0) > 0) === value;
      });
      const of = (values: number[]): number[] => members.map((row) => values[row] ?? NaN);
      expect(population).toMatchObject({ rows: members.length });
      expect(figures?.challenger.auc.estimate).toBeCloseTo(auc(of(labels), of(challengerScores)), 5);
      expect(figures?.champion?.logLoss.estimate).toBeCloseTo(logLoss(of(labels), of(championScores)), 5);
    }
    expect(evaluation.slices.map(({ slice }) => slice)).toEqual([...Array<string>(13).fill('kind'), 'half', 'half']);
    expect(evaluation.gaps.map(({ slice }) => slice)).toContain('half');

    const strict = await compare(input({ config: { ...few, slices, sliceMinRows: 1_000 } }));
    expect(strict.slices.map(({ figures }) => figures !== null)).toEqual([
      ...Array<boolean>(13).fill(false),
      true,
      true,
    ]);
  });

  it('are named where they can not be made, and change nothing else', async () => {
    const slices = [{ name: 'where', column: 'country' }];
    const evaluation = await compare(input({ config: { ...few, slices } }));
    expect(evaluation.notes).toMatchObject([{ code: 'evaluation.slice.column', numbers: { slice: 'where' } }]);
    expect(evaluation.slices).toEqual([]);
    const plain = await compare(input({ config: { ...few, slices: [] } }));
    expect({ ...evaluation, notes: [] }).toEqual(plain);
  });

  it('are left out, those without a rule of the gate first, where the evaluation would become too large to carry', async () => {
    const slices = Array.from({ length: 32 }, (_, index) => ({
      name: `slice${String(index)}`,
      expression: `'value ' || md5_number_lower(c2 || '${String(index)}') % 12`,
    }));
    const evaluation = await compare(
      input({
        config: { ...few, slices, sliceMinRows: 10 },
        judgedSlices: ['slice30'],
        replicates: 200,
      }),
    );
    expect(JSON.stringify(evaluation).length).toBeLessThan(150_000);
    const kept = new Set(evaluation.slices.map(({ slice }) => slice));
    expect(kept).toContain('slice0');
    expect(kept).toContain('slice30');
    expect(kept.size + evaluation.notes.length).toBe(32);
    expect(evaluation.notes[0]).toMatchObject({ code: 'evaluation.slice.size' });
    expect(evaluation.notes.map(({ numbers }) => numbers?.['slice'])).toContain('slice31');
  });
});

describe('latency', () => {
  it('is of each size, of both models, on as many rows as a request has', async () => {
    const { latency } = await compare(input({ config: { ...input().config, latencyCandidates: [6_000, 1] } }));
    expect(latency.map(({ candidates }) => candidates)).toEqual([1, 6_000]);
    for (const { challenger, champion } of latency) {
      for (const figures of [challenger, champion]) {
        expect(figures?.p50Ms).toBeGreaterThan(0);
        expect(figures?.p99Ms).toBeGreaterThanOrEqual(figures?.p50Ms ?? NaN);
      }
    }
    const alone = await compare(input({ champion: null, config: { ...input().config, latencyCandidates: [1] } }));
    expect(alone.latency).toMatchObject([{ candidates: 1, champion: null }]);
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
