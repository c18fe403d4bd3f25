import { describe, expect, it } from 'vitest';
import {
  auc,
  calibrationBins,
  calibrationRatio,
  expectedCalibrationError,
  hitRateAtK,
  logLoss,
  ndcgAtK,
  normalizedEntropy,
  reciprocalRank,
} from '../../policy/ranking-metrics.ts';

function expectClose(found: number, expected: number, digits = 12): void {
  if (Number.isNaN(expected)) expect(found).toBeNaN();
  else expect(found).toBeCloseTo(expected, digits);
}

/** All orders of the rows in which no row stands before one with a higher score. */
function ordersOf(scores: readonly number[], rows = [...scores.keys()]): number[][] {
  if (rows.length === 0) return [[]];
  const highest = Math.max(...rows.map((row) => scores[row] ?? NaN));
  return rows
    .filter((row) => scores[row] === highest)
    .flatMap((row) =>
      ordersOf(
        scores,
        rows.filter((other) => other !== row),
      ).map((rest) => [row, ...rest]),
    );
}

/** Mean over these orders of a figure of the values in order. */
function meanOverOrders(
  values: readonly number[],
  scores: readonly number[],
  figure: (ordered: number[]) => number,
): number {
  const figures = ordersOf(scores).map((order) => figure(order.map((row) => values[row] ?? NaN)));
  return figures.reduce((sum, value) => sum + value, 0) / figures.length;
}

const dcg = (gains: readonly number[], k: number): number =>
  gains.slice(0, k).reduce((sum, gain, rank) => sum + gain / Math.log2(rank + 2), 0);

/** Small groups with every pattern of ties and positives. */
const GROUPS: { labels: number[]; scores: number[] }[] = [1, 2, 4].flatMap((size) =>
  Array.from({ length: 2 ** size - 1 }, (_, pattern) => pattern + 1).flatMap((pattern) =>
    [1, 2, 3, size].map((levels) => ({
      labels: Array.from({ length: size }, (_, row) => (pattern >> row) & 1),
      scores: Array.from({ length: size }, (_, row) => ((7 * row + 3) % levels) / 8),
    })),
  ),
);

