import { availableParallelism } from 'node:os';
import {
  EVALUATION_METRICS,
  type CalibrationBin,
  type Evaluation,
  type Figures,
  type SegmentGap,
  type SliceFigures,
} from '../../policy/evaluation.ts';
import {
  figuresOf,
  gapsOf,
  recordOf,
  rounded,
  type ModelDistributions,
  type SegmentDistributions,
} from './bootstrap-figures.ts';
import { estimate, replicatesOf } from './bootstrap-replicates.ts';
import { bytesOf, segmentsOf, type Segments } from './bootstrap-segment.ts';
import { runReplicates } from './bootstrap-threads.ts';
import { checkScoredRows, checkSlices, type ScoredRows, type SliceRows } from './scored-rows.ts';

export { NO_GROUP, type ScoredRows, type SliceRows } from './scored-rows.ts';

export interface ComparisonInput {
  rows: ScoredRows;
  slices: readonly SliceRows[];
  /** Of the bootstrap; without any all bounds are NaN. */
  replicates: number;
  seed: number;
  /** Cut-off of ndcg and hitRate. */
  k: number;
  /** Slices with fewer rows are counted only. */
  sliceMinRows: number;
  /** At most; the calling thread is one of them. The figures do not depend on it. */
  threads?: number;
  /** What is prepared and kept of slices at a time; one slice with all its values may take more. 256 MiB. */
  maxBytes?: number;
  /** Called on the calling thread every few of its replicates; what it throws ends the work in all threads. */
  checkpoint?: () => void;
}

export interface ScoreComparison {
  overall: Figures;
  /** In the order given. A request's rows are ranked among those of them that are in the slice. */
  slices: SliceFigures[];
  gaps: SegmentGap[];
  calibrationCurve: Evaluation['calibrationCurve'];
}

/**
 * All metrics of both models on the same rows, overall and by slice, with bounds from a paired and clustered bootstrap: a
 * replicate gives each user a Poisson(1) number of copies, with all of the user's rows, and the same copies to every
 * model (Oza & Russell 2001; Chamandy et al. 2012, "Estimating uncertainty for massive data streams"). Rows of one user are
 * alike, so resampling single rows would give intervals that are too narrow.
 *
 * Each model's scores are sorted once; a replicate is then a pass over the rows and one over the users, in as many threads
 * as there are cores, 8 at most. The same input gives the same figures. They have 7 significant digits.
 *
 * @throws RangeError when the rows contradict themselves or a score is no probability.
 */
export async function compareScores(input: ComparisonInput): Promise<ScoreComparison> {
  const { rows, slices, k, sliceMinRows } = input;
  checkScoredRows(rows);
  checkSlices(slices, rows.labels.length);
  checkCounts(input);
  const segments = segmentsOf(rows, k);
  const [first = [], ...further] = wavesOf(
    slices.filter((part) => part.rows.length >= sliceMinRows),
    input,
  );
  const [whole, ...parts] = await distributionsOf([undefined, ...first], segments, input);
  const gaps = gapsBySlice(first, parts);
  const figures = new Map(first.map((slice, index) => [slice, parts[index]?.figures ?? null]));
  for (const wave of further) {
    const measured = await distributionsOf(wave, segments, input);
    gaps.push(...gapsBySlice(wave, measured));
    for (const [index, slice] of wave.entries()) figures.set(slice, measured[index]?.figures ?? null);
  }
  const { figures: overall, curves } = whole as Measured;
  const [challenger = [], champion = null] = curves;
  return {
    overall,
    slices: slices.map((part) => ({
      slice: part.slice,
      value: part.value,
      ...segments.population(part.rows),
      figures: figures.get(part) ?? null,
    })),
    gaps,
    calibrationCurve: { challenger, champion },
  };
}

interface Measured {
  figures: Figures;
  distributions: SegmentDistributions;
  curves: CalibrationBin[][];
}

/** @param members undefined stands for all rows. */
async function distributionsOf(
  members: readonly (SliceRows | undefined)[],
  segments: Segments,
  {
    rows,
    replicates,
    seed,
    threads = Math.min(8, availableParallelism()),
    checkpoint = () => undefined,
  }: ComparisonInput,
): Promise<Measured[]> {
  const prepared = members.map((part) => segments.prepare(part?.rows));
  const { userCount } = rows;
  const results = await runReplicates({ segments: prepared, userCount, replicates, seed, threads, checkpoint });
  return prepared.map((segment, index) => {
    const estimates = estimate(segment, userCount);
    const models = segment.models.map((_, model): ModelDistributions =>
      recordOf(EVALUATION_METRICS, (metric) => ({
        estimate: replicatesOf(estimates, { model, metric, replicates: 1 })[0] as number,
        replicates: replicatesOf(results[index] as Float64Array, { model, metric, replicates }),
      })),
    );
    const distributions = models as unknown as SegmentDistributions;
    return {
      figures: figuresOf(segment.population, distributions),
      distributions,
      curves: segment.models.map(({ curve }) => roundedCurve(curve)),
    };
  });
}

function gapsBySlice(parts: readonly SliceRows[], measured: readonly Measured[]): SegmentGap[] {
  const values = parts.map(({ slice, value }, index) => ({ slice, value, ...(measured[index] as Measured) }));
  return [...new Set(parts.map(({ slice }) => slice))].flatMap((name) =>
    gapsOf(
      name,
      values.filter(({ slice }) => slice === name),
    ),
  );
}

/** Whole slices, since gaps need all of their values together. */
function wavesOf(
  parts: readonly SliceRows[],
  { rows, replicates, maxBytes = 256 * 2 ** 20 }: ComparisonInput,
): SliceRows[][] {
  const waves: SliceRows[][] = [];
  let bytes = Infinity;
  for (const name of new Set(parts.map(({ slice }) => slice))) {
    const values = parts.filter(({ slice }) => slice === name);
    const size = values.reduce((sum, part) => sum + bytesOf(part.rows.length, rows.scores.length, replicates), 0);
    bytes += size;
    if (bytes > maxBytes) {
      waves.push([]);
      bytes = size;
    }
    waves.at(-1)?.push(...values);
  }
  return waves;
}

function roundedCurve(curve: readonly CalibrationBin[]): CalibrationBin[] {
  return curve.map(({ rows, predicted, observed }) => ({
    rows,
    predicted: rounded(predicted),
    observed: rounded(observed),
  }));
}

function checkCounts({ replicates, seed, k, sliceMinRows, threads = 1 }: ComparisonInput): void {
  const atLeast = { replicates: 0, seed: -Infinity, k: 1, sliceMinRows: 0, threads: 1 };
  for (const [name, value] of Object.entries({ replicates, seed, k, sliceMinRows, threads })) {
    const least = atLeast[name as keyof typeof atLeast];
    if (!Number.isSafeInteger(value) || value < least)
      throw new RangeError(
        `${name} is ${String(value)}, expected an integer${least >= 0 ? ` of at least ${String(least)}` : ''}`,
      );
  }
}
