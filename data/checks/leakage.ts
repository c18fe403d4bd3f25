import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import { sqlName } from '../duckdb.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { ratio, whole } from './wording.ts';

const int = z.number().int();
const sums = z.object({ positives: int, negatives: int, concordant: z.number().nullable() });

/**
 * No single feature ranks the label nearly by itself, by its value (numeric features) or by being missing (all): such a
 * feature was most likely written after the label. AUC is symmetric here: a feature that ranks backwards tells as much.
 */
export async function checkLeakage({ config, manifest, db }: CheckContext): Promise<Finding> {
  const { maxSingleFeatureAuc, minSupport } = config.checks.leakage;
  const threshold = { maxSingleFeatureAuc, minSupport };
  const rows = freshRows(manifest);
  const { positives } = manifest.counts;
  if (rows < minSupport || positives === 0 || positives === rows) {
    return {
      status: 'block',
      numbers: { rows, positives },
      threshold,
      message: `${whole(rows)} fresh rows, ${whole(positives)} of them positive, can not show whether a feature leaks the label; at least ${whole(minSupport)} rows of both classes expected`,
    };
  }
  const found: { name: string; what: string; auc: number }[] = [];
  const unjudged: string[] = [];
  for (const feature of config.features) {
    found.push({ name: feature.name, what: 'being missing', auc: symmetric(await missingnessAuc(db, feature)) });
    if (feature.kind !== 'numeric') continue;
    const byValue = await valueAuc(db, feature.name);
    if (byValue.support >= minSupport && Number.isFinite(byValue.auc)) {
      found.push({ name: feature.name, what: 'its value', auc: symmetric(byValue.auc) });
    } else {
      unjudged.push(feature.name);
    }
  }
  const leaking = found.filter(({ auc }) => !(auc <= maxSingleFeatureAuc));
  const highest = found.reduce((best, next) => (next.auc > best.auc ? next : best));
  const numbers: Finding['numbers'] = {
    highestAuc: highest.auc,
    highestFeature: highest.name,
    unjudged: unjudged.length,
  };
  for (const { name, auc } of leaking) numbers[`auc.${name}`] = Math.max(auc, Number(numbers[`auc.${name}`] ?? 0));
  if (leaking.length > 0) {
    const told = leaking.map(
      ({ name, what, auc }) => `"${name}" alone ranks the label with AUC ${ratio(auc)} by ${what}`,
    );
    return {
      status: 'block',
      numbers,
      threshold,
      message: `${told.join('; ')}, at most ${ratio(maxSingleFeatureAuc)} expected: it was most likely written after the label and will not be known when ranking`,
    };
  }
  const passed = `the feature that tells most is "${highest.name}" with AUC ${ratio(highest.auc)} by ${highest.what}, at most ${ratio(maxSingleFeatureAuc)} expected`;
  if (unjudged.length === 0) return { status: 'pass', numbers, threshold, message: passed };
  const named = unjudged.map((name) => `"${name}"`).join(', ');
  return {
    status: 'warn',
    numbers,
    threshold,
    message: `${passed}; ${named} can not be judged by value: fewer than ${whole(minSupport)} rows have one, or only rows of one class`,
  };
}

/** AUC of a value over the rows that have one: the Mann-Whitney statistic, ties counted half. */
async function valueAuc(db: CheckContext['db'], name: string): Promise<{ auc: number; support: number }> {
  const { positives, negatives, concordant } = await db.row(
    `WITH values AS (
       SELECT ${sqlName(name)} AS value, count(*) FILTER (label = 1) AS pos, count(*) FILTER (label = 0) AS neg
       FROM fresh WHERE ${sqlName(name)} IS NOT NULL GROUP BY value
     ), below AS (
       SELECT pos, neg, CAST(sum(neg) OVER (ORDER BY value) - neg AS DOUBLE) AS lower FROM values
     )
     SELECT coalesce(sum(pos), 0) AS positives, coalesce(sum(neg), 0) AS negatives, sum(pos * (lower + neg / 2.0)) AS concordant FROM below`,
    sums,
  );
  return { auc: (concordant ?? Number.NaN) / (positives * negatives), support: positives + negatives };
}

/** AUC of "the value is missing": with two values it is (1 + missing share of positives - missing share of negatives) / 2. */
async function missingnessAuc(db: CheckContext['db'], feature: Feature): Promise<number> {
  const missing = feature.kind === 'categorical' ? `${sqlName(feature.name)} = 0` : `${sqlName(feature.name)} IS NULL`;
  const { difference } = await db.row(
    `SELECT avg(CAST(${missing} AS DOUBLE)) FILTER (label = 1) - avg(CAST(${missing} AS DOUBLE)) FILTER (label = 0) AS difference FROM fresh`,
    z.object({ difference: z.number().nullable() }),
  );
  return (1 + (difference ?? Number.NaN)) / 2;
}

function symmetric(auc: number): number {
  return Math.max(auc, 1 - auc);
}
