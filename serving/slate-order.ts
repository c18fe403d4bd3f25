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

/** The indices of the `limit` best of `scores`, best first; equal scores keep the input's order. */
export function rankedOrder(scores: Float32Array, limit = scores.length): number[] {
  if (limit >= scores.length) {
    return Array.from(scores, (_, index) => index).sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
  }
  // The best so far, in order: each further one is put in its place, and the last falls off.
  const best: number[] = [];
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index] ?? 0;
    let place = best.length;
    while (place > 0 && (scores[best[place - 1] ?? 0] ?? 0) < score) place--;
    if (place >= limit) continue;
    if (best.length === limit) best.pop();
    best.splice(place, 0, index);
  }
  return best;
}