describe('auc', () => {
  it.each([
    ['a known case', [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75],
    ['ties', [0, 0, 1, 1, 1], [0.1, 0.4, 0.4, 0.4, 0.8], 5 / 6],
    ['rows that are all tied', [0, 1, 1], [0.2, 0.2, 0.2], 0.5],
    ['infinite scores', [0, 1, 1, 0], [-Infinity, Infinity, Infinity, Infinity], 0.75],
    ['one class', [1, 1], [0.1, 0.2], NaN],
    ['one row', [1], [0.1], NaN],
    ['no rows', [], [], NaN],
    ['a score that is NaN', [0, 1], [0.1, NaN], NaN],
  ])('of %s', (_, labels, scores, expected) => {
    expectClose(auc(labels, scores), expected);
  });
});

describe('log loss and normalized entropy', () => {
  it('relates the log loss to that of the base rate', () => {
    const labels = [1, 0, 0, 0];
    const scores = [0.7, 0.2, 0.1, 0.4];
    const loss = -(Math.log(0.7) + Math.log(0.8) + Math.log(0.9) + Math.log(0.6)) / 4;
    expect(logLoss(labels, scores)).toBeCloseTo(loss, 12);
    const entropy = -(0.25 * Math.log(0.25) + 0.75 * Math.log(0.75));
    expect(normalizedEntropy(labels, scores)).toBeCloseTo(loss / entropy, 12);
    expect(normalizedEntropy(labels, [0.25, 0.25, 0.25, 0.25])).toBeCloseTo(1, 12);
  });

  it('clips probabilities that were certain and wrong', () => {
    expect(logLoss([1], [0])).toBeCloseTo(-Math.log(1e-6), 9);
  });

  it.each([
    ['one class', [1, 1], [0.4, 0.5]],
    ['no rows', [], []],
    ['a probability that is NaN', [0, 1], [NaN, 0.5]],
  ])('normalized entropy is not known with %s', (_, labels, scores) => {
    expect(normalizedEntropy(labels, scores)).toBeNaN();
  });
});

describe('ndcgAtK', () => {
  const gains = [10, 0, 0, 1, 5];
  const scores = [0.05, 1.1, 1, 0.5, 0];

  it.each([
    ['all ranks', gains, scores, undefined, 0.4936801914],
    ['the first four', gains, scores, 4, 0.3520241101],
    ['more ranks than rows', gains, scores, 1_000, 0.4936801914],
    ['one row', [3], [0.1], 1, 1],
    ['no gain', [0, 0], [0.1, 0.2], 1, NaN],
    ['no rows', [], [], undefined, NaN],
    ['a score that is NaN', [1, 0], [NaN, 0.2], 1, NaN],
  ])('of %s', (_, gains, scores, k, expected) => {
    expectClose(ndcgAtK(gains, scores, k), expected, 9);
  });

  it('is the mean over all orders of tied rows, as graded gains too', () => {
    for (const { labels, scores } of GROUPS) {
      for (const gains of [labels, labels.map((label, row) => label * (row + 1))]) {
        for (const k of [1, 2, 4]) {
          const best = dcg(
            gains.toSorted((a, b) => b - a),
            k,
          );
          const expected = meanOverOrders(gains, scores, (ordered) => dcg(ordered, k)) / best;
          expect(ndcgAtK(gains, scores, k)).toBeCloseTo(expected, 12);
        }
      }
    }
  });
});

describe('reciprocalRank and hitRateAtK', () => {
  it.each([
    ['the first positive on rank 3', [0, 0, 1, 1], [0.9, 0.8, 0.7, 0.6], 1 / 3, [0, 0, 1, 1]],
    ['one positive among three tied', [0, 1, 0], [0.5, 0.5, 0.5], (1 + 1 / 2 + 1 / 3) / 3, [1 / 3, 2 / 3, 1, 1]],
    ['no positive', [0, 0], [0.5, 0.4], NaN, [NaN, NaN, NaN, NaN]],
    ['no rows', [], [], NaN, [NaN, NaN, NaN, NaN]],
    ['a score that is NaN', [1, 0], [0.1, NaN], NaN, [NaN, NaN, NaN, NaN]],
  ])('with %s', (_, labels, scores, rank, hits) => {
    expectClose(reciprocalRank(labels, scores), rank);
    for (const [index, hit] of hits.entries()) expectClose(hitRateAtK(labels, scores, index + 1), hit);
  });

  it('are means over all orders of tied rows', () => {
    for (const { labels, scores } of GROUPS) {
      const rank = meanOverOrders(labels, scores, (ordered) => 1 / (ordered.indexOf(1) + 1));
      expectClose(reciprocalRank(labels, scores), rank);
      for (const k of [1, 2, 4, 9]) {
        const hit = meanOverOrders(labels, scores, (ordered) => Number(ordered.indexOf(1) < k));
        expect(hitRateAtK(labels, scores, k)).toBeCloseTo(hit, 12);
      }
    }
  });
});

describe('calibration', () => {
  it('is what was predicted over what happened', () => {
    expect(calibrationRatio([1, 0, 0, 1], [0.5, 0.5, 0.5, 0.9])).toBeCloseTo(1.2, 12);
    expect(calibrationRatio([0, 0], [0.5, 0.5])).toBeNaN();
    expect(calibrationRatio([], [])).toBeNaN();
  });

  it('has bins of equal size by ascending probability', () => {
    const scores = [0.8, 0.1, 0.4, 0.2, 0.6, 0.9];
    expect(calibrationBins([1, 0, 1, 0, 0, 1], scores, 3)).toEqual([
      { rows: 2, predicted: expect.closeTo(0.15, 12) as number, observed: 0 },
      { rows: 2, predicted: expect.closeTo(0.5, 12) as number, observed: 0.5 },
      { rows: 2, predicted: expect.closeTo(0.85, 12) as number, observed: 1 },
    ]);
    expect(expectedCalibrationError([1, 0, 1, 0, 0, 1], scores, 3)).toBeCloseTo((0.15 + 0 + 0.15) / 3, 12);
  });

  it('differs in size by one row at most when nothing is tied', () => {
    const rows = 100;
    const labels = Array.from({ length: rows }, (_, row) => row % 2);
    const sizes = calibrationBins(
      labels,
      labels.map((_, row) => row / rows),
    ).map((bin) => bin.rows);
    expect(sizes).toHaveLength(15);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBe(1);
  });

  it('never has equal probabilities in two bins', () => {
    const scores = [0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.4];
    const bins = calibrationBins([0, 1, 0, 0, 0, 0, 1, 1], scores, 4);
    expect(bins.map((bin) => bin.rows)).toEqual([6, 2]);
    expect(calibrationBins([0, 1, 0], [0.3, 0.3, 0.3])).toHaveLength(1);
  });

  it('has at most one bin a row, and none without rows', () => {
    expect(calibrationBins([0, 1], [0.1, 0.2])).toHaveLength(2);
    expect(calibrationBins([], [])).toEqual([]);
    expect(expectedCalibrationError([], [])).toBeNaN();
  });

  it('has an error that is not known when a probability is not', () => {
    expect(expectedCalibrationError([0, 1], [0.1, NaN])).toBeNaN();
    expect(() => calibrationBins([0, 1], [0.1, NaN])).toThrow('a probability is NaN in row 1, expected a number');
  });
});

describe('what can not be meant', () => {
  it.each([
    ['lists of two lengths', () => auc([0, 1], [0.1]), 'there are 2 labels and 1 scores'],
    ['a label that is no label', () => auc([0, 2], [0.1, 0.2]), 'a label is 2 in row 1, expected 0 or 1'],
    ['a label that is NaN', () => reciprocalRank([NaN], [0.1]), 'a label is NaN in row 0'],
    ['a probability above 1', () => logLoss([0], [1.5]), 'a probability is 1.5 in row 0, expected between 0 and 1'],
    ['a probability below 0', () => expectedCalibrationError([0], [-0.1]), 'a probability is -0.1 in row 0'],
    ['a negative gain', () => ndcgAtK([1, -1], [0.1, 0.2]), 'a gain is -1 in row 1, expected at least 0'],
    ['an infinite gain', () => ndcgAtK([Infinity], [0.1]), 'a gain is Infinity in row 0'],
    ['a gain that is NaN', () => ndcgAtK([NaN], [0.1]), 'a gain is NaN in row 0'],
    ['no first rank', () => ndcgAtK([1], [0.1], 0), 'k is 0, expected a positive integer'],
    ['half a rank', () => hitRateAtK([1], [0.1], 1.5), 'k is 1.5, expected a positive integer'],
    ['no bins', () => calibrationBins([1], [0.1], 0), 'bins is 0, expected a positive integer'],
  ])('is refused: %s', (_, figure, message) => {
    expect(figure).toThrow(RangeError);
    expect(figure).toThrow(message);
  });
});
