import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import { loadFeatureHash, type FeatureHash } from '../../features/feature-id.ts';
import { sqlName } from '../duckdb.ts';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { ratio, whole } from './wording.ts';

const int = z.number().int();

/** A declaration of `expect` that some rows break. */
interface Violation {
  feature: string;
  rule: 'min' | 'max' | 'values' | 'maxMissing';
  rows: number;
  /** Of the rows with a value; for `maxMissing` of all rows. */
  share: number;
  blocks: boolean;
  says: string;
}

/**
 * Values are what the config's `expect` says: within their range, of their enumeration, missing no more often than
 * declared. Counted in every fresh row. Needs no history. A few rows that break a range or an enumeration warn.
 */
export async function checkValues(context: CheckContext): Promise<Finding> {
  const { config, manifest } = context;
  const { maxViolations } = config.checks.values;
  const threshold = { maxViolations };
  const declared = config.features.filter(({ expect }) => expect !== undefined);
  if (declared.length === 0) {
    const message = 'no feature declares what its values may be; "expect" in the config does';
    return { status: 'pass', numbers: { features: 0 }, threshold, message };
  }
  if (freshRows(manifest) === 0) {
    return { status: 'block', numbers: {}, threshold, message: 'there are no fresh rows to look at' };
  }
  const hash = await loadFeatureHash();
  const found: Violation[] = [];
  for (const feature of declared) {
    if (feature.kind === 'numeric') found.push(...(await outOfRange(context, feature)));
    else found.push(...(await outOfEnumeration(context, feature, hash)));
    found.push(...(await tooOftenMissing(context, feature)));
  }
  const numbers: Finding['numbers'] = { features: declared.length };
  for (const { feature, rule, rows, share } of found) {
    numbers[`${rule}.${feature}`] = share;
    numbers[`${rule}Rows.${feature}`] = rows;
  }
  if (found.length === 0) {
    const message = `the values of ${whole(declared.length)} features are what the config declares`;
    return { status: 'pass', numbers, threshold, message };
  }
  const blocks = found.some((violation) => violation.blocks);
  const told = found.filter((violation) => violation.blocks || !blocks).map(({ says }) => says);
  return {
    status: blocks ? 'block' : 'warn',
    numbers,
    threshold,
    message:
      `${told.join('; ')}; at most ${ratio(maxViolations)} of the rows may be outside what "expect" declares` +
      (blocks ? ': the unit, the format or the column changed upstream, or the declaration is out of date' : ''),
  };
}

async function outOfRange(
  { config, db }: CheckContext,
  feature: Extract<Feature, { kind: 'numeric' }>,
): Promise<Violation[]> {
  const { name, expect } = feature;
  const column = sqlName(name);
  const found: Violation[] = [];
  for (const rule of ['min', 'max'] as const) {
    const limit = expect?.[rule];
    if (limit === undefined) continue;
    // Features are stored as FLOAT, so the limit is rounded as they are.
    const beyond = `${column} ${rule === 'min' ? '<' : '>'} CAST(${String(limit)} AS FLOAT)`;
    const { rows, known, extreme } = await db.row(
      `SELECT count(*) FILTER (${beyond}) AS rows, count(${column}) AS known, CAST(${rule}(${column}) AS DOUBLE) AS extreme FROM fresh`,
      z.object({ rows: int, known: int, extreme: z.number().nullable() }),
    );
    if (rows === 0) continue;
    const share = rows / known;
    const says = `${whole(rows)} values of "${name}" (${ratio(share)} of them) are ${rule === 'min' ? 'below' : 'above'} ${String(limit)}, as far as ${String(extreme)}`;
    found.push({ feature: name, rule, rows, share, blocks: share > config.checks.values.maxViolations, says });
  }
  return found;
}

async function outOfEnumeration(
  { config, db }: CheckContext,
  feature: Extract<Feature, { kind: 'categorical' }>,
  hash: FeatureHash,
): Promise<Violation[]> {
  const { name, expect } = feature;
  if (expect?.values === undefined) return [];
  const column = sqlName(name);
  const ids = expect.values.map((value) => String(hash(value)));
  const { rows, known, strangers } = await db.row(
    `SELECT count(*) FILTER (${column} NOT IN (${ids.join(', ')})) AS rows, count(*) AS known,
       count(DISTINCT ${column}) FILTER (${column} NOT IN (${ids.join(', ')})) AS strangers
     FROM fresh WHERE ${column} <> 0`,
    z.object({ rows: int, known: int, strangers: int }),
  );
  if (rows === 0) return [];
  const share = rows / known;
  const says = `${whole(rows)} values of "${name}" (${ratio(share)} of them, ${whole(strangers)} different ones) are none of the ${whole(ids.length)} declared`;
  return [{ feature: name, rule: 'values', rows, share, blocks: share > config.checks.values.maxViolations, says }];
}

async function tooOftenMissing({ db }: CheckContext, { name, kind, expect }: Feature): Promise<Violation[]> {
  const limit = expect?.maxMissing;
  if (limit === undefined) return [];
  const missing = kind === 'categorical' ? `coalesce(${sqlName(name)}, 0) = 0` : `${sqlName(name)} IS NULL`;
  const { rows, all } = await db.row(
    `SELECT count(*) FILTER (${missing}) AS rows, count(*) AS "all" FROM fresh`,
    z.object({ rows: int, all: int }),
  );
  const share = rows / all;
  if (share <= limit) return [];
  const says = `"${name}" is missing in ${ratio(share)} of the rows, at most ${ratio(limit)} declared`;
  return [{ feature: name, rule: 'maxMissing', rows, share, blocks: true, says }];
}
