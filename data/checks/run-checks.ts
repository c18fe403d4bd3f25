import { CHECK_SETTINGS, type CheckCode, type LineConfig } from '../../config/schema.ts';
import { activeSilence } from '../../policy/silences.ts';
import { openDuckDb, sqlText, type Duck } from '../duckdb.ts';
import type { Profile } from '../profile/index.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import { checkCardinality } from './cardinality.ts';
import { checkCategories } from './categories.ts';
import type {
  Check,
  CheckContext,
  CheckReport,
  CheckResult,
  Finding,
  Reference,
  References,
  Rescore,
} from './check.ts';
import { checkClock } from './clock.ts';
import { checkConstant } from './constant.ts';
import { checkDriftConcept } from './drift-concept.ts';
import { checkDriftFeatures } from './drift-features.ts';
import { checkDriftLabel } from './drift-label.ts';
import { checkDriftPredictions } from './drift-predictions.ts';
import { checkDuplicates } from './duplicates.ts';
import { checkEstimatedPerformance } from './estimated-performance.ts';
import { checkFeatureParity } from './feature-parity.ts';
import { checkFeedbackLoop } from './feedback-loop.ts';
import { checkFormat } from './format.ts';
import { checkFreshness } from './freshness.ts';
import { checkLabel } from './label.ts';
import { checkLeakageOverlap } from './leakage-overlap.ts';
import { checkLeakageTime } from './leakage-time.ts';
import { checkLeakage } from './leakage.ts';
import { checkMalformed } from './malformed.ts';
import { checkMinRows } from './min-rows.ts';
import { checkMissing } from './missing.ts';
import { checkOutliers } from './outliers.ts';
import { checkRecency } from './recency.ts';
import { checkSchema } from './schema.ts';
import { checkScoreParity } from './score-parity.ts';
import { checkSourceSchema } from './source-schema.ts';
import { checkUnit } from './unit.ts';
import { checkValues } from './values.ts';
import { checkVolumeArrival } from './volume-arrival.ts';
import { checkVolumeHourly } from './volume-hourly.ts';
import { checkVolume } from './volume.ts';

export type { CheckReport, CheckResult };

const CHECKS: Record<CheckCode, Check> = {
  'volume.min-rows': checkMinRows,
  malformed: checkMalformed,
  'source.schema': checkSourceSchema,
  schema: checkSchema,
  freshness: checkFreshness,
  recency: checkRecency,
  volume: checkVolume,
  'volume.hourly': checkVolumeHourly,
  'volume.arrival': checkVolumeArrival,
  duplicates: checkDuplicates,
  clock: checkClock,
  values: checkValues,
  format: checkFormat,
  unit: checkUnit,
  constant: checkConstant,
  missing: checkMissing,
  outliers: checkOutliers,
  cardinality: checkCardinality,
  categories: checkCategories,
  'feature-parity': checkFeatureParity,
  'score-parity': checkScoreParity,
  leakage: checkLeakage,
  'leakage.time': checkLeakageTime,
  'leakage.overlap': checkLeakageOverlap,
  label: checkLabel,
  'drift.features': checkDriftFeatures,
  'drift.label': checkDriftLabel,
  'drift.predictions': checkDriftPredictions,
  'drift.concept': checkDriftConcept,
  'feedback-loop': checkFeedbackLoop,
  'estimated-performance': checkEstimatedPerformance,
};

const SEVERITY = {
  pass: 'info',
  notApplicable: 'info',
  dryRun: 'info',
  warn: 'warning',
  silenced: 'warning',
  block: 'critical',
} as const;

export interface ChecksInput {
  config: LineConfig;
  manifest: SnapshotManifest;
  /** Local paths of the snapshot's files, as the artifact store verified them. */
  files: Record<Part, readonly string[]>;
  profiles: { fresh: Profile | null; unlabelled: Profile | null };
  references: References;
  /** Given the check's database, since its rows are there. */
  rescore: ((db: Duck) => Rescore) | null;
  /** Operating time, Unix ms: decides which silences are in force. */
  nowMs: number;
}

