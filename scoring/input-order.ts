/**
 * The scores of version 0, which keeps the input's order: 1/2, 1/3, 1/4, ... by position. Strictly falling and inside
 * (0, 1), whatever the number of candidates; a ladder, no probabilities, so a log loss over them says nothing.
 */
export function inputOrderScores(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, position) => 1 / (position + 2));
}
