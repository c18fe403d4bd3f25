/**
 * Score interval of a proportion (Wilson 1927): the shares that a two-sided test with this z does not refuse. It stays
 * inside [0, 1] and is wide where there are few rows, also at shares of 0 and 1. Without rows it is [0, 1].
 */
export function wilsonInterval(input: { successes: number; n: number; z: number }): { lower: number; upper: number } {
  const { successes, n, z } = input;
  if (n === 0) return { lower: 0, upper: 1 };
  const share = successes / n;
  const spread = (z * z) / n;
  const centre = (share + spread / 2) / (1 + spread);
  const half = (z * Math.sqrt((share * (1 - share)) / n + spread / (4 * n))) / (1 + spread);
  return { lower: Math.max(0, centre - half), upper: Math.min(1, centre + half) };
}

/**
 * Standard error of an AUC whose true value is `auc` (Hanley & McNeil 1982, exponential scores). NaN when a class is
 * empty.
 */
export function aucStandardError(input: { auc: number; positives: number; negatives: number }): number {
  const { auc, positives, negatives } = input;
  if (positives === 0 || negatives === 0) return NaN;
  const square = auc * auc;
  const ofPositives = (positives - 1) * (auc / (2 - auc) - square);
  const ofNegatives = (negatives - 1) * ((2 * square) / (1 + auc) - square);
  return Math.sqrt((auc * (1 - auc) + ofPositives + ofNegatives) / (positives * negatives));
}