/**
 * Checks that ask for enough rows of the right kind to train on. Rows that only test may be few, and what leaks among them
 * misleads no training; the next snapshot has them, and is asked.
 */
const OF_TRAINING: ReadonlySet<CheckCode> = new Set(['volume.min-rows', 'leakage', 'feedback-loop']);

const PARTS = ['train', 'holdout', 'replay', 'historical', 'unlabelled'] as const;
type Part = (typeof PARTS)[number];

/**
 * Runs every check on a snapshot. The verdict is `pass` only when none blocks; a check that fails to run blocks, and one
 * whose severity is `warn` warns instead. A silenced check, or one that is only tried, says what it would have said and
 * blocks nothing. A snapshot that extends a holdout is not asked what only training data is asked.
 */
export async function runChecks(input: ChecksInput): Promise<CheckReport> {
  const { config, manifest, files, nowMs, profiles, references, rescore } = input;
  const db = await openDuckDb();
  try {
    let unreadable: string | null = null;
    try {
      await createViews(db, files);
    } catch (error) {
      unreadable = reasonOf(error);
    }
    const context: CheckContext = {
      ...{ config, manifest, db, references },
      rescore: rescore?.(db) ?? null,
      profile: profiles.fresh,
      unlabelledProfile: profiles.unlabelled,
    };
    const results: CheckResult[] = [];
    for (const [code, check] of Object.entries(CHECKS) as [CheckCode, Check][]) {
      if (manifest.extends !== undefined && OF_TRAINING.has(code)) continue;
      const finding = unreadable === null ? await run(check, context) : notRun(unreadable);
      results.push(resultOf({ code, finding, config, nowMs }));
    }
    const verdict = results.some(({ status }) => status === 'block') ? 'block' : 'pass';
    const ids = (reference: Reference | null): string[] => reference?.snapshotIds ?? [];
    const { training, season, week } = references;
    return { verdict, comparedWith: { training: ids(training), season: ids(season), week: ids(week) }, results };
  } finally {
    db.close();
  }
}

async function createViews(db: Duck, files: ChecksInput['files']): Promise<void> {
  const view = async (name: string, paths: readonly string[]): Promise<void> => {
    if (paths.length === 0) return;
    await db.run(`CREATE VIEW ${name} AS SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}])`);
  };
  for (const part of PARTS) await view(part, files[part]);
  await view('fresh', [...files.train, ...files.holdout]);
}

async function run(check: Check, context: CheckContext): Promise<Finding> {
  try {
    return await check(context);
  } catch (error) {
    return notRun(reasonOf(error));
  }
}

function notRun(reason: string): Finding {
  return {
    status: 'block',
    numbers: {},
    threshold: {},
    message: `the check could not be run, so nothing is known: ${reason}`,
  };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}

function resultOf(input: { code: CheckCode; finding: Finding; config: LineConfig; nowMs: number }): CheckResult {
  const { code, config, nowMs } = input;
  const { severity } = config.checks[CHECK_SETTINGS[code]];
  const active = activeSilence(config.silences, code, nowMs);
  const silence = active === null ? {} : { silence: { until: active.until, reason: active.reason } };
  const { status } = input.finding;
  if (status === 'pass' || status === 'notApplicable') {
    return { check: code, ...input.finding, severity: SEVERITY[status], ...silence };
  }
  const tried = { check: code, ...input.finding, ...silence, wouldBe: status };
  if (severity === 'dryRun') {
    const message = `only tried (severity dryRun); it would have said: ${input.finding.message}`;
    return { ...tried, status: 'dryRun', severity: SEVERITY.dryRun, message };
  }
  if (active !== null) {
    const message = `silenced until ${active.until} (${active.reason}); it would have said: ${input.finding.message}`;
    return { ...tried, status: 'silenced', severity: SEVERITY.silenced, message };
  }
  const allowed = severity === 'warn' ? 'warn' : status;
  return { check: code, ...input.finding, status: allowed, severity: SEVERITY[allowed] };
}
