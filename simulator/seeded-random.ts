/** A reproducible stream of random numbers: the same key gives the same stream on every machine. */
export interface SeededRandom {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
  /** Log-normal with the given median; `sigma` is the standard deviation of its logarithm. */
  logNormal(median: number, sigma: number): number;
  /** Number of events of a Poisson process whose expected number is `mean`. */
  poisson(mean: number): number;
}

/**
 * The stream of a key such as `seededRandom(7, 'article', 12)`. Streams of different keys are independent, so that one
 * part of a simulation can be drawn without drawing what came before it.
 *
 * Generator: mulberry32 (Tommy Ettinger, public domain) over an FNV-1a hash of the key.
 */
export function seededRandom(...key: readonly (string | number)[]): SeededRandom {
  let state = hash32(key.join('\u0000'));
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()); // Box and Muller
  return {
    uniform,
    normal,
    logNormal: (median, sigma) => median * Math.exp(sigma * normal()),
    poisson: (mean) => {
      // Knuth's product of uniforms underflows for large means; there the normal approximation is close.
      if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()));
      const limit = Math.exp(-mean);
      let events = 0;
      for (let product = uniform(); product > limit; product *= uniform()) events += 1;
      return events;
    },
  };
}

function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash | 0;
}
