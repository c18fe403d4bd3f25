/** Rows and positive labels in one bin of a feature or score. */
export interface BinnedLabels {
  rows: number;
  positives: number;
}

export interface RelationShift {
  /**
   * Root mean square over the current rows of how far a bin's label rate moved, beyond what all rows moved, less the part
   * that sampling explains: an effect in label rate that is 0 when the relation is as it was. NaN when no bin can be judged.
   */
  effect: number;
  /** Wald z of the whole shift: above 3 it is not chance. 0 when no bin can be judged. */
  z: number;
  /** Share of the current rows in bins that could be judged. */
  covered: number;
}

/** A bin of fewer rows than this on either side says nothing about its rate. */
const MIN_ROWS = 30;

/**
 * Whether a label depends on a feature as it did (concept drift), given rows and positives by bin of the feature. The
 * squared shift of a bin's rate, net of the shift of all, is corrected by its sampling variance, so that small bins do
 * not look like drift; the sum of squares over its variance is about chi-square, from which `z` (Wilson and Hilferty 1931
 * would be finer; a normal approximation is enough for a guard).
 */
export function relationShift(
  reference: ReadonlyMap<string, BinnedLabels>,
  current: ReadonlyMap<string, BinnedLabels>,
): RelationShift {
  const before = total(reference);
  const now = total(current);
  const [rateBefore, rateNow] = [before.positives / before.rows, now.positives / now.rows];
  let squares = 0;
  let covered = 0;
  let chiSquare = 0;
  let bins = 0;
  for (const [bin, { rows, positives }] of current) {
    const was = reference.get(bin);
    if (was === undefined || was.rows < MIN_ROWS || rows < MIN_ROWS) continue;
    const shift = positives / rows - rateNow - (was.positives / was.rows - rateBefore);
    const variance = (rateNow * (1 - rateNow)) / rows + (rateBefore * (1 - rateBefore)) / was.rows;
    squares += rows * (shift * shift - variance);
    chiSquare += variance > 0 ? (shift * shift) / variance : 0;
    covered += rows;
    bins += 1;
  }
  if (bins < 2) return { effect: NaN, z: 0, covered: 0 };
  return {
    effect: Math.sqrt(Math.max(0, squares / covered)),
    z: (chiSquare - (bins - 1)) / Math.sqrt(2 * (bins - 1)),
    covered: covered / now.rows,
  };
}

function total(bins: ReadonlyMap<string, BinnedLabels>): BinnedLabels {
  const sum = { rows: 0, positives: 0 };
  for (const { rows, positives } of bins.values()) {
    sum.rows += rows;
    sum.positives += positives;
  }
  return sum;
}
