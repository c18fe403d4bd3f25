import { NO_TRAFFIC, type ArmSums } from '../policy/health.ts';
import { onlyRow, type Queryable } from './database.ts';
import { NO_SHADOW_SUMS, type ShadowSums } from './shadow-sums.ts';
import { INPUT_ORDER_VERSION } from './types.ts';

/** How old a bucket may be to still take feedback, in operating time. Later feedback is only logged. */
export const HEALTH_RETENTION_MS = 2 * 3_600_000;

export type Arm = 'stable' | 'canary' | 'holdback' | 'shadow' | 'exploration';

/** What one boot of one process counted for one variant in one bucket of time: absolute values, not increments. */
export interface HealthSumRow extends ArmSums {
  line: string;
  processId: string;
  boot: string;
  /** Start of the bucket, operating time, Unix milliseconds. */
  bucketAtMs: number;
  version: number;
  arm: Arm;
  /** Of the route that the requests were assigned by. */
  epoch: number;
  /** Counts by the upper bounds of the latency histogram. */
  latencyBuckets: readonly number[];
  /** Shadow only: shadow minus stable score summed over impressions, stable's latency over the same requests, copies given up. */
  scoreDifferenceSum: number;
  stableLatencyMsSum: number;
  dropped: number;
  /** Of the arm `shadow`, unless a build wrote it that did not count these. */
  shadow?: ShadowSums;
}

/** Writes rows in one statement. A row with the same key is replaced, so writing one twice changes nothing. */
export async function writeHealthSums(db: Queryable, rows: readonly HealthSumRow[]): Promise<void> {
  if (rows.length === 0) return;
  await db.query(
    `insert into health_sums as h (line, process_id, boot, bucket_at, version, arm, epoch, requests, errors, impressions,
       clicks, score_sum, log_loss_sum, log_loss_square_sum, latency_ms_sum, dwells, dwell_sum, dwell_square_sum,
       latency_buckets, score_difference_sum,
       stable_latency_ms_sum, dropped, copies, not_numbers, score_difference_square_sum, rankings, overlap_sum, tau_sum,
       tau_square_sum, score_bins, stable_score_bins)
     select line, "processId", boot, to_timestamp("bucketAtMs" / 1000), version, arm, epoch, requests, errors, impressions,
       clicks, "scoreSum", "logLossSum", "logLossSquareSum", "latencyMsSum", dwells, "dwellSum", "dwellSquareSum",
       "latencyBuckets", "scoreDifferenceSum",
       "stableLatencyMsSum", dropped, copies, "notNumbers", "scoreDifferenceSquareSum", rankings, "overlapSum", "tauSum",
       "tauSquareSum", "scoreBins", "stableScoreBins"
     from jsonb_to_recordset($1) as row (line text, "processId" text, boot text, "bucketAtMs" float8, version int,
       arm text, epoch bigint, requests bigint, errors bigint, impressions bigint, clicks bigint, "scoreSum" float8,
       "logLossSum" float8, "logLossSquareSum" float8, "latencyMsSum" float8, dwells bigint, "dwellSum" float8,
       "dwellSquareSum" float8, "latencyBuckets" bigint[],
       "scoreDifferenceSum" float8, "stableLatencyMsSum" float8, dropped bigint, copies bigint,
       "notNumbers" bigint, "scoreDifferenceSquareSum" float8, rankings bigint, "overlapSum" float8, "tauSum" float8,
       "tauSquareSum" float8, "scoreBins" bigint[], "stableScoreBins" bigint[])
     on conflict (line, process_id, boot, bucket_at, version, arm, epoch) do update set
       requests = excluded.requests, errors = excluded.errors, impressions = excluded.impressions,
       clicks = excluded.clicks, score_sum = excluded.score_sum, log_loss_sum = excluded.log_loss_sum,
       log_loss_square_sum = excluded.log_loss_square_sum, latency_ms_sum = excluded.latency_ms_sum,
       dwells = excluded.dwells, dwell_sum = excluded.dwell_sum, dwell_square_sum = excluded.dwell_square_sum,
       latency_buckets = excluded.latency_buckets, score_difference_sum = excluded.score_difference_sum,
       stable_latency_ms_sum = excluded.stable_latency_ms_sum, dropped = excluded.dropped, copies = excluded.copies,
       not_numbers = excluded.not_numbers, score_difference_square_sum = excluded.score_difference_square_sum,
       rankings = excluded.rankings, overlap_sum = excluded.overlap_sum, tau_sum = excluded.tau_sum,
       tau_square_sum = excluded.tau_square_sum, score_bins = excluded.score_bins,
       stable_score_bins = excluded.stable_score_bins`,
    [JSON.stringify(rows.map(columnsOf), keepNaN)],
  );
}

