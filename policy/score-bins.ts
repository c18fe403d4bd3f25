/**
 * Fixed bins of the log-odds of a score, the same in every process so that their counts add up: a quarter wide (odds times
 * 1.28) from -8 to 8, which is 0.0003 to 0.9997, and one beyond each end.
 */
const WIDTH = 0.25;
const LIMIT = 8;
export const SCORE_BINS = 2 + (2 * LIMIT) / WIDTH;

/** The log-odds in the middle of each bin; of the outer ones half a bin beyond their edge. */
export const SCORE_BIN_MIDDLES: readonly number[] = Array.from(
  { length: SCORE_BINS },
  (_, bin) => -LIMIT + (bin - 0.5) * WIDTH,
);

/** The probability at which a bin ends; it is not its own. The last one has no end. */
const ENDS = Float64Array.from({ length: SCORE_BINS - 1 }, (_, bin) => 1 / (1 + Math.exp(LIMIT - bin * WIDTH)));

/** The bin of a probability in [0, 1], from 0 on. */
export function scoreBin(probability: number): number {
  // A table, because a logarithm for each score is a third of what a copy for the shadow costs.
  let bin = FIRST_BINS[Math.floor(probability * CELLS)] ?? 0;
  while (probability >= (ENDS[bin] as number)) bin++;
  return bin;
}

/** The bin that the first probability of each cell lies in. */
const CELLS = 4_096;
const FIRST_BINS = Uint8Array.from({ length: CELLS + 1 }, (_, cell) =>
  ENDS.reduce((bin, end) => (cell / CELLS >= end ? bin + 1 : bin), 0),
);
