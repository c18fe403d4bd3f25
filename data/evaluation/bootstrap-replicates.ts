import { EVALUATION_METRICS, type EvaluationMetric } from '../../policy/evaluation.ts';
import { entropyOf } from '../../policy/ranking-metrics.ts';
import { aucAndCalibrationError } from './bootstrap-pass.ts';
import { MODEL_SUMS, USER_COUNTS, type Segment } from './bootstrap-segment.ts';
import { LANES, weightedSums } from './bootstrap-sums.ts';
import { fillPoissonWeights, seededRandom, streamSeed } from './random.ts';

/** Work that threads share: all its arrays lie in shared memory. */
export interface BootstrapWork {
  segments: Segment[];
  userCount: number;
  replicates: number;
  seed: number;
  /** Of each segment, by model, then metric, then replicate. */
  results: Float64Array[];
  /** The next replicates that nobody has taken, and a flag that is not 0 once all are to stop. */
  control: Int32Array;
}

const NEXT = 0;
export const STOP = 1;

const METRICS = EVALUATION_METRICS.length;

/** Numbers of one segment, by model and metric, of so many replicates. */
export function resultSize(models: number, replicates: number): number {
  return models * METRICS * replicates;
}

/** The replicates of one metric of one model. */
export function replicatesOf(
  results: Float64Array,
  { model, metric, replicates }: { model: number; metric: EvaluationMetric; replicates: number },
): Float64Array {
  const start = (model * METRICS + EVALUATION_METRICS.indexOf(metric)) * replicates;
  return results.subarray(start, start + replicates);
}

/** The metrics on the rows themselves, in the layout of `results` with one replicate. */
export function estimate(segment: Segment, userCount: number): Float64Array {
  const found = new Float64Array(resultSize(segment.models.length, 1));
  const weights = new Uint32Array(userCount).fill(0x01_01_01_01);
  measure(segment, weights, { results: found, first: 0, replicates: 1 });
  return found;
}

/**
 * Takes the next `LANES` replicates and does them, of all segments. They are drawn from a stream of random numbers of their
 * own, so that it does not matter which thread does it.
 *
 * @returns whether there were any.
 */
export function runNext({ segments, userCount, replicates, seed, results, control }: BootstrapWork): boolean {
  const index = Atomics.add(control, NEXT, 1);
  const first = index * LANES;
  if (first >= replicates || Atomics.load(control, STOP) !== 0) return false;
  const weights = drawWeights(userCount, streamSeed(seed, index));
  for (const [segment, found] of results.entries()) {
    measure(segments[segment] as Segment, weights, { results: found, first, replicates });
  }
  return true;
}

/** How often each user is drawn in `LANES` replicates, which are the bytes of its number. */
export function drawWeights(userCount: number, seed: number): Uint32Array {
  const weights = new Uint32Array(userCount);
  fillPoissonWeights(new Uint8Array(weights.buffer), seededRandom(seed));
  return weights;
}

interface Target {
  results: Float64Array;
  /** The replicate of the first lane; lanes beyond the last replicate are dropped. */
  first: number;
  replicates: number;
}

function measure({ users, counts, models }: Segment, weights: Uint32Array, target: Target): void {
  const { results, first, replicates } = target;
  const totals = weightedSums(counts, { users, weights, width: USER_COUNTS });
  for (const [model, { runs, sums }] of models.entries()) {
    const modelTotals = weightedSums(sums, { users, weights, width: MODEL_SUMS });
    const passed = aucAndCalibrationError(runs, weights);
    for (let lane = 0; lane < Math.min(LANES, replicates - first); lane++) {
      const of = (values: Float64Array, column: number): number => values[column * LANES + lane] as number;
      const rows = of(totals, 0);
      const positives = of(totals, 1);
      const groups = of(totals, 2);
      const logLoss = of(modelTotals, 0) / rows;
      // Without rows, positives or groups 0 / 0, which is NaN: not known.
      const metrics: Record<EvaluationMetric, number> = {
        auc: of(passed, 0),
        logLoss,
        normalizedEntropy: logLoss / entropyOf(positives / rows),
        ndcg: of(modelTotals, 2) / groups,
        mrr: of(modelTotals, 3) / groups,
        hitRate: of(modelTotals, 4) / groups,
        calibration: positives === 0 ? NaN : of(modelTotals, 1) / positives,
        calibrationError: of(passed, 1),
      };
      for (const [metric, name] of EVALUATION_METRICS.entries()) {
        results[(model * METRICS + metric) * replicates + first + lane] = metrics[name];
      }
    }
  }
}
