/** The dispersion of a metric, as a share of its mean, and how much more than independent rows it varies. */
export interface Drift {
  dispersion: number;
  overdispersion: number;
}

/** No drift, and rows that are independent. */
export const NO_DRIFT: Drift = { dispersion: 0, overdispersion: 1 };

/**
 * What a z of canary against stable is worth when the arms drift apart by themselves: z divided by the square root of the
 * share of its variance that chance among independent rows explains.
 *
 * @param z with the variance of independent rows.
 * @param standardError of the difference, as a share of the metric's mean.
 * @param blocks how many times the drift was drawn anew (minutes, say) in what z is of, at least 1.
 */
export function discountedZ(
  z: number,
  { standardError, blocks, drift }: { standardError: number; blocks: number; drift: Drift },
): number {
  if (!Number.isFinite(z) || standardError === 0) return z;
  const drifted = drift.dispersion ** 2 / Math.max(1, blocks) / standardError ** 2;
  return z / Math.sqrt(drift.overdispersion + drifted);
}
