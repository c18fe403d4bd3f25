import type { GateConfig } from '../config/schema.ts';
import type { Evaluation } from './evaluation.ts';
import { count, decimal } from './figures.ts';

/**
 * A warning when the challenger is worse than the champion on the fixed historical holdout by more than the gate's
 * tolerance, in the gate's metric; in AUC where the gate compares by one that these rows are not measured in. It only
 * warns: the feed moves on, and some of the past is right to be forgotten.
 */
export function forgettingNotes(
  { historical }: Pick<Evaluation, 'historical'>,
  { metric: judged, tolerance }: Pick<GateConfig, 'metric' | 'tolerance'>,
): string[] {
  // Evaluations of older builds have no such entry.
  if (historical == null || historical.champion === null) return [];
  const { challenger, champion, rows } = historical;
  const metric = judged === 'logLoss' ? judged : 'auc';
  const lost = metric === 'auc' ? champion.auc - challenger.auc : challenger.logLoss - champion.logLoss;
  const where = `on the ${count(rows)} rows of the historical holdout`;
  // NaN, as of one class only, may have become null on its way.
  const known = [champion[metric], challenger[metric]].every((value) => Number.isFinite(value));
  if (!known) return [`forgetting: ${metric} can not be told ${where}`];
  if (lost <= tolerance) return [];
  return [
    `forgetting: the challenger's ${metric} is worse by ${decimal(lost)} ${where} (${decimal(challenger[metric])}, champion ${decimal(champion[metric])}, tolerance ${decimal(tolerance)}); a larger snapshot.replayShare keeps more of the past`,
  ];
}
