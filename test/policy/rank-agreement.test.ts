import { describe, expect, it } from 'vitest';
import { rankAgreement } from '../../policy/rank-agreement.ts';

/** Kendall's tau-b by its definition: over all pairs, ties of either side in the denominator. */
function tauB(x: readonly number[], y: readonly number[]): number {
  let [balance, untiedX, untiedY] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < i; j++) {
      const dx = Math.sign((x[i] ?? NaN) - (x[j] ?? NaN));
      const dy = Math.sign((y[i] ?? NaN) - (y[j] ?? NaN));
      balance += dx * dy;
      untiedX += Math.abs(dx);
      untiedY += Math.abs(dy);
    }
  }
  return balance / Math.sqrt(untiedX * untiedY);
}

/** The ranking cut at k as places, everything beyond k tied. */
const places = (ranking: readonly number[], k: number): number[] =>
  ranking.map((_, candidate) => Math.min(ranking.indexOf(candidate), k));

function shuffled(n: number, seed: number): number[] {
  let state = seed;
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  return Array.from({ length: n }, (_, index) => ({ index, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ index }) => index);
}

describe('rankAgreement', () => {
  it.each<[string, number[], number[], number, number, number]>([
    ['the same ranking', [0, 1, 2, 3], [0, 1, 2, 3], 4, 1, 1],
    ['the reverse', [0, 1, 2, 3], [3, 2, 1, 0], 4, 1, -1],
    // As scipy.stats.kendalltau([1, 2, 3, 4], [2, 1, 3, 4]) says.
    ['one swap of neighbours', [0, 1, 2, 3], [1, 0, 2, 3], 4, 1, 2 / 3],
    ['the same first ones, swapped', [0, 1], [1, 0], 4, 1, 3 / 5],
    ['other ones first', [0, 1], [2, 3], 4, 0, -4 / 5],
    ['one candidate shown, another one', [0], [5], 10, 0, -1 / 9],
    ['one candidate shown, the same', [0], [0], 10, 1, 1],
  ])('of %s', (_, first, second, candidates, overlap, tau) => {
    const found = rankAgreement({ first, second, candidates });
    expect(found.overlap).toBeCloseTo(overlap, 12);
    expect(found.tau).toBeCloseTo(tau, 12);
  });

  it.each([
    [2, 1],
    [5, 5],
    [12, 3],
    [30, 10],
    [50, 49],
  ])("is Kendall's tau-b of %i candidates with all beyond place %i tied", (n, k) => {
    for (let seed = 1; seed < 12; seed++) {
      const [a, b] = [shuffled(n, seed), shuffled(n, seed + 100)];
      const found = rankAgreement({ first: a.slice(0, k), second: b.slice(0, k), candidates: n });
      expect(found.tau).toBeCloseTo(tauB(places(a, k), places(b, k)), 10);
      const shared = a.slice(0, k).filter((candidate) => b.indexOf(candidate) < k).length;
      expect(found.overlap).toBeCloseTo(shared / k, 12);
    }
  });

  it('is 0 on average between unrelated rankings, whatever k is', () => {
    for (const k of [1, 3, 10]) {
      let sum = 0;
      for (let seed = 1; seed <= 2_000; seed++) {
        const [a, b] = [shuffled(10, seed * 7_919), shuffled(10, seed * 104_729 + 1)];
        sum += rankAgreement({ first: a.slice(0, k), second: b.slice(0, k), candidates: 10 }).tau;
      }
      expect(Math.abs(sum / 2_000)).toBeLessThan(0.03);
    }
  });

  it.each([
    [[0], [0], 1],
    [[], [], 0],
  ])('is not a number where nothing is ranked: %o', (first, second, candidates) => {
    expect(rankAgreement({ first, second, candidates })).toEqual({ overlap: NaN, tau: NaN });
  });
});
