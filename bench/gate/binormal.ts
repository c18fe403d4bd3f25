import { normalCdf, normalQuantile } from '../../policy/statistics.ts';

/** Midpoints of so many slices of equal probability, of either class. */
const POINTS = 200;

/**
 * AUC of a standard normal score that has correlation `r` with a standard normal latent whose upper share `prevalence` are
 * the positives. Given the latents of a positive and a negative, the difference of their scores is normal with mean
 * r (L1 - L2) and variance 2 (1 - r^2); its sign is averaged over both truncated normals. However users and slates share
 * parts of latent and noise, two rows of different users have this AUC.
 */
export function latentAuc(r: number, prevalence: number): number {
  const positives = latents(1 - prevalence, 1);
  const negatives = latents(0, 1 - prevalence);
  const scale = r / Math.sqrt(2 * (1 - r * r));
  let sum = 0;
  for (const positive of positives) for (const negative of negatives) sum += normalCdf(scale * (positive - negative));
  return sum / (POINTS * POINTS);
}

/** The correlation at which `latentAuc` is `auc`, by bisection to about 1e-9. */
export function correlationOf(auc: number, prevalence: number): number {
  let below = 0;
  let above = 0.999;
  while (above - below > 1e-9) {
    const middle = (below + above) / 2;
    if (latentAuc(middle, prevalence) < auc) below = middle;
    else above = middle;
  }
  return (below + above) / 2;
}

/** P(latent > threshold | score): what a calibrated model answers. */
export function calibrated(score: number, r: number, threshold: number): number {
  return normalCdf((r * score - threshold) / Math.sqrt(1 - r * r));
}

function latents(from: number, to: number): number[] {
  return Array.from({ length: POINTS }, (_, index) => normalQuantile(from + ((to - from) * (index + 0.5)) / POINTS));
}
