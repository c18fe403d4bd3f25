/**
 * What can be measured of a model on labelled rows. `ndcg` and `hitRate` are cut off at `Evaluation.k`; `calibration` is
 * the sum of the predicted probabilities over the number of positives; `calibrationError` is the expected calibration
 * error over bins of equal size.
 */
export const EVALUATION_METRICS = [
  'auc',
  'logLoss',
  'normalizedEntropy',
  'ndcg',
  'mrr',
  'hitRate',
  'calibration',
  'calibrationError',
] as const;
export type EvaluationMetric = (typeof EVALUATION_METRICS)[number];

/** Metrics in which one of two models is better; of a calibration both 0.9 and 1.1 are off. */
export const COMPARED_METRICS = [
  'auc',
  'logLoss',
  'normalizedEntropy',
  'ndcg',
  'mrr',
  'hitRate',
  'calibrationError',
] as const satisfies readonly EvaluationMetric[];
export type ComparedMetric = (typeof COMPARED_METRICS)[number];
