/**
 * P-values adjusted for the number of tests made together, in the order they came in; each at most 1. Compare an
 * adjusted value with the level itself. Both throw a RangeError when a value is not in [0, 1].
 */

/**
 * Holm's step-down method (1979): the probability of any false alarm at all is at most the level, however the tests
 * depend on each other. The i-th smallest of m is multiplied by m - i + 1, and none gets below one that was smaller.
 */
export function holm(pValues: readonly number[]): number[] {
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  for (const [rank, index] of ranked(pValues).entries()) {
    largest = Math.max(largest, (pValues.length - rank) * (pValues[index] as number));
    adjusted[index] = Math.min(1, largest);
  }
  return adjusted;
}

/**
 * Benjamini & Hochberg's step-up method (1995): of the alarms, at most the level's share is false on average, for
 * independent or positively dependent tests. The i-th smallest of m is multiplied by m / i, and none gets above one
 * that was larger.
 */
export function benjaminiHochberg(pValues: readonly number[]): number[] {
  const adjusted = new Array<number>(pValues.length);
  let smallest = 1;
  for (const [fromLargest, index] of ranked(pValues).reverse().entries()) {
    const rank = pValues.length - fromLargest;
    smallest = Math.min(smallest, ((pValues[index] as number) * pValues.length) / rank);
    adjusted[index] = smallest;
  }
  return adjusted;
}

function ranked(pValues: readonly number[]): number[] {
  for (const [index, p] of pValues.entries()) {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`a p-value lies between 0 and 1; number ${index + 1} is ${p}`);
  }
  return pValues.map((_, index) => index).sort((a, b) => (pValues[a] as number) - (pValues[b] as number));
}
