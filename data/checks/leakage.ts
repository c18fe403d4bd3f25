import type { LineConfig } from '../../config/schema.ts';
import { aucStandardError, wilsonInterval } from '../../policy/proportion.ts';
import { normalQuantile } from '../../policy/statistics.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { readEvidence, sampleRows, type Counts, type FeatureEvidence, type Part } from './leakage-parts.ts';
import { ratio, whole } from './wording.ts';

type Limits = LineConfig['checks']['leakage'];

/** One-sided 0.6 %, for one look: enough to warn, not to block. */
const WARNING_Z = 2.5;
/** Parts that are named in the message; the numbers have the strongest of each feature. */
const TOLD = 5;

/**
 * No feature gives the label away: neither ranks it nearly by itself, by its value or by being missing, nor has a part of
 * its values (a value, a range, being missing) where the label is nearly certain. Such a feature was most likely written
 * after the label. AUC of numbers is symmetric here: a feature that ranks backwards tells as much.
 *
 * Blocks on what is beyond chance: the label rate of a part by its Wilson bound, corrected for all parts of all features
 * that were looked at (Bonferroni). What only looks so warns.
 */
export async function checkLeakage({ config, manifest, db }: CheckContext): Promise<Finding> {
  const limits = config.checks.leakage;
  const { severity: _severity, ...threshold } = limits;
  const rows = freshRows(manifest);
  const { positives } = manifest.counts;
  if (rows < limits.minSupport || positives === 0 || positives === rows) {
    return {
      status: 'block',
      numbers: { rows, positives },
      threshold,
      message: `${whole(rows)} fresh rows, ${whole(positives)} of them positive, can not show whether a feature leaks the label; at least ${whole(limits.minSupport)} rows of both classes expected`,
    };
  }
  const { features } = config;
  const all = await sampleRows(db, { features, rows, sampleRows: limits.sampleRows });
  const minRows = Math.max(1, Math.ceil(limits.minCoverage * all.rows));
  const evidence: FeatureEvidence[] = [];
  for (const feature of features) evidence.push(await readEvidence(db, { feature, all, minRows }));
  return judge({ evidence, all, limits, threshold });
}

function judge(input: {
  evidence: readonly FeatureEvidence[];
  all: Counts;
  limits: Limits;
  threshold: Finding['threshold'];
}): Finding {
  const { evidence, all, limits, threshold } = input;
  const ranking = judgeRanking(input);
  const parts = evidence.flatMap((feature) => feature.parts);
  const provenZ = -normalQuantile(limits.significance / Math.max(1, parts.length));
  const proven = strongest(parts.filter((part) => givesAway(part, { all, limits, z: provenZ })));
  const suspected = strongest(parts.filter((part) => givesAway(part, { all, limits, z: WARNING_Z }))).filter(
    ({ feature }) => !proven.some((part) => part.feature === feature),
  );
  const numbers: Finding['numbers'] = { ...ranking.numbers, parts: parts.length };
  for (const part of [...proven, ...suspected]) {
    numbers[`rate.${part.feature}`] = part.positives / part.rows;
    numbers[`rows.${part.feature}`] = part.rows;
  }
  const overall = `${ratio(all.positives / all.rows)} overall`;
  const tell = (found: readonly Part[]): string[] =>
    found
      .filter(({ feature }) => !ranking.told.has(feature))
      .slice(0, TOLD)
      .map((part) => `${told(part, all)}, ${overall}`);
  const blocking = [...ranking.leaking, ...tell(proven)];
  if (blocking.length > 0) {
    const message = `${blocking.join('; ')}: it was most likely written after the label and will not be known when ranking. Take it out of the features, or take the value as it was before the impression`;
    return { status: 'block', numbers, threshold, message };
  }
  const doubts = [...ranking.doubts, ...tell(suspected)];
  if (doubts.length > 0) {
    const message = `${ranking.passed}; ${doubts.join('; ')}: too few rows to be sure. Look at whether it is written after the label`;
    return { status: 'warn', numbers, threshold, message };
  }
  const message = `${ranking.passed}; none of ${whole(parts.length)} parts of the features' values makes the label nearly certain`;
  if (ranking.unjudged.length === 0) return { status: 'pass', numbers, threshold, message };
  const named = ranking.unjudged.map((name) => `"${name}"`).join(', ');
  return {
    status: 'warn',
    numbers,
    threshold,
    message: `${message}; ${named} can not be judged by value: fewer than ${whole(limits.minSupport)} rows have one, or only rows of one class`,
  };
}

