import type { Evaluation, HistoricalFigures } from '../../policy/evaluation.ts';
import { auc, logLoss } from '../../policy/statistics.ts';
import { compareScores } from './bootstrap.ts';
import { closeContenders, openContenders, type Contender } from './contenders.ts';
import type { EvaluationInput } from './evaluate.ts';
import { openHoldout } from './holdout.ts';
import { measureLatency } from './latency.ts';
import { largestChange, scoreHoldout } from './score-holdout.ts';
import { fitSlices } from './slice-budget.ts';
import { readSlices, type Slices } from './slices.ts';

/**
 * The evaluation itself, on the calling thread and those of the bootstrap: see `evaluate`, which runs it on another.
 *
 * @param checkpoint called before each batch, slice, timed request and replicate; what it throws ends the evaluation.
 */
export async function compareModels(input: EvaluationInput, checkpoint: () => void): Promise<Evaluation> {
  const { champion, config, replicates, seed } = input;
  const contenders = await openContenders(input);
  try {
    const holdout = await openHoldout(
      input.holdout,
      contenders.map(({ features }) => features),
    );
    try {
      const rows = await scoreHoldout(holdout, contenders, checkpoint);
      const { parts, notes } = await slicesOf(input, holdout.rows, checkpoint);
      const { k, sliceMinRows } = config;
      return {
        champion: champion?.version ?? null,
        ...(await compareScores({ rows, slices: parts, replicates, seed, k, sliceMinRows, checkpoint })),
        notes,
        maxScoreChange: rounded(largestChange(rows.scores)),
        championMissing: holdout.missing[1] ?? [],
        historical: await scoreHistorical(input.historical ?? [], contenders, checkpoint),
        latency: await measureLatency({ holdout, contenders, candidates: config.latencyCandidates, checkpoint }),
        modelBytes: (contenders[0] as Contender).bytes,
        championBytes: contenders[1]?.bytes ?? null,
        ...{ k, replicates, seed },
      };
    } finally {
      holdout.close();
    }
  } finally {
    await closeContenders(contenders);
  }
}

async function slicesOf(input: EvaluationInput, rows: number, checkpoint: () => void): Promise<Slices> {
  const { holdout, challenger, champion, config, seen, judgedSlices = [] } = input;
  const features = [...challenger.features, ...(champion?.features ?? [])];
  const found = await readSlices({ holdout, rows, config, features, seen, checkpoint });
  const fitted = fitSlices(found.parts, {
    judged: judgedSlices,
    sliceMinRows: config.sliceMinRows,
    hasChampion: champion !== null,
  });
  return { parts: fitted.parts, notes: [...found.notes, ...fitted.notes] };
}

/** Without bounds: the rows are the same in every cycle, so that the figures of cycles compare. */
async function scoreHistorical(
  paths: readonly string[],
  contenders: readonly Contender[],
  checkpoint: () => void,
): Promise<HistoricalFigures | null> {
  if (paths.length === 0) return null;
  const historical = await openHoldout(
    paths,
    contenders.map(({ features }) => features),
  );
  try {
    const { labels, scores } = await scoreHoldout(historical, contenders, checkpoint);
    const [challenger, champion = null] = scores.map((ofModel) => ({
      auc: rounded(auc(labels, ofModel)),
      logLoss: rounded(logLoss(labels, ofModel)),
    }));
    return { rows: labels.length, challenger: challenger as HistoricalFigures['challenger'], champion };
  } finally {
    historical.close();
  }
}

function rounded<T extends number | null>(value: T): T {
  return (value === null ? null : Number(value.toPrecision(7))) as T;
}
