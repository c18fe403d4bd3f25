import type { ComparedMetric, EvaluationMetric } from '../config/metrics.ts';
import type { Reason } from './verdict.ts';

export { COMPARED_METRICS, EVALUATION_METRICS, type ComparedMetric, type EvaluationMetric } from '../config/metrics.ts';

const LESS_IS_BETTER: ReadonlySet<EvaluationMetric> = new Set(['logLoss', 'normalizedEntropy', 'calibrationError']);

export function lessIsBetter(metric: ComparedMetric): boolean {
  return LESS_IS_BETTER.has(metric);
}

/**
 * An estimate with its bootstrap bounds. `lower` and `upper` are one-sided 95 % bounds each (the 5th and 95th
 * percentile), so the two together are a 90 % two-sided interval. What could not be computed is NaN, which JSON carries as
 * null: neither is a finite number.
 */
export interface Interval {
  estimate: number;
  lower: number;
  upper: number;
}

/** An interval with the standard deviation of its replicates. */
export interface Estimate extends Interval {
  standardError: number;
}

/** The rows that figures are of. */
export interface Population {
  rows: number;
  positives: number;
  users: number;
  /** Requests, whose rows are ranked against each other. */
  groups: number;
  /** Of them those without a positive: no ranking of them is better than another, so ndcg, mrr and hitRate leave them out. */
  groupsWithoutPositive: number;
}

/** Champion and challenger on the same rows, with the same resampling. */
export interface Figures extends Population {
  challenger: Record<EvaluationMetric, Estimate>;
  champion: Record<EvaluationMetric, Estimate> | null;
  /** Challenger minus champion, the sign turned so that more is better; null without a champion. */
  gain: Record<ComparedMetric, Estimate> | null;
}

/** The rows of one value of a slice. */
export interface SliceFigures extends Population {
  /** Name of the slice in the config, and which of its values: `surface`, `home`. */
  slice: string;
  value: string;
  /** Null where it has fewer than `evaluation.sliceMinRows` rows. */
  figures: Figures | null;
}

/** Between the values of a slice on which a model does best and worst. `gap` is of the challenger, never negative by its estimate. */
export interface SegmentGap {
  slice: string;
  metric: ComparedMetric;
  best: string;
  worst: string;
  gap: Estimate;
  /** Of the champion, between its own best and worst values. */
  championGap: Estimate | null;
}

/** Rows with neighbouring scores: mean probability and share of positives. */
export interface CalibrationBin {
  rows: number;
  predicted: number;
  observed: number;
}

/** Time of one scoring of a request with so many candidates, in the runtime that serves; milliseconds. */
export interface LatencyFigures {
  candidates: number;
  challenger: { p50Ms: number; p99Ms: number };
  champion: { p50Ms: number; p99Ms: number } | null;
}

/** Champion and challenger on the fixed historical holdout: what a model knew and should still know. */
export interface HistoricalFigures {
  rows: number;
  challenger: { auc: number; logLoss: number };
  champion: { auc: number; logLoss: number } | null;
}

/** What the evaluation of a challenger found on the holdout, champion and challenger scored on the same rows. */
export interface Evaluation {
  /** The champion's version; null when the line has none. */
  champion: number | null;
  overall: Figures;
  /** By slice in the config's order, then by value. */
  slices: SliceFigures[];
  gaps: SegmentGap[];
  /** Slices that could not be made, and why; that only a sample was evaluated. */
  notes: Reason[];
  calibrationCurve: { challenger: CalibrationBin[]; champion: CalibrationBin[] | null };
  /** Largest |challenger - champion| of a score over the rows; null without a champion. */
  maxScoreChange: number | null;
  /** Features of the champion that the holdout does not have: it was scored without them, which favours the challenger. */
  championMissing: string[];
  /** Null while the line has no historical holdout. The gate does not read it: see `forgettingNotes`. */
  historical: HistoricalFigures | null;
  latency: LatencyFigures[];
  /** Of `model.onnx`. */
  modelBytes: number;
  championBytes: number | null;
  /** Cut-off of ndcg and hitRate. */
  k: number;
  /** Of the bootstrap. */
  replicates: number;
  seed: number;
}
