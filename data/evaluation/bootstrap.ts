import type { EvaluationMetric, Interval } from '../../policy/gate.ts';
import { logLossOf, quantile } from '../../policy/statistics.ts';
import { fillPoissonWeights, seededRandom } from './random.ts';

/** Labelled rows, whose they are, and what each model said of them. All arrays have one entry a row. */
export interface ScoredRows {
  labels: Uint8Array;
  /** Index of the row's user, 0 to userCount - 1. */
  users: Uint32Array;
  userCount: number;
  /** One array of probabilities a model. */
  scores: readonly Float32Array[];
}

/** One metric of one model: on the rows themselves, and on each replicate. */
export interface Distribution {
  estimate: number;
  replicates: Float64Array;
}

export type ModelDistributions = Record<EvaluationMetric, Distribution>;

/**
 * The metrics of each model on the rows and on bootstrap replicates of them, paired and clustered: a replicate gives
 * each user a Poisson(1) number of copies, with all of the user's rows, and the same copies to every model (Oza &
 * Russell 2001; Chamandy et al. 2012, "Estimating uncertainty for massive data streams"). Rows of one user are alike,
 * so resampling single rows would give intervals that are too narrow.
 *
 * Each model is sorted once; a replicate is then one pass over its rows. The same seed gives the same numbers.
 *
 * @param checkpoint called before each replicate; what it throws ends the work.
 */
export function bootstrapMetrics({
  rows,
  replicates,
  seed,
  checkpoint,
}: {
  rows: ScoredRows;
  replicates: number;
  seed: number;
  checkpoint?: () => void;
}): ModelDistributions[] {
  const weights = new Uint8Array(rows.userCount);
  const models = rows.scores.map((scores) => summarise(rows, scores));
  weights.fill(1);
  const results = models.map((model) => {
    const estimates = weigh(model, weights);
    const distribution = (metric: EvaluationMetric): Distribution => ({
      estimate: estimates[metric],
      replicates: new Float64Array(replicates),
    });
    return { auc: distribution('auc'), logLoss: distribution('logLoss'), calibration: distribution('calibration') };
  });
  const random = seededRandom(seed);
  for (let replicate = 0; replicate < replicates; replicate++) {
    checkpoint?.();
    fillPoissonWeights(weights, random);
    for (const [index, model] of models.entries()) {
      const found = weigh(model, weights);
      for (const metric of ['auc', 'logLoss', 'calibration'] as const) {
        (results[index] as ModelDistributions)[metric].replicates[replicate] = found[metric];
      }
    }
  }
  return results;
}

/** `a` minus `b`, replicate by replicate: what makes the comparison a paired one. */
export function differenceOf(a: Distribution, b: Distribution): Distribution {
  return {
    estimate: a.estimate - b.estimate,
    replicates: a.replicates.map((value, replicate) => value - (b.replicates[replicate] as number)),
  };
}

/** A share of undefined replicates (no positive drawn) above this makes the bounds unknown. */
const MAX_UNDEFINED = 0.01;

/** The 5th and 95th percentiles of the replicates: a one-sided 95 % bound on either side. */
export function intervalOf({ estimate, replicates }: Distribution): Interval {
  const defined = replicates.filter((value) => !Number.isNaN(value)).sort();
  if (replicates.length - defined.length > MAX_UNDEFINED * replicates.length)
    return { estimate, lower: NaN, upper: NaN };
  return { estimate, lower: quantile(defined, 0.05), upper: quantile(defined, 0.95) };
}

/** Standard deviation over the replicates, undefined ones left out. */
export function standardErrorOf({ replicates }: Distribution): number {
  const defined = replicates.filter((value) => !Number.isNaN(value));
  const mean = defined.reduce((sum, value) => sum + value, 0) / defined.length;
  return Math.sqrt(defined.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (defined.length - 1));
}

/** What of a model's scores the passes need. */
interface ModelSummary {
  /** Rows by ascending score, each packed as user * 4 + (last of its tie) * 2 + label: one read a row in the hot loop. */
  packed: Uint32Array;
  /** By user. */
  rows: Float64Array;
  positives: Float64Array;
  logLoss: Float64Array;
  predicted: Float64Array;
}

const MAX_USERS = 2 ** 30;

function summarise({ labels, users, userCount }: ScoredRows, scores: Float32Array): ModelSummary {
  if (userCount > MAX_USERS)
    throw new RangeError(`the holdout has ${String(userCount)} users, at most ${String(MAX_USERS)} can be resampled`);
  const perUser = (): Float64Array => new Float64Array(userCount);
  const summary = {
    packed: new Uint32Array(labels.length),
    rows: perUser(),
    positives: perUser(),
    logLoss: perUser(),
    predicted: perUser(),
  };
  for (let row = 0; row < labels.length; row++) {
    const user = users[row] as number;
    const label = labels[row] as number;
    const score = scores[row] as number;
    summary.rows[user] = (summary.rows[user] as number) + 1;
    summary.positives[user] = (summary.positives[user] as number) + label;
    summary.logLoss[user] = (summary.logLoss[user] as number) + logLossOf(label, score);
    summary.predicted[user] = (summary.predicted[user] as number) + score;
  }
  const order = Uint32Array.from(labels.keys()).sort((a, b) => (scores[a] as number) - (scores[b] as number));
  for (let place = 0; place < order.length; place++) {
    const row = order[place] as number;
    const next = order[place + 1];
    const lastOfTie = next === undefined || scores[next] !== scores[row] ? 2 : 0;
    summary.packed[place] = (users[row] as number) * 4 + lastOfTie + (labels[row] as number);
  }
  return summary;
}

function weigh(model: ModelSummary, weights: Uint8Array): Record<EvaluationMetric, number> {
  let rows = 0;
  let positives = 0;
  let logLoss = 0;
  let predicted = 0;
  for (let user = 0; user < weights.length; user++) {
    const weight = weights[user] as number;
    if (weight === 0) continue;
    rows += weight * (model.rows[user] as number);
    positives += weight * (model.positives[user] as number);
    logLoss += weight * (model.logLoss[user] as number);
    predicted += weight * (model.predicted[user] as number);
  }
  return {
    auc: weightedAuc(model.packed, weights),
    logLoss: logLoss / rows,
    calibration: positives === 0 ? NaN : predicted / positives,
  };
}

/** Weighted pairs a positive wins, a tie counting half, over all pairs; NaN when a class has no weight. */
function weightedAuc(packed: Uint32Array, weights: Uint8Array): number {
  let won = 0;
  let positives = 0;
  let negatives = 0;
  let tiedPositives = 0;
  let tiedNegatives = 0;
  for (let place = 0; place < packed.length; place++) {
    const row = packed[place] as number;
    const weight = weights[row >>> 2] as number;
    // Without a branch on the label, which no processor can predict.
    const positive = weight & -(row & 1);
    tiedPositives += positive;
    tiedNegatives += weight - positive;
    if ((row & 2) === 0) continue;
    won += tiedPositives * (negatives + tiedNegatives / 2);
    positives += tiedPositives;
    negatives += tiedNegatives;
    tiedPositives = 0;
    tiedNegatives = 0;
  }
  return positives === 0 || negatives === 0 ? NaN : won / (positives * negatives);
}
