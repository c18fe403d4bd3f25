/** Replicates that are done at once: the weights of a user are the bytes of one 32-bit number. */
export const LANES = 4;

/**
 * Sums over users, weighted.
 *
 * @param values `width` numbers for each of `users`.
 * @returns by column, then lane.
 */
export function weightedSums(
  values: Float64Array,
  { users, weights, width }: { users: Uint32Array; weights: Uint32Array; width: number },
): Float64Array {
  const totals = new Float64Array(width * LANES);
  for (let column = 0; column < width; column++) {
    let total0 = 0;
    let total1 = 0;
    let total2 = 0;
    let total3 = 0;
    for (let place = 0, index = column; place < users.length; place++, index += width) {
      const value = values[index] as number;
      const weight = weights[users[place] as number] as number;
      total0 += value * (weight & 0xff);
      total1 += value * ((weight >>> 8) & 0xff);
      total2 += value * ((weight >>> 16) & 0xff);
      total3 += value * (weight >>> 24);
    }
    totals.set([total0, total1, total2, total3], column * LANES);
  }
  return totals;
}
