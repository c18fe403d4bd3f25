import { describe, expect, it } from 'vitest';
import {
  drawWeights,
  estimate,
  replicatesOf,
  resultSize,
  runNext,
} from '../../../data/evaluation/bootstrap-replicates.ts';
import { aucAndCalibrationError } from '../../../data/evaluation/bootstrap-pass.ts';
import { segmentsOf, type Segment, type SegmentModel } from '../../../data/evaluation/bootstrap-segment.ts';
import { fillPoissonWeights, seededRandom, streamSeed } from '../../../data/evaluation/random.ts';
import { NO_GROUP, type ScoredRows } from '../../../data/evaluation/scored-rows.ts';
import { EVALUATION_METRICS, type EvaluationMetric } from '../../../policy/evaluation.ts';
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
import { coarsened, simulateRows } from './simulated-rows.ts';

const K = 3;

/** The metrics of one model by their definitions, on these rows of the data; a row may be there more than once. */
function byDefinition(data: ScoredRows, rows: readonly number[], copies: (row: number) => number): Reference {
  const scores = data.scores[0] as Float32Array;
  const repeated = rows.flatMap((row) => new Array<number>(copies(row)).fill(row));
  const groups = new Map<number, number[]>();
  for (const row of rows) {
    const group = data.groups[row] ?? NaN;
    if (group !== NO_GROUP) groups.set(group, [...(groups.get(group) ?? []), row]);
  }
  const ranked = [...groups.values()].flatMap((members) => {
    const first = members[0] ?? NaN;
    const labels = members.map((row) => data.labels[row] ?? NaN);
    return labels.includes(1)
      ? [{ labels, scores: members.map((row) => scores[row] ?? NaN), copies: copies(first) }]
      : [];
  });
  const mean = (metric: (labels: number[], scores: number[]) => number): number =>
    ranked.reduce((sum, group) => sum + group.copies * metric(group.labels, group.scores), 0) /
    ranked.reduce((sum, group) => sum + group.copies, 0);
  const of = (metric: (labels: number[], scores: number[]) => number): number =>
    metric(
      repeated.map((row) => data.labels[row] ?? NaN),
      repeated.map((row) => scores[row] ?? NaN),
    );
  return {
    auc: of(auc),
    logLoss: of(logLoss),
    normalizedEntropy: of(normalizedEntropy),
    ndcg: mean((labels, scores) => ndcgAtK(labels, scores, K)),
    mrr: mean(reciprocalRank),
    hitRate: mean((labels, scores) => hitRateAtK(labels, scores, K)),
    calibration: of(calibrationRatio),
    calibrationError: of(expectedCalibrationError),
  };
}

type Reference = Record<EvaluationMetric, number>;

function estimatesOf(segment: Segment, userCount: number): Reference {
  return Object.fromEntries(
    EVALUATION_METRICS.map((metric) => [
      metric,
      replicatesOf(estimate(segment, userCount), { model: 0, metric, replicates: 1 })[0],
    ]),
  ) as Reference;
}

function replicate(segments: Segment[], userCount: number, { replicates, seed }: { replicates: number; seed: number }) {
  const results = segments.map(({ models }) => new Float64Array(resultSize(models.length, replicates)));
  const control = new Int32Array(2);
  while (runNext({ segments, userCount, replicates, seed, results, control }));
  return results;
}

function expectClose(found: Reference, expected: Reference, but: readonly EvaluationMetric[] = []): void {
  for (const metric of EVALUATION_METRICS) {
    if (!but.includes(metric)) expect(found[metric], metric).toBeCloseTo(expected[metric], 10);
  }
}

const rows = simulateRows({ users: 150, noise: [0.7], seed: 3 });
const DATA: [string, ScoredRows][] = [
  ['few ties', rows],
  ['many ties', coarsened(rows, 10)],
  ['nothing but ties', coarsened(rows, 1e-9)],
  ['rows without a request', { ...rows, groups: rows.groups.map((group) => (group % 3 === 0 ? NO_GROUP : group)) }],
  ['requests of several users', { ...rows, groups: rows.groups.map((group) => group % 40) }],
];

