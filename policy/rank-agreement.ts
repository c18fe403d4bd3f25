/** How far two rankings of the same candidates agree on what is shown first. */
export interface RankAgreement {
  /** Share of the first k that both have, in [0, 1]; two unrelated rankings share k / candidates. */
  overlap: number;
  /** Kendall's tau-b of the rankings cut at k, in [-1, 1]; of unrelated rankings 0 on average, whatever k is. */
  tau: number;
}

/**
 * Agreement of two rankings at k, by the candidates that each ranks first, best first: k in both lists. What lies beyond k
 * is tied, so that with C and D the concordant and discordant pairs, tau-b = (C - D) / sqrt((P - T)(P - T)) with
 * P = n (n - 1) / 2 pairs of the n candidates, of which T = (n - k)(n - k - 1) / 2 are tied in either ranking (Kendall 1945,
 * "The treatment of ties in ranking problems"). With k = n it is Kendall's tau of the whole rankings. Overlap at k is the
 * intersection of both lists over k (Fagin, Kumar & Sivakumar 2003, "Comparing top k lists").
 *
 * @param input.first candidates' indices below `candidates`, none twice; `second` alike and as many.
 * @param input.candidates how many there are; below 2 nothing is ranked, and both measures are NaN.
 */
export function rankAgreement(input: {
  first: readonly number[];
  second: readonly number[];
  candidates: number;
}): RankAgreement {
  const { first, second, candidates: n } = input;
  const k = first.length;
  if (n < 2 || k === 0) return { overlap: NaN, tau: NaN };
  const shared: number[] = [];
  for (const candidate of first) {
    const place = second.indexOf(candidate);
    if (place >= 0) shared.push(place);
  }
  const m = shared.length;
  const alone = k - m;
  // Of two that both lists have; of one that both have and one of a single list; of one each; of one that both have and the rest.
  const balance =
    pairBalance(shared) +
    mixedBalance(first, second) +
    mixedBalance(second, first) -
    alone * alone +
    m * (n - k - alone);
  return { overlap: m / k, tau: balance / (pairs(n) - pairs(n - k)) };
}

const pairs = (count: number): number => (count * (count - 1)) / 2;

/** Pairs in ascending order less those in descending order. */
function pairBalance(places: readonly number[]): number {
  let balance = 0;
  for (let low = 1; low < places.length; low++) {
    const place = places[low] as number;
    for (let high = 0; high < low; high++) balance += (places[high] as number) < place ? 1 : -1;
  }
  return balance;
}

/** Pairs of one that both lists have and one that only `list` has: the other list has the shared one first. */
function mixedBalance(list: readonly number[], other: readonly number[]): number {
  let sharedSoFar = 0;
  let aloneSoFar = 0;
  let balance = 0;
  for (const candidate of list) {
    if (other.includes(candidate)) {
      balance -= aloneSoFar;
      sharedSoFar++;
    } else {
      balance += sharedSoFar;
      aloneSoFar++;
    }
  }
  return balance;
}
