import type { Random } from '../../data/evaluation/random.ts';

/** A standard normal number (Box & Muller 1958). */
export function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/**
 * A Poisson count, exactly: by multiplication of uniforms below a mean of 10, above it by transformed rejection (Hoermann
 * 1993, "The transformed rejection method for generating Poisson random variables", PTRS).
 */
export function drawPoisson(mean: number, random: Random): number {
  if (mean < 10) {
    const limit = Math.exp(-mean);
    let count = 0;
    for (let product = random(); product > limit; product *= random()) count += 1;
    return count;
  }
  const logMean = Math.log(mean);
  const b = 0.931 + 2.53 * Math.sqrt(mean);
  const a = -0.059 + 0.02483 * b;
  const inverseAlpha = 1.1239 + 1.1328 / (b - 3.4);
  const squeeze = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const u = random() - 0.5;
    const v = random();
    const us = 0.5 - Math.abs(u);
    const count = Math.floor(((2 * a) / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= squeeze) return count;
    if (count < 0 || (us < 0.013 && v > us)) continue;
    const left = Math.log(v) + Math.log(inverseAlpha) - Math.log(a / (us * us) + b);
    if (left <= count * logMean - mean - logFactorial(count)) return count;
  }
}

const SMALL = Float64Array.from({ length: 16 }, (_, n) => {
  let log = 0;
  for (let k = 2; k <= n; k++) log += Math.log(k);
  return log;
});

/** Stirling's series from 16 on, to about 1e-10. */
function logFactorial(n: number): number {
  if (n < SMALL.length) return SMALL[n] as number;
  const x = n + 1;
  return (x - 0.5) * Math.log(x) - x + 0.9189385332046727 + 1 / (12 * x) - 1 / (360 * x ** 3);
}

export type Noise = 'clean' | 'lognormal' | 'uniform';

/** Of the logarithm of a lognormal factor with a mean of 1 and a standard deviation of 0.2. */
const LOG_SD = Math.sqrt(Math.log(1 + 0.2 ** 2));

/** The factor by which an arm's rate differs from its true one for a while: its mean is 1. */
export function drawArmFactor(noise: Noise, random: Random): number {
  if (noise === 'clean') return 1;
  if (noise === 'uniform') return 0.8 + 0.4 * random();
  return Math.exp(LOG_SD * drawNormal(random) - LOG_SD ** 2 / 2);
}