describe.each(DATA)('with %s', (_, data) => {
  const all = [...data.labels.keys()];
  const { population, prepare } = segmentsOf(data, K);

  it('the estimates are what the definitions say', () => {
    expectClose(
      estimatesOf(prepare(), data.userCount),
      byDefinition(data, all, () => 1),
    );
  });

  it('a slice has the figures of its rows alone', () => {
    const members = all.filter((row) => row % 3 === 1);
    const segment = prepare(Uint32Array.from(members));
    expectClose(
      estimatesOf(segment, data.userCount),
      byDefinition(data, members, () => 1),
    );
    expect(segment.population).toEqual(population(Uint32Array.from(members)));
  });

  it('a replicate has the figures of the rows repeated as often as their user was drawn', () => {
    const replicates = 6;
    const [results] = replicate([prepare()], data.userCount, { replicates, seed: 5 }) as [Float64Array];
    for (let index = 0; index < replicates; index++) {
      const weights = drawWeights(data.userCount, streamSeed(5, Math.floor(index / 4)));
      const copies = (row: number): number => ((weights[data.users[row] ?? NaN] ?? NaN) >>> (8 * (index % 4))) & 0xff;
      const found = Object.fromEntries(
        EVALUATION_METRICS.map((metric) => [metric, replicatesOf(results, { model: 0, metric, replicates })[index]]),
      ) as Reference;
      const expected = byDefinition(data, all, copies);
      expectClose(found, expected, ['calibrationError']);
      // Its bins stay those of all rows.
      expect(Math.abs(found.calibrationError - expected.calibrationError)).toBeLessThan(0.02);
    }
  });
});

describe('long stretches of one class or one score', () => {
  const count = 12_000;
  const labels = Uint8Array.from({ length: count }, (_, row) => (row < count / 2 ? 0 : 1));
  const users = Uint32Array.from(labels.keys());

  it.each<[string, (row: number) => number]>([
    ['separated classes', (row) => (row < count / 2 ? 0 : 1)],
    ['reversed classes', (row) => (row < count / 2 ? 1 : 0)],
    ['negatives on both sides', (row) => (row < 2_000 ? 0 : row < count / 2 ? 1 : 0.5)],
    ['one score', () => 0.5],
    ['two scores', (row) => (row % 2) / 2],
  ])('do not overflow with the largest weights: %s', (_, score) => {
    const scores = Float32Array.from(labels, (_, row) => score(row));
    const data = { labels, users, userCount: count, groups: users, groupCount: count, scores: [scores] };
    const { models } = segmentsOf(data, K).prepare();
    const weights = users.map((user) => (user % 2 === 0 ? 0x0c_01_0c_01 : 0x0c_0c_01_01));
    const lanes = [0, 1, 2, 3];
    const copies = lanes.map((lane) => (row: number) => ((weights[row] ?? NaN) >>> (8 * lane)) & 0xff);
    const expected = copies.map((of) => {
      const repeated = [...users].flatMap((row) => new Array<number>(of(row)).fill(row));
      return auc(
        repeated.map((row) => labels[row] ?? NaN),
        repeated.map((row) => scores[row] ?? NaN),
      );
    });
    const found = aucAndCalibrationError((models[0] as SegmentModel).runs, weights);
    for (const lane of lanes) expect(found[lane]).toBeCloseTo(expected[lane] ?? NaN, 12);
  });
});

describe('the random numbers', () => {
  it('are xoshiro128** and stay what they are, or recorded seeds would mean nothing', () => {
    const random = seededRandom(1);
    expect([random(), random(), random()].map((value) => Math.round(value * 2 ** 32))).toEqual([
      393288148, 2174103013, 3814759091,
    ]);
  });

  it('come in streams that all differ, for neighbouring seeds too', () => {
    const seeds = [0, 1, 2, 3].flatMap((seed) =>
      Array.from({ length: 2_000 }, (_, stream) => streamSeed(seed, stream)),
    );
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  it('fill weights that are Poisson of mean 1', () => {
    const weights = new Uint8Array(100_000);
    fillPoissonWeights(weights, seededRandom(2));
    const shares = [0, 1, 2, 3, 4].map((k) => weights.filter((weight) => weight === k).length / weights.length);
    for (const [k, expected] of [0.3679, 0.3679, 0.1839, 0.0613, 0.0153].entries()) {
      expect(Math.abs((shares[k] ?? NaN) - expected)).toBeLessThan(0.005);
    }
  });

  it('are drawn by inversion, to the last of 32 bits', () => {
    const weights = new Uint8Array(4);
    const draws = [0, Math.exp(-1), 1 - 2 ** -32, Math.exp(-1) - 2 ** -32];
    let next = 0;
    fillPoissonWeights(weights, () => draws[next++] ?? NaN);
    expect([...weights]).toEqual([0, 1, 12, 0]);
  });
});
