/** Uniform numbers in [0, 1), the same for the same seed on every machine. */
export type Random = () => number;

/**
 * xoshiro128** (Blackman & Vigna 2018), its state filled from the seed by SplitMix32. Period 2^128 - 1; 32 bits a draw.
 * Not for secrets.
 */
export function seededRandom(seed: number): Random {
  let mix = seed | 0;
  const next = (): number => {
    mix = (mix + 0x9e3779b9) | 0;
    let word = Math.imul(mix ^ (mix >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return word ^ (word >>> 15);
  };
  let a = next();
  let b = next();
  let c = next();
  let d = next();
  return () => {
    const scrambled = Math.imul(b, 5);
    const word = Math.imul((scrambled << 7) | (scrambled >>> 25), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return (word >>> 0) / 0x1_0000_0000;
  };
}

/**
 * Seed of one of the streams of `seed`, so that work can be divided and gives the same numbers however it is. The streams
 * of a seed all differ: each step is a bijection of 32 bits (the finaliser of MurmurHash3, Appleby 2011).
 */
export function streamSeed(seed: number, stream: number): number {
  return scramble((scramble(seed | 0) + stream) | 0);
}

function scramble(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** P(X <= k) of a Poisson variable of mean 1; the draws have 32 bits, beyond 12 nothing is left of them. */
const POISSON_1 = cumulativePoisson(12);

function cumulativePoisson(last: number): Float64Array {
  const cumulative = new Float64Array(last + 1);
  let term = Math.exp(-1);
  let sum = 0;
  for (let k = 0; k <= last; k++) {
    sum += term;
    cumulative[k] = k === last ? 1 : sum;
    term /= k + 1;
  }
  return cumulative;
}

/** By the first byte of a draw the smallest value that it can stand for, from where the search goes on (Chen & Asau 1974). */
const FIRST_GUESS = Uint8Array.from({ length: 256 }, (_, byte) =>
  POISSON_1.findIndex((cumulative) => byte / 256 < cumulative),
);

/** Fills `weights` with independent Poisson(1) draws, by inversion. */
export function fillPoissonWeights(weights: Uint8Array, random: Random): void {
  for (let index = 0; index < weights.length; index++) {
    const uniform = random();
    let k = FIRST_GUESS[(uniform * 256) | 0] as number;
    while (uniform >= (POISSON_1[k] as number)) k++;
    weights[index] = k;
  }
}
