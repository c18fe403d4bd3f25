/**
 * Independent standard normal numbers, the same for the same seed on every machine up to the last digit of its
 * logarithm: SplitMix32 for the uniforms, the polar method of Marsaglia & Bray (1964). Period of 2^32 uniforms: for
 * simulation, not for secrets.
 */
export function seededNormal(seed: number): () => number {
  let state = seed | 0;
  const symmetric = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return ((word ^ (word >>> 15)) >>> 0) / 0x8000_0000 - 1;
  };
  let spare: number | null = null;
  return () => {
    if (spare !== null) {
      const drawn = spare;
      spare = null;
      return drawn;
    }
    for (;;) {
      const x = symmetric();
      const y = symmetric();
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      spare = y * factor;
      return x * factor;
    }
  };
}
