import { NO_TRAFFIC } from '../policy/health.ts';
import type { HealthLook, LookSums } from '../policy/sequential/health-metrics.ts';
import type { Queryable } from './database.ts';
import { comparedArms, type ArmRange } from './health-sums.ts';

/** Sums by bucket and arm. `$2` is the index (from 0) of the first latency bucket that counts as slow. */
const SUMS = `sum(requests)::float8 as requests, sum(errors)::float8 as errors, sum(impressions)::float8 as impressions,
  sum(clicks)::float8 as clicks, sum(score_sum) as "scoreSum", sum(log_loss_sum) as "logLossSum",
  sum(log_loss_square_sum) as "logLossSquareSum", sum(latency_ms_sum) as "latencyMsSum",
  sum(dwells)::float8 as dwells, sum(dwell_sum) as "dwellSum", sum(dwell_square_sum) as "dwellSquareSum",
  sum((select coalesce(sum(counted), 0) from unnest(latency_buckets[$2::int + 1:]) counted))::float8 as slow`;

type Row = LookSums & { atMs: number; isCanary: boolean };

/**
 * Candidate and control (see `readArmSums`) bucket by bucket, over all processes: one look for each bucket
 * that lies wholly in [fromMs, toMs), without a gap; zeros where nothing was counted.
 */
export async function readHealthLooks(
  db: Queryable,
  { line, version, sinceEpoch, fromMs, toMs, bucketMs, slowFrom }: ArmRange & { slowFrom: number },
): Promise<HealthLook[]> {
  const { rows } = await db.query<Row>(
    `select (extract(epoch from bucket_at) * 1000)::float8 as "atMs", version = $3 as "isCanary", ${SUMS}
     from health_sums
     where line = $1 and epoch >= $4 and bucket_at >= to_timestamp($5::float8 / 1000)
       and bucket_at <= to_timestamp(($6::float8 - $7::float8) / 1000)
       and ${comparedArms('$3')}
     group by 1, 2`,
    [line, slowFrom, version, sinceEpoch, fromMs, toMs, bucketMs],
  );
  const first = Math.ceil(fromMs / bucketMs);
  const looks = Array.from({ length: Math.max(0, Math.floor(toMs / bucketMs) - first) }, empty);
  for (const { atMs, isCanary, ...sums } of rows) {
    const look = looks[Math.round(atMs / bucketMs) - first];
    if (look !== undefined) add(isCanary ? look.canary : look.stable, sums);
  }
  return looks;
}

/**
 * What two arms of one version did at the same time: the holdback (in the place of the canary) beside stable, in the buckets
 * of [fromMs, toMs) in which both served it. Runs of neighbouring buckets, oldest first.
 */
export async function readControlHistory(
  db: Queryable,
  { line, fromMs, toMs, bucketMs, slowFrom }: Omit<ArmRange, 'version' | 'sinceEpoch'> & { slowFrom: number },
): Promise<HealthLook[][]> {
  const { rows } = await db.query<Row & { version: number }>(
    `select (extract(epoch from bucket_at) * 1000)::float8 as "atMs", version, arm = 'holdback' as "isCanary", ${SUMS}
     from health_sums
     where line = $1 and arm in ('stable', 'holdback') and bucket_at >= to_timestamp($3::float8 / 1000)
       and bucket_at < to_timestamp($4::float8 / 1000)
       and (bucket_at, version) in (select bucket_at, version from health_sums where line = $1 and arm = 'holdback'
         and bucket_at >= to_timestamp($3::float8 / 1000) and bucket_at < to_timestamp($4::float8 / 1000))
     group by 1, 2, 3 order by 2, 1`,
    [line, slowFrom, fromMs, toMs],
  );
  const runs: HealthLook[][] = [];
  let newest = { atMs: NaN, version: NaN, look: empty() };
  for (const { atMs, version, isCanary, ...sums } of rows) {
    if (newest.atMs !== atMs || newest.version !== version) {
      const follows = newest.version === version && Math.abs(atMs - newest.atMs - bucketMs) < 1;
      if (!follows) runs.push([]);
      newest = { atMs, version, look: empty() };
      runs.at(-1)?.push(newest.look);
    }
    add(isCanary ? newest.look.canary : newest.look.stable, sums);
  }
  const paired = runs.map((looks) => looks.filter(({ canary, stable }) => canary.requests > 0 && stable.requests > 0));
  return paired.filter((looks) => looks.length > 0);
}

/** Counts of stable's requests (arms `stable` and `holdback`) by latency bucket, over the buckets that begin in [fromMs, toMs). */
export async function readStableLatencies(
  db: Queryable,
  { line, fromMs, toMs }: { line: string; fromMs: number; toMs: number },
): Promise<number[]> {
  const { rows } = await db.query<{ counted: number }>(
    `select sum(counted)::float8 as counted
     from health_sums, unnest(latency_buckets) with ordinality as bucket (counted, place)
     where line = $1 and arm in ('stable', 'holdback')
       and bucket_at >= to_timestamp($2::float8 / 1000) and bucket_at < to_timestamp($3::float8 / 1000)
     group by place order by place`,
    [line, fromMs, toMs],
  );
  return rows.map(({ counted }) => counted);
}

function empty(): HealthLook {
  return { canary: noSums(), stable: noSums() };
}

function noSums(): LookSums {
  return { ...NO_TRAFFIC, slow: 0 };
}

function add(total: LookSums, more: LookSums): void {
  for (const field of Object.keys(total) as (keyof LookSums)[]) total[field] += more[field];
}
