import type { CheckCode, LineConfig } from '../../config/schema.ts';
import { activeSilence } from '../../policy/silences.ts';
import { openDuckDb, sqlText, type Duck } from '../duckdb.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import type { Check, CheckContext, CheckReport, CheckResult, Finding } from './check.ts';
import { checkFeatureParity } from './feature-parity.ts';
import { checkFreshness } from './freshness.ts';
import { checkLabel } from './label.ts';
import { checkLeakage } from './leakage.ts';
import { checkMinRows } from './min-rows.ts';
import { checkRecency } from './recency.ts';
import { checkSchema } from './schema.ts';
import { checkVolume } from './volume.ts';

export type { CheckReport, CheckResult };

/** In the order in which they are reported: the causes before what follows from them. */
const CHECKS: Record<CheckCode, Check> = {
  'volume.min-rows': checkMinRows,
  freshness: checkFreshness,
  recency: checkRecency,
  volume: checkVolume,
  schema: checkSchema,
  'feature-parity': checkFeatureParity,
  leakage: checkLeakage,
  label: checkLabel,
};

const SEVERITY = {
  pass: 'info',
  notApplicable: 'info',
  warn: 'warning',
  silenced: 'warning',
  block: 'critical',
} as const;

/**
 * Runs every check on a snapshot. The verdict is `pass` only when none blocks; a check that fails to run blocks. A
 * silenced check says what it would have said and blocks nothing until its silence ends.
 *
 * @param input.files local paths of the snapshot's files, as the artifact store verified them.
 * @param input.nowMs operating time, Unix ms: decides which silences are in force.
 */
export async function runChecks(input: {
  config: LineConfig;
  manifest: SnapshotManifest;
  files: { train: readonly string[]; holdout: readonly string[]; replay: readonly string[] };
  nowMs: number;
}): Promise<CheckReport> {
  const { config, manifest, files, nowMs } = input;
  const db = await openDuckDb();
  try {
    let unreadable: string | null = null;
    try {
      await createViews(db, files);
    } catch (error) {
      unreadable = reasonOf(error);
    }
    const results: CheckResult[] = [];
    for (const [code, check] of Object.entries(CHECKS) as [CheckCode, Check][]) {
      const finding = unreadable === null ? await run(check, { config, manifest, db }) : notRun(unreadable);
      results.push(resultOf({ code, finding, config, nowMs }));
    }
    return { verdict: results.some(({ status }) => status === 'block') ? 'block' : 'pass', results };
  } finally {
    db.close();
  }
}

async function createViews(db: Duck, files: Record<'train' | 'holdout' | 'replay', readonly string[]>): Promise<void> {
  const view = async (name: string, paths: readonly string[]): Promise<void> => {
    if (paths.length === 0) return;
    await db.run(`CREATE VIEW ${name} AS SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}])`);
  };
  await view('train', files.train);
  await view('holdout', files.holdout);
  await view('replay', files.replay);
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
  const { code, finding, config, nowMs } = input;
  const active = activeSilence(config.silences, code, nowMs);
  if (active === null) return { check: code, ...finding, severity: SEVERITY[finding.status] };
  const silence = { until: active.until, reason: active.reason };
  if (finding.status === 'pass' || finding.status === 'notApplicable') {
    return { check: code, ...finding, severity: SEVERITY[finding.status], silence };
  }
  return {
    check: code,
    ...finding,
    status: 'silenced',
    wouldBe: finding.status,
    severity: SEVERITY.silenced,
    silence,
    message: `silenced until ${active.until} (${active.reason}); it would have said: ${finding.message}`,
  };
}