/** Of both sides of a comparison. The input's order, which answers where a version fails, is on neither. */
export const comparedArms = (candidate: `$${number}`): string => `
  (version = ${candidate} and arm in ('canary', 'stable')
    or version not in (${candidate}, ${String(INPUT_ORDER_VERSION)}) and arm in ('stable', 'holdback'))`;

export interface ArmRange {
  line: string;
  /** The candidate: as a canary, or as the stable that is watched after its promotion. */
  version: number;
  /** Only requests routed under this epoch (the step's) or a later one. */
  sinceEpoch: number;
  /** Only buckets that lie wholly in [fromMs, toMs), operating time, Unix milliseconds. */
  fromMs: number;
  toMs: number;
  bucketMs: number;
}

/**
 * The sums of a candidate (its arms `canary` and `stable`) and of what it is compared with at the same time (the arms
 * `stable` and `holdback` of another version; explored traffic belongs to neither), over all processes. Zeros where nothing was counted, NaN where something that was counted is NaN.
 */
export async function readArmSums(db: Queryable, range: ArmRange): Promise<{ canary: ArmSums; stable: ArmSums }> {
  const { line, version, sinceEpoch, fromMs, toMs, bucketMs } = range;
  const { rows } = await db.query<ArmSums & { isCanary: boolean }>(
    `select version = $2 as "isCanary", sum(requests)::float8 as requests, sum(errors)::float8 as errors,
       sum(impressions)::float8 as impressions, sum(clicks)::float8 as clicks, sum(score_sum) as "scoreSum",
       sum(log_loss_sum) as "logLossSum", sum(log_loss_square_sum) as "logLossSquareSum",
       sum(latency_ms_sum) as "latencyMsSum", sum(dwells)::float8 as dwells, sum(dwell_sum) as "dwellSum",
       sum(dwell_square_sum) as "dwellSquareSum"
     from health_sums
     where line = $1 and epoch >= $3 and bucket_at >= to_timestamp($4::float8 / 1000)
       and bucket_at <= to_timestamp(($5::float8 - $6::float8) / 1000)
       and ${comparedArms('$2')}
     group by 1`,
    [line, version, sinceEpoch, fromMs, toMs, bucketMs],
  );
  const sums = (canary: boolean): ArmSums => {
    const row = rows.find(({ isCanary }) => isCanary === canary);
    if (row === undefined) return { ...NO_TRAFFIC };
    const { isCanary: _, ...arm } = row;
    return arm;
  };
  return { canary: sums(true), stable: sums(false) };
}

/**
 * The sums of a stable version (its arms `stable` and `holdback`) over the buckets that begin in [fromMs, toMs), operating
 * time, Unix milliseconds, over all processes. Zeros where nothing was counted, NaN where something that was is NaN.
 */
export async function readStableSums(
  db: Queryable,
  { line, version, fromMs, toMs }: { line: string; version: number; fromMs: number; toMs: number },
): Promise<ArmSums> {
  const { rows } = await db.query<ArmSums>(
    `select coalesce(sum(requests), 0)::float8 as requests, coalesce(sum(errors), 0)::float8 as errors,
       coalesce(sum(impressions), 0)::float8 as impressions, coalesce(sum(clicks), 0)::float8 as clicks,
       coalesce(sum(score_sum), 0) as "scoreSum", coalesce(sum(log_loss_sum), 0) as "logLossSum",
       coalesce(sum(log_loss_square_sum), 0) as "logLossSquareSum", coalesce(sum(latency_ms_sum), 0) as "latencyMsSum",
       coalesce(sum(dwells), 0)::float8 as dwells, coalesce(sum(dwell_sum), 0) as "dwellSum",
       coalesce(sum(dwell_square_sum), 0) as "dwellSquareSum"
     from health_sums
     where line = $1 and version = $2 and arm in ('stable', 'holdback')
       and bucket_at >= to_timestamp($3::float8 / 1000) and bucket_at < to_timestamp($4::float8 / 1000)`,
    [line, version, fromMs, toMs],
  );
  return onlyRow(rows);
}

/** Impressions that users saw, in the buckets that begin in [fromMs, toMs), operating time, Unix milliseconds. */
export async function countImpressions(
  db: Queryable,
  { line, fromMs, toMs }: { line: string; fromMs: number; toMs: number },
): Promise<number> {
  const { rows } = await db.query<{ impressions: number }>(
    `select coalesce(sum(impressions), 0)::float8 as impressions from health_sums
     where line = $1 and arm <> 'shadow'
       and bucket_at >= to_timestamp($2::float8 / 1000) and bucket_at < to_timestamp($3::float8 / 1000)`,
    [line, fromMs, toMs],
  );
  return onlyRow(rows).impressions;
}

function columnsOf({ shadow = NO_SHADOW_SUMS, ...row }: HealthSumRow): Record<string, unknown> {
  return { ...row, ...shadow };
}

/** JSON has no NaN and would write null; Postgres reads it from the text. A NaN must reach the check that refuses it. */
function keepNaN(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
