import { z } from 'zod';
import type { Duck } from '../duckdb.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import type { CheckContext, Finding } from './check.ts';
import { moment, whole } from './wording.ts';

type PartName = keyof SnapshotManifest['files'];

/** Parts that must have nothing in common: what tests a model never trains it. */
const APART: readonly [PartName, PartName][] = [
  ['train', 'holdout'],
  ['replay', 'holdout'],
  ['historical', 'train'],
  ['historical', 'replay'],
];

const int = z.number().int();

/**
 * What tests a model is not in what trains it: train, replay, holdout and the historical holdout share no impression, no
 * user, item and time, and no request, and the requests of the holdout begin after those of train.
 */
export async function checkLeakageOverlap({ manifest, db }: CheckContext): Promise<Finding> {
  const exists = (part: PartName): boolean => manifest.files[part].length > 0;
  const numbers: Finding['numbers'] = {};
  const faults: string[] = [];
  for (const [one, other] of APART) {
    if (!exists(one) || !exists(other)) continue;
    const shared = await sharedRows(db, one, other);
    for (const [what, rows] of Object.entries(shared)) numbers[`${one}.${other}.${what}`] = rows;
    const told = [
      [shared.impressions, 'impression'],
      [shared.keys, 'user, item and time'],
      [shared.requests, 'request'],
    ] as const;
    const found = told.filter(([rows]) => rows > 0).map(([rows, what]) => `the ${what} of ${whole(rows)} rows`);
    if (found.length > 0) faults.push(`${one} and ${other} share ${found.join(', ')} of ${other}`);
  }
  if (exists('train') && exists('holdout')) {
    const { early, trainEndsMs } = await earlyHoldout(db);
    numbers['holdoutBeforeTrainEnds'] = early;
    if (early > 0) {
      faults.push(
        `${whole(early)} rows of the holdout belong to requests that do not begin after the last of train (${moment(trainEndsMs)})`,
      );
    }
  }
  if (faults.length > 0) {
    const message = `${faults.join('; ')}: none expected, or the model would be tested on what it has seen. Take the snapshot again; if it stays, the source gives one impression or request several ids`;
    return { status: 'block', numbers, threshold: {}, message };
  }
  const message =
    Object.keys(numbers).length === 0
      ? 'there are no two parts that could overlap'
      : 'train and replay share no impression, no user, item and time, and no request with what tests the model; the holdout is later than train';
  return { status: 'pass', numbers, threshold: {}, message };
}

/** Rows of `other` whose impression, key or request is in `one` too. */
function sharedRows(
  db: Duck,
  one: PartName,
  other: PartName,
): Promise<{ impressions: number; keys: number; requests: number }> {
  const shared = (columns: string): string => `(SELECT count(*) FROM ${other} SEMI JOIN ${one} USING (${columns}))`;
  return db.row(
    `SELECT ${shared('impression_id')} AS impressions, ${shared('user_id, item_id, event_time_ms')} AS keys, ${shared('request_id')} AS requests`,
    z.object({ impressions: int, keys: int, requests: int }),
  );
}

/** Rows of the holdout whose request begins no later than the last request of train does. */
function earlyHoldout(db: Duck): Promise<{ early: number; trainEndsMs: number }> {
  const begins = (part: string): string =>
    `SELECT min(event_time_ms) AS begin_ms, count(*) AS rows FROM ${part} GROUP BY request_id`;
  return db.row(
    `WITH last AS (SELECT max(begin_ms) AS train_ms FROM (${begins('train')}))
     SELECT CAST(coalesce(sum(rows) FILTER (begin_ms <= train_ms), 0) AS BIGINT) AS early, max(train_ms) AS trainEndsMs
     FROM (${begins('holdout')}) CROSS JOIN last`,
    z.object({ early: int, trainEndsMs: int }),
  );
}
