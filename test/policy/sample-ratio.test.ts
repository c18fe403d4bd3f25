import { describe, expect, it } from 'vitest';
import { sampleRatioP } from '../../policy/sample-ratio.ts';

/** Twice the tail of the binomial beyond what was found. */
function exactP({ successes, trials, share }: { successes: number; trials: number; share: number }): number {
  let logChoose = 0;
  let p = 0;
  for (let k = 0; k <= trials; k++) {
    if (k > 0) logChoose += Math.log((trials - k + 1) / k);
    const beyond = successes >= trials * share ? k >= successes : k <= successes;
    if (beyond) p += Math.exp(logChoose + k * Math.log(share) + (trials - k) * Math.log(1 - share));
  }
  return Math.min(1, 2 * p);
}

describe('sampleRatioP', () => {
  it.each([
    { successes: 500, trials: 1_000, share: 0.5 },
    { successes: 450, trials: 1_000, share: 0.5 },
    { successes: 20, trials: 1_000, share: 0.01 },
    { successes: 2, trials: 1_000, share: 0.01 },
    { successes: 0, trials: 40, share: 0.3 },
    { successes: 40, trials: 40, share: 0.9 },
  ])('is never below the exact tail, nor far above it: %o', (sample) => {
    const exact = exactP(sample);
    expect(sampleRatioP(sample)).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
    expect(sampleRatioP(sample)).toBeLessThanOrEqual(Math.min(1, 30 * exact));
  });

  it.each([
    ['all of all', { successes: 1_000, trials: 1_000, share: 1 }, 1],
    ['one missing of all', { successes: 999, trials: 1_000, share: 1 }, 0],
    ['more than there were', { successes: 11, trials: 10, share: 1 }, 0],
    ['copies of nothing', { successes: 3, trials: 0, share: NaN }, 0],
    ['nothing of nothing', { successes: 0, trials: 0, share: NaN }, 1],
    ['some where there should be none', { successes: 1, trials: 10, share: 0 }, 0],
  ])('is exact where nothing is left to chance: %s', (_, sample, p) => {
    expect(sampleRatioP(sample)).toBe(p);
  });
});