interface Ranking {
  leaking: string[];
  doubts: string[];
  /** Names of the features of both. */
  told: Set<string>;
  unjudged: string[];
  passed: string;
  numbers: Finding['numbers'];
}

/** By AUC: how well each feature ranks the label by its value, and by being missing. */
function judgeRanking(input: { evidence: readonly FeatureEvidence[]; all: Counts; limits: Limits }): Ranking {
  const { evidence, all, limits } = input;
  const found = evidence.flatMap((feature) => aucsOf(feature, { all, limits }));
  const highest = found.reduce((best, next) => (next.auc > best.auc ? next : best));
  const z = -normalQuantile(limits.significance / found.length);
  const high = found.filter(({ auc }) => !(auc <= limits.maxSingleFeatureAuc));
  const numbers: Finding['numbers'] = { highestAuc: highest.auc, highestFeature: highest.name };
  for (const { name, auc } of high) numbers[`auc.${name}`] = Math.max(auc, Number(numbers[`auc.${name}`] ?? 0));
  const isProven = ({ auc, of }: FoundAuc): boolean => {
    const error = aucStandardError({
      auc: limits.minAucBound,
      positives: of.positives,
      negatives: of.rows - of.positives,
    });
    return !(auc - z * error <= limits.minAucBound);
  };
  const atMost = `at most ${ratio(limits.maxSingleFeatureAuc)} expected`;
  const say = ({ name, auc, what }: FoundAuc): string =>
    `"${name}" alone ranks the label with AUC ${ratio(auc)} by ${what}, ${atMost}`;
  const unjudged = evidence.filter((feature) => !isJudged(feature, limits)).map(({ name }) => name);
  return {
    leaking: high.filter(isProven).map(say),
    doubts: high.filter((auc) => !isProven(auc)).map(say),
    told: new Set(high.map(({ name }) => name)),
    unjudged,
    passed: `the feature that tells most is "${highest.name}" with AUC ${ratio(highest.auc)} by ${highest.what}, ${atMost}`,
    numbers: { ...numbers, unjudged: unjudged.length },
  };
}

interface FoundAuc {
  name: string;
  what: string;
  auc: number;
  of: Counts;
}

function aucsOf(feature: FeatureEvidence, { all, limits }: { all: Counts; limits: Limits }): FoundAuc[] {
  const { name, kind, valueAuc, missingAuc, present } = feature;
  const missing = { name, what: 'being missing', auc: Math.max(missingAuc, 1 - missingAuc), of: all };
  if (!isJudged(feature, limits)) return [missing];
  // The rate of a category in other rows can not honestly rank backwards.
  const auc = kind === 'numeric' ? Math.max(valueAuc, 1 - valueAuc) : valueAuc;
  return [missing, { name, what: 'its value', auc, of: present }];
}

function isJudged({ present, valueAuc }: FeatureEvidence, { minSupport }: Limits): boolean {
  return present.rows >= minSupport && Number.isFinite(valueAuc);
}

/**
 * The label is nearly certain in this part, with confidence `z`: its other class has at most the configured share of what
 * it has overall. Both classes are measured against their overall share, since a part that is hardly ever clicked is
 * nothing odd where hardly anything is.
 */
function givesAway(part: Part, { all, limits, z }: { all: Counts; limits: Limits; z: number }): boolean {
  const { lower, upper } = wilsonInterval({ successes: part.positives, n: part.rows, z });
  const rate = all.positives / all.rows;
  const nearlyOne = 1 - lower <= limits.maxNegativeRatio * (1 - rate) && lower - rate >= limits.minContrast;
  const nearlyZero = upper <= limits.maxPositiveRatio * rate && rate - upper >= limits.minContrast;
  return nearlyOne || nearlyZero;
}

/** The part with the most rows of each feature, most rows first. */
function strongest(parts: readonly Part[]): Part[] {
  const best = new Map<string, Part>();
  for (const part of parts) {
    if (part.rows > (best.get(part.feature)?.rows ?? 0)) best.set(part.feature, part);
  }
  return [...best.values()].sort((a, b) => b.rows - a.rows);
}

function told(part: Part, all: Counts): string {
  const share = ratio(part.rows / all.rows);
  return `"${part.feature}" gives the label away where it is ${part.where}: ${ratio(part.positives / part.rows)} of ${whole(part.rows)} rows (${share} of all) are positive`;
}
