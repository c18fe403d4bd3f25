import { describe, expect, it } from 'vitest';
import { calibrated, estimatePerformance, fitIsotonic } from '../../policy/performance-estimation.ts';
import { auc, logLoss, normalCdf } from '../../policy/statistics.ts';
import { seededNormal } from '../../policy/drift/seeded-normal.ts';

const SCORES = [0.1, 0.4, 0.35, 0.8];

describe('estimatePerformance', () => {
  it('has the reference values of CBPE', () => {
    const estimate = estimatePerformance(SCORES);
    expect(estimate.auc.value).toBeCloseTo(0.77724049, 9);
    expect(estimate.accuracy.value).toBeCloseTo(0.7375, 12);
    expect(estimate.positives.value).toBeCloseTo(1.65, 12);
    expect(estimate.n).toBe(4);
  });

  it('counts p of a positive and 1 - p of a negative in each row', () => {
    const { confusion } = estimatePerformance(SCORES, { threshold: 0.35 });
    expect(confusion.truePositives).toBeCloseTo(1.55, 12);
    expect(confusion.falsePositives).toBeCloseTo(1.45, 12);
    expect(confusion.falseNegatives).toBeCloseTo(0.1, 12);
    expect(confusion.trueNegatives).toBeCloseTo(0.9, 12);
  });

  it('counts ties one half', () => {
    // scikit-learn 1.9: roc_auc_score of every row twice, as a positive of weight p and a negative of weight 1 - p.
    expect(estimatePerformance([0.4, ...SCORES]).auc.value).toBeCloseTo(0.7397684994, 9);
    expect(estimatePerformance([0.3, 0.3]).auc.value).toBe(0.5);
  });

  it('has no AUC where every row is sure, and no NaN elsewhere', () => {
    const estimate = estimatePerformance([1, 1, 1]);
    expect(estimate.auc.value).toBeNaN();
    expect(estimate.accuracy).toEqual({ value: 1, low: 1, high: 1 });
    expect(estimate.logLoss.value).toBeCloseTo(1e-6, 9);
  });

  it('covers what true labels show at the rate of its level', () => {
    const normal = seededNormal(7);
    const covered = { auc: 0, accuracy: 0, logLoss: 0, positives: 0 };
    const repetitions = 400;
    for (let repetition = 0; repetition < repetitions; repetition++) {
      const scores = Array.from({ length: 400 }, () => normalCdf(normal() - 1));
      const labels = scores.map((score) => (normalCdf(normal()) < score ? 1 : 0));
      const estimate = estimatePerformance(scores, { level: 0.9 });
      const figures = {
        auc: auc(labels, scores),
        accuracy: scores.filter((score, row) => Number(score >= 0.5) === labels[row]).length / scores.length,
        logLoss: logLoss(labels, scores),
        positives: labels.reduce((sum: number, label) => sum + label, 0),
      };
      for (const figure of ['auc', 'accuracy', 'logLoss', 'positives'] as const) {
        const { low, high } = estimate[figure];
        if (figures[figure] >= low && figures[figure] <= high) covered[figure] += 1 / repetitions;
      }
    }
    // At least the level, and more where knowing the scores already takes chance away.
    for (const rate of Object.values(covered)) expect(rate).toBeGreaterThan(0.87);
    expect(covered.accuracy).toBeLessThan(0.97);
  });

  it('sees through scores that are sure of themselves, by a calibration from mature rows', () => {
    const normal = seededNormal(8);
    const draw = (rows: number): { labels: number[]; scores: number[] } => {
      const z = Array.from({ length: rows }, () => normal());
      return {
        labels: z.map((value) => (normal() < 0.7 * value - 1 ? 1 : 0)),
        scores: z.map((value) => normalCdf(2 * value)),
      };
    };
    const mature = draw(20_000);
    const fresh = draw(10_000);
    const calibration = fitIsotonic(mature.labels, mature.scores);
    const truth = { auc: auc(fresh.labels, fresh.scores), loss: logLoss(fresh.labels, fresh.scores) };
    const estimate = estimatePerformance(fresh.scores, { calibration });
    expect(Math.abs(estimate.auc.value - truth.auc)).toBeLessThan(0.015);
    expect(Math.abs(estimate.logLoss.value - truth.loss)).toBeLessThan(0.03);
    expect(Math.abs(estimatePerformance(fresh.scores).auc.value - truth.auc)).toBeGreaterThan(0.05);
  });

  it.each<[string, number[], object, string]>([
    ['no rows', [], {}, 'empty'],
    ['a score above 1', [0.5, 1.5], {}, 'row 2 is 1.5'],
    ['NaN', [0.5, NaN], {}, 'number 2 is NaN'],
    ['a level of 1', [0.5], { level: 1 }, 'level'],
    ['a threshold that is NaN', [0.5], { threshold: NaN }, 'threshold'],
  ])('refuses %s', (_, scores, options, message) => {
    expect(() => estimatePerformance(scores, options)).toThrow(RangeError);
    expect(() => estimatePerformance(scores, options)).toThrow(message);
  });
});

describe('fitIsotonic', () => {
  const scores = [0.7, 0.1, 0.2, 0.3, 0.2, 0.35, 0.4, 0.5, 0.5, 0.6];
  const labels = [0, 0, 1, 1, 0, 1, 0, 1, 1, 1];

  // Expected values: scikit-learn 1.9, IsotonicRegression(out_of_bounds='clip').
  it.each([
    ['plain rows', undefined, [0, 0.25, 0.5, 0.5833333333, 0.6666666667, 0.7083333333, 0.75]],
    ['weights', [1, 1, 2, 1, 1, 3, 1, 1, 2, 1], [0, 0.3333333333, 0.6666666667, 0.7333333333, 0.8, 0.8, 0.8]],
  ])('is isotonic regression of %s', (_, weights, expected) => {
    const calibration = fitIsotonic(labels, scores, weights);
    [0, 0.15, 0.2, 0.25, 0.33, 0.45, 0.9].forEach((score, index) => {
      expect(calibrated(calibration, score)).toBeCloseTo(expected[index] ?? NaN, 9);
    });
  });

  it('pools rows of one score before it looks for violators, in any order of rows', () => {
    const tied = fitIsotonic([0, 1, 0, 1, 1, 1], [0.1, 0.1, 0.2, 0.2, 0.2, 0.2]);
    expect(tied).toEqual({ scores: [0.1, 0.2], probabilities: [0.5, 0.75] });
  });

  it('leaves rows without weight out', () => {
    expect(fitIsotonic([0, 1, 1], [0.1, 0.2, 0.3], [1, 1, 0])).toEqual(fitIsotonic([0, 1], [0.1, 0.2]));
  });

  it.each<[string, () => unknown, string]>([
    ['labels other than 0 and 1', () => fitIsotonic([0, 0.5], [0.1, 0.2]), 'row 2 is 0.5'],
    ['lengths that differ', () => fitIsotonic([0], [0.1, 0.2]), '1 and 2'],
    ['no rows', () => fitIsotonic([], []), 'empty'],
    ['a score that is NaN', () => fitIsotonic([0], [NaN]), 'NaN'],
    ['weights of 0', () => fitIsotonic([0], [0.1], [0]), 'all zero'],
    ['NaN to calibrate', () => calibrated(fitIsotonic([0], [0.1]), NaN), 'NaN'],
  ])('refuses %s', (_, make, message) => {
    expect(make).toThrow(RangeError);
    expect(make).toThrow(message);
  });
});
