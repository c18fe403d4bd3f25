import { discountAt } from '../../policy/ranking-metrics.ts';
import { NO_GROUP, type ScoredRows } from './scored-rows.ts';

/** A group with a positive: how many rows and positives of it there are, and where its user stands. */
export interface RankedGroup {
  group: number;
  rows: number;
  positives: number;
  user: number;
}

interface Rankings {
  rows: ScoredRows;
  scores: Float32Array;
  /** The rows by ascending score. */
  order: Uint32Array;
  ranked: readonly RankedGroup[];
  /** Sums of the discounts of the first ranks, from none to k. */
  discounts: Float64Array;
  /** Of the sums: numbers of each user, and the first of the three that are added to. */
  width: number;
  column: number;
}

/** Adds NDCG, reciprocal rank and hit of each group to the sums of its user. */
export function addRankings(sums: Float64Array, input: Rankings): void {
  const { rows, scores, order, ranked, discounts, width, column } = input;
  // Where the next row of a group goes: the rows of a group lie together, by descending score. 0 is for all other rows.
  const next = new Uint32Array(rows.groupCount);
  let total = 1;
  for (const { group, rows: size } of ranked) {
    next[group] = total;
    total += size;
  }
  const byGroup = new Uint32Array(total);
  for (let place = order.length - 1; place >= 0; place--) {
    const row = order[place] as number;
    const group = rows.groups[row] as number;
    const target = group === NO_GROUP ? 0 : (next[group] as number);
    if (target === 0) continue;
    byGroup[target] = row;
    next[group] = target + 1;
  }
  for (const { group, rows: size, positives, user } of ranked) {
    const end = next[group] as number;
    const found = rank(rows.labels, scores, { ranked: byGroup.subarray(end - size, end), positives, discounts });
    for (const [index, value] of [found.ndcg, found.reciprocalRank, found.hit].entries()) {
      const at = width * user + column + index;
      sums[at] = (sums[at] as number) + value;
    }
  }
}

/** `ndcgAtK`, `reciprocalRank` and `hitRateAtK` of a group with a positive whose rows are ordered. */
function rank(
  labels: Uint8Array,
  scores: Float32Array,
  { ranked, positives, discounts }: { ranked: Uint32Array; positives: number; discounts: Float64Array },
): { ndcg: number; reciprocalRank: number; hit: number } {
  const k = discounts.length - 1;
  const discounted = (ranks: number): number => discounts[Math.min(ranks, k)] as number;
  let gain = 0;
  let first: { reciprocalRank: number; hit: number } | null = null;
  for (let start = 0; start < ranked.length;) {
    const score = scores[ranked[start] as number];
    let end = start;
    let tied = 0;
    while (end < ranked.length && scores[ranked[end] as number] === score)
      tied += labels[ranked[end++] as number] as number;
    if (tied > 0) {
      gain += (tied / (end - start)) * (discounted(end) - discounted(start));
      first ??= firstPositive({ before: start, rows: end - start, positives: tied, k });
    }
    start = end;
  }
  return { ndcg: gain / discounted(positives), reciprocalRank: 0, hit: 0, ...first };
}

/** Of a tie that holds the first positive: expectations over the orders of its rows. */
function firstPositive({ before, rows, positives, k }: Record<'before' | 'rows' | 'positives' | 'k', number>): {
  reciprocalRank: number;
  hit: number;
} {
  let reciprocalRank = 0;
  let hit = 0;
  let none = 1;
  for (let left = rows; left >= positives; left--) {
    const here = (none * positives) / left;
    const rank = before + rows - left + 1;
    reciprocalRank += here / rank;
    if (rank <= k) hit += here;
    none -= here;
  }
  return { reciprocalRank, hit };
}

/** Of the first ranks, from none to k. */
export function discountSums(k: number): Float64Array {
  const sums = new Float64Array(k + 1);
  for (let rank = 0; rank < k; rank++) sums[rank + 1] = (sums[rank] as number) + discountAt(rank);
  return sums;
}
