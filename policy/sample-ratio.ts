/**
 * An upper bound of the two-sided p, twice the binomial tail, of `successes` among `trials` whose share should be `share`:
 * 2 exp(-trials KL), KL the Kullback-Leibler divergence of the share found from the share expected (Chernoff's bound,
 * Hoeffding 1963, theorem 1). It holds at every size and share; at p = 0.0005 it wants a deviation of 4.1 standard errors
 * where the tail itself wants 3.5. 0 when what was found is impossible, 1 without trials.
 */
export function sampleRatioP(input: { successes: number; trials: number; share: number }): number {
  const { successes, trials, share } = input;
  if (trials <= 0) return successes > 0 ? 0 : 1;
  const found = successes / trials;
  if (found > 1) return 0;
  const divergence = term(found, share) + term(1 - found, 1 - share);
  return Math.min(1, 2 * Math.exp(-trials * divergence));
}

/** x ln(x / y), 0 for nothing, infinite for what can not be. */
function term(x: number, y: number): number {
  return x === 0 ? 0 : x * Math.log(x / y);
}

/** Copies for a shadow that a gateway has open at once; further ones are dropped. */
export const MAX_OPEN_COPIES = 64;
