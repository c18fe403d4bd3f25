import { describe, expect, it } from 'vitest';
import {
  bootstrapMetrics,
  differenceOf,
  intervalOf,
  standardErrorOf,
  type ModelDistributions,
  type ScoredRows,
} from '../../../data/evaluation/bootstrap.ts';
import { fillPoissonWeights, seededRandom, type Random } from '../../../data/evaluation/random.ts';
import { auc, calibrationRatio, logLoss } from '../../../policy/statistics.ts';

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Users with a taste of their own and 1 to 9 rows; each model sees the truth through noise of its own size. */
function simulate({ users: userCount, noise, seed }: { users: number; noise: number[]; seed: number }): ScoredRows {
  const random = seededRandom(seed);
  const rows: { user: number; label: number; scores: number[] }[] = [];
  for (let user = 0; user < userCount; user++) {
    const taste = normal(random);
    const blind = noise.map((size) => size * normal(random));
    for (let row = 0; row < 1 + Math.floor(random() * 9); row++) {
      const logit = taste + normal(random);
      const scores = blind.map((bias, model) => sigmoid(logit + bias + (noise[model] ?? 0) * normal(random)));
      rows.push({ user, label: random() < sigmoid(logit) ? 1 : 0, scores });
    }
  }
  return {
    labels: Uint8Array.from(rows, ({ label }) => label),
    users: Uint32Array.from(rows, ({ user }) => user),
    userCount,
    scores: noise.map((_, model) => Float32Array.from(rows, ({ scores }) => scores[model] ?? NaN)),
  };
}

function bootstrap(
  rows: ScoredRows,
  options: { replicates?: number; seed?: number } = {},
): [ModelDistributions, ModelDistributions] {
  return bootstrapMetrics({ rows, replicates: 500, seed: 1, ...options }) as [ModelDistributions, ModelDistributions];
}

describe('bootstrapMetrics', () => {
  const rows = simulate({ users: 300, noise: [0.5, 1], seed: 1 });

  it('estimates on the rows themselves what the plain statistics say, ties included', () => {
    const coarse = { ...rows, scores: rows.scores.map((scores) => scores.map((score) => Math.round(10 * score) / 10)) };
    for (const given of [rows, coarse]) {
      for (const [index, metrics] of bootstrap(given, { replicates: 2 }).entries()) {
        const scores = given.scores[index] as Float32Array;
        expect(metrics.auc.estimate).toBeCloseTo(auc(given.labels, scores), 12);
        expect(metrics.logLoss.estimate).toBeCloseTo(logLoss(given.labels, scores), 12);
        expect(metrics.calibration.estimate).toBeCloseTo(calibrationRatio(given.labels, scores), 12);
      }
    }
  });

  it('is on each replicate the statistic of the rows repeated as often as their user was drawn', () => {
    const [model] = bootstrap(rows, { replicates: 1, seed: 5 });
    const weights = new Uint8Array(rows.userCount);
    fillPoissonWeights(weights, seededRandom(5));
    const drawn = [...rows.users].flatMap((user, row) => new Array<number>(weights[user] ?? 0).fill(row));
    const labels = drawn.map((row) => rows.labels[row] ?? NaN);
    const scores = drawn.map((row) => rows.scores[0]?.[row] ?? NaN);
    expect(model.auc.replicates[0]).toBeCloseTo(auc(labels, scores), 12);
    expect(model.logLoss.replicates[0]).toBeCloseTo(logLoss(labels, scores), 12);
    expect(model.calibration.replicates[0]).toBeCloseTo(calibrationRatio(labels, scores), 12);
  });

  it('gives the same numbers for the same seed, others for another', () => {
    expect(bootstrap(rows, { seed: 3 })).toEqual(bootstrap(rows, { seed: 3 }));
    expect(bootstrap(rows, { seed: 3 })[0].auc.replicates).not.toEqual(bootstrap(rows, { seed: 4 })[0].auc.replicates);
  });

  it('draws the same users for both models: a model against itself differs by nothing', () => {
    const [scores] = rows.scores as [Float32Array];
    const [a, b] = bootstrap({ ...rows, scores: [scores, scores] });
    expect(intervalOf(differenceOf(a.auc, b.auc))).toEqual({ estimate: 0, lower: 0, upper: 0 });
  });

  it('is wider when rows come in clusters than when each row is a user', () => {
    const clustered = standardErrorOf(bootstrap(rows)[1].calibration);
    const single = { ...rows, users: Uint32Array.from(rows.labels.keys()), userCount: rows.labels.length };
    expect(clustered).toBeGreaterThan(1.15 * standardErrorOf(bootstrap(single)[1].calibration));
  });

  it('covers the true difference about as often as it says, on either side', () => {
    const truth = simulate({ users: 60_000, noise: [0.5, 1], seed: 99 });
    const [better, worse] = truth.scores as [Float32Array, Float32Array];
    const difference = auc(truth.labels, better) - auc(truth.labels, worse);
    const trials = 200;
    let below = 0;
    let above = 0;
    for (let trial = 0; trial < trials; trial++) {
      const [a, b] = bootstrap(simulate({ users: 150, noise: [0.5, 1], seed: 1_000 + trial }), { replicates: 300 });
      const { lower, upper } = intervalOf(differenceOf(a.auc, b.auc));
      below += Number(difference < lower);
      above += Number(difference > upper);
    }
    // 5 % a side is 10 of 200; 20 is more than three standard errors above, 1 nearly three below.
    for (const misses of [below, above]) {
      expect(misses).toBeGreaterThanOrEqual(1);
      expect(misses).toBeLessThanOrEqual(20);
    }
  });
});

describe('what the rows can not say', () => {
  it('is NaN without rows', () => {
    const empty = { labels: new Uint8Array(0), users: new Uint32Array(0), userCount: 0, scores: [new Float32Array(0)] };
    const [model] = bootstrap(empty);
    for (const metric of [model.auc, model.logLoss, model.calibration]) {
      expect(intervalOf(metric)).toEqual({ estimate: NaN, lower: NaN, upper: NaN });
    }
  });

  it('has no bounds when too many replicates draw no positive', () => {
    const labels = Uint8Array.from({ length: 50 }, (_, row) => (row < 2 ? 1 : 0));
    const scores = Float32Array.from(labels, (label, row) => 0.1 * label + row / 100);
    const rows = { labels, users: Uint32Array.from(labels.keys()), userCount: 50, scores: [scores] };
    const { estimate, lower, upper } = intervalOf(bootstrap(rows)[0].auc);
    expect(estimate).not.toBeNaN();
    expect([lower, upper]).toEqual([NaN, NaN]);
  });
});

describe('the random numbers', () => {
  it('are xoshiro128** and stay what they are, or recorded seeds would mean nothing', () => {
    const random = seededRandom(1);
    expect([random(), random(), random()].map((value) => Math.round(value * 2 ** 32))).toEqual([
      393288148, 2174103013, 3814759091,
    ]);
  });

  it('fill weights that are Poisson of mean 1', () => {
    const weights = new Uint8Array(100_000);
    fillPoissonWeights(weights, seededRandom(2));
    const shares = [0, 1, 2, 3, 4].map((k) => weights.filter((weight) => weight === k).length / weights.length);
    for (const [k, expected] of [0.3679, 0.3679, 0.1839, 0.0613, 0.0153].entries()) {
      expect(Math.abs((shares[k] ?? NaN) - expected)).toBeLessThan(0.005);
    }
  });
});
