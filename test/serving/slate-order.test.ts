import { expect, test } from 'vitest';
import { rankedOrder } from '../../serving/slate-order.ts';

test('the best few are the first of all in order, and equal scores keep the input order', () => {
  // Few distinct scores, so that many are equal.
  const scores = Float32Array.from({ length: 200 }, (_, index) => ((index * 7_919) % 23) / 23);
  const all = rankedOrder(scores);
  for (const limit of [1, 2, 10, 199, 200, 500]) expect(rankedOrder(scores, limit)).toEqual(all.slice(0, limit));
  expect(rankedOrder(Float32Array.of(0.5, 0.9, 0.5, 0.9), 3)).toEqual([1, 3, 0]);
});
