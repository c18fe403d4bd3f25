import { userPoint } from '../policy/assignment.ts';

/** Whether a request is one of the `share` whose order is shuffled. The same for a repeated request id. */
export function explores(requestId: string, share: number): boolean {
  return userPoint(requestId, 'exploration') < share;
}

/** The indices 0..count-1 in a uniformly random order (Fisher-Yates) that the request id decides. */
export function shuffledOrder(requestId: string, count: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const chosen = Math.floor(userPoint(requestId, `shuffle:${String(last)}`) * (last + 1));
    [order[last], order[chosen]] = [order[chosen] ?? 0, order[last] ?? 0];
  }
  return order;
}

/** Beyond this many it is quicker to sort all than to put each in its place. */
const FEW = 64;

/** The indices of the `limit` best of `scores`, best first; equal scores keep the input's order. */
export function rankedOrder(scores: Float32Array, limit = scores.length): number[] {
  if (Math.min(limit, scores.length) > FEW) {
    const order = Array.from(scores, (_, index) => index);
    return order.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0)).slice(0, limit);
  }
  // The best so far, in order: each further one is put in its place, and the last falls off.
  const best: number[] = [];
  let worst = Infinity;
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index] as number;
    if (best.length === limit && !(score > worst)) continue;
    let place = Math.min(best.length, limit - 1);
    for (; place > 0 && (scores[best[place - 1] as number] as number) < score; place--)
      best[place] = best[place - 1] as number;
    best[place] = index;
    worst = scores[best[best.length - 1] as number] as number;
  }
  return best;
}
