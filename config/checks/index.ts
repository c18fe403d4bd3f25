import { z } from 'zod';
import { arrivalChecks } from './arrival.ts';
import { driftChecks } from './drift.ts';
import { trustChecks } from './trust.ts';
import { upstreamChecks } from './upstream.ts';

export type { Severity } from './section.ts';

export const checksSection = z
  .object({ ...arrivalChecks, ...upstreamChecks, ...driftChecks, ...trustChecks })
  .strict()
  .prefault({});
type ChecksConfig = z.output<typeof checksSection>;

/** Where each check's settings stand under `checks`; in the order in which checks are reported: causes first. */
export const CHECK_SETTINGS = {
  'volume.min-rows': 'minRows',
  malformed: 'malformed',
  'source.schema': 'sourceSchema',
  schema: 'schema',
  freshness: 'freshness',
  recency: 'recency',
  volume: 'volume',
  'volume.hourly': 'volumeHourly',
  'volume.arrival': 'volumeArrival',
  duplicates: 'duplicates',
  clock: 'clock',
  values: 'values',
  format: 'format',
  unit: 'unit',
  constant: 'constant',
  missing: 'missing',
  outliers: 'outliers',
  cardinality: 'cardinality',
  categories: 'categories',
  'feature-parity': 'featureParity',
  'score-parity': 'scoreParity',
  leakage: 'leakage',
  'leakage.time': 'leakageTime',
  'leakage.overlap': 'leakageOverlap',
  label: 'label',
  'drift.features': 'driftFeatures',
  'drift.label': 'driftLabel',
  'drift.predictions': 'driftPredictions',
  'drift.concept': 'driftConcept',
  'feedback-loop': 'feedbackLoop',
  'estimated-performance': 'estimatedPerformance',
} as const satisfies Record<string, keyof ChecksConfig>;

export type CheckCode = keyof typeof CHECK_SETTINGS;
export const CHECK_CODES = Object.keys(CHECK_SETTINGS) as [CheckCode, ...CheckCode[]];
