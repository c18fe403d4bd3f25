import { readFile } from 'node:fs/promises';
import type { Evaluation, EvaluationMetric, HistoricalFigures, Interval } from '../../policy/gate.ts';
import { openModel, type Model } from '../../scoring/model-session.ts';
import {
  bootstrapMetrics,
  differenceOf,
  intervalOf,
  standardErrorOf,
  type Distribution,
  type ModelDistributions,
} from './bootstrap.ts';
import type { EvaluatedModel, EvaluationInput } from './evaluate.ts';
import { openHoldout, type Holdout } from './holdout.ts';

/**
 * The evaluation itself, on the calling thread: see `evaluate`, which runs it on another.
 *
 * @param checkpoint called before each batch and each replicate; what it throws ends the evaluation.
 */
export async function compareModels(input: EvaluationInput, checkpoint: () => void): Promise<Evaluation> {
  const { challenger, champion, gate, seed } = input;
  const contenders = [await open(challenger, 'the challenger')];
  try {
    if (champion !== null) contenders.push(await open(champion, `the champion (version ${String(champion.version)})`));
    const holdout = await openHoldout(
      input.holdout,
      contenders.map(({ features }) => features),
    );
    try {
      const scored = await scoreHoldout(holdout, contenders, checkpoint);
      const [ours, theirs] = bootstrapMetrics({ rows: scored, replicates: gate.replicates, seed, checkpoint }) as [
        ModelDistributions,
        ModelDistributions?,
      ];
      const gain = theirs === undefined ? null : gainOf(gate.metric, ours, theirs);
      return {
        rows: scored.labels.length,
        positives: scored.labels.reduce((sum, label) => sum + label, 0),
        users: scored.userCount,
        champion: champion?.version ?? null,
        challengerMetrics: intervalsOf(ours),
        championMetrics: theirs === undefined ? null : intervalsOf(theirs),
        gain: gain === null ? null : intervalOf(gain),
        gainStandardError: gain === null ? null : standardErrorOf(gain),
        maxScoreChange: largestChange(scored.scores),
        championMissing: holdout.missing[1] ?? [],
        historical: await scoreHistorical(input.historical ?? [], contenders, checkpoint),
        latencyMsPerRow: scored.latencyMsPerRow,
        modelBytes: (contenders[0] as Contender).bytes,
      };
    } finally {
      holdout.close();
    }
  } finally {
    for (const { model } of contenders) await model.close();
  }
}

/** Without bounds: the rows are the same in every cycle, so that the figures of cycles compare. */
async function scoreHistorical(
  paths: readonly string[],
  contenders: readonly Contender[],
  checkpoint: () => void,
): Promise<HistoricalFigures | null> {
  if (paths.length === 0) return null;
  const specs = contenders.map(({ features }) => features);
  const historical = await openHoldout(paths, specs);
  try {
    const rows = await scoreHoldout(historical, contenders, checkpoint);
    const figures = bootstrapMetrics({ rows, replicates: 0, seed: 0, checkpoint }).map(({ auc, logLoss }) => ({
      auc: auc.estimate,
      logLoss: logLoss.estimate,
    }));
    const [challenger, champion] = figures as [HistoricalFigures['challenger'], HistoricalFigures['challenger']?];
    return { rows: rows.labels.length, challenger, champion: champion ?? null };
  } finally {
    historical.close();
  }
}

interface Contender {
  name: string;
  features: EvaluatedModel['features'];
  model: Model;
  bytes: number;
}

async function open({ model, features }: EvaluatedModel, name: string): Promise<Contender> {
  return named(name, async () => {
    const bytes = typeof model === 'string' ? await readFile(model) : model;
    return { name, features, model: await openModel(bytes, features), bytes: bytes.byteLength };
  });
}

/** A scored holdout: one score array a contender, all in file order. */
interface ScoredHoldout {
  labels: Uint8Array;
  users: Uint32Array;
  userCount: number;
  scores: Float32Array[];
  /** Of the first contender. NaN without rows. */
  latencyMsPerRow: number;
}

async function scoreHoldout(
  holdout: Holdout,
  contenders: readonly Contender[],
  checkpoint: () => void,
): Promise<ScoredHoldout> {
  const labels = new Uint8Array(holdout.rows);
  const users = new Uint32Array(holdout.rows);
  const scores = contenders.map(() => new Float32Array(holdout.rows));
  const indexOfUser = new Map<string, number>();
  let challengerMs = 0;
  let offset = 0;
  for await (const batch of holdout.batches()) {
    checkpoint();
    labels.set(batch.labels, offset);
    for (const [row, user] of batch.users.entries()) {
      const index = indexOfUser.get(user) ?? indexOfUser.size;
      indexOfUser.set(user, index);
      users[offset + row] = index;
    }
    for (const [index, { name, model }] of contenders.entries()) {
      const rows = batch.features[index];
      if (rows === undefined) throw new Error(`the holdout was opened without the features of ${name}`);
      const startedAt = performance.now();
      scores[index]?.set(await named(name, () => model.score(rows)), offset);
      if (index === 0) challengerMs += performance.now() - startedAt;
    }
    offset += batch.labels.length;
  }
  return { labels, users, userCount: indexOfUser.size, scores, latencyMsPerRow: challengerMs / offset };
}

/** Runs `work`; its error says which model it was about. */
async function named<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function intervalsOf({ auc, logLoss, calibration }: ModelDistributions): Record<EvaluationMetric, Interval> {
  return { auc: intervalOf(auc), logLoss: intervalOf(logLoss), calibration: intervalOf(calibration) };
}

/** Challenger minus champion, and for a loss the other way round: more is better. */
function gainOf(metric: 'auc' | 'logLoss', challenger: ModelDistributions, champion: ModelDistributions): Distribution {
  return metric === 'auc'
    ? differenceOf(challenger.auc, champion.auc)
    : differenceOf(champion.logLoss, challenger.logLoss);
}

function largestChange([challenger, champion]: readonly Float32Array[]): number | null {
  if (challenger === undefined || champion === undefined || challenger.length === 0) return null;
  return challenger.reduce((largest, score, row) => Math.max(largest, Math.abs(score - (champion[row] as number))), 0);
}
