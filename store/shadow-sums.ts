import type { ShadowReading } from '../policy/shadow.ts';
import { onlyRow, type Queryable } from './database.ts';

/** What the arm `shadow` sums besides what every arm does. Pairs are the scores of a candidate by shadow and stable. */
export interface ShadowSums {
  /** Requests of which a copy was due, whatever became of it. */
  copies: number;
  /** Copies answered with NaN or infinity; they are not among the errors. */
  notNumbers: number;
  /** Squares of shadow minus stable score, over the pairs. */
  scoreDifferenceSquareSum: number;
  /** Copies of two candidates or more, and the agreement of both rankings at k over them (policy/rank-agreement.ts). */
  rankings: number;
  overlapSum: number;
  tauSum: number;
  tauSquareSum: number;
  /** Scores of the pairs by bin of their log-odds (policy/score-bins.ts). Empty: written by a build that did not count them. */
  scoreBins: readonly number[];
  stableScoreBins: readonly number[];
}

export const NO_SHADOW_SUMS: ShadowSums = {
  copies: 0,
  notNumbers: 0,
  scoreDifferenceSquareSum: 0,
  rankings: 0,
  overlapSum: 0,
  tauSum: 0,
  tauSquareSum: 0,
  scoreBins: [],
  stableScoreBins: [],
};

/**
 * What the copied requests of a shadow showed since `sinceEpoch`, over all processes. A mean of nothing is NaN. One statement,
 * as a flush of a gateway is: what stable answered and what was copied of it are of the same moment.
 *
 * Processes of an older build, which do not count copies or compare rankings, add to the counts, the score difference and the
 * latencies only; `olderRequests` says how much of it is theirs.
 */
export async function readShadowSums(
  db: Queryable,
  { line, version, sinceEpoch }: { line: string; version: number; sinceEpoch: number },
): Promise<ShadowReading> {
  const { rows } = await db.query<ShadowTotals>(
    `with shadows as (
       select *, bool_or(cardinality(score_bins) = 0) over (partition by process_id, boot) as older
       from health_sums where line = $1 and version = $2 and arm = 'shadow' and epoch >= $3
     ), totals as (
       select coalesce(sum(requests), 0)::float8 as requests, coalesce(sum(errors), 0)::float8 as errors,
         coalesce(sum(not_numbers), 0)::float8 as "notNumbers", coalesce(sum(dropped), 0)::float8 as dropped,
         coalesce(sum(impressions), 0)::float8 as pairs, coalesce(sum(score_difference_sum), 0) as difference,
         coalesce(sum(latency_ms_sum), 0) as latency, coalesce(sum(stable_latency_ms_sum), 0) as "stableLatency",
         coalesce(sum(requests) filter (where older), 0)::float8 as "olderRequests",
         coalesce(sum(impressions) filter (where not older), 0)::float8 as "squaredPairs",
         coalesce(sum(score_difference_sum) filter (where not older), 0) as "squaredDifference",
         coalesce(sum(score_difference_square_sum), 0) as square, coalesce(sum(rankings), 0)::float8 as rankings,
         coalesce(sum(overlap_sum), 0) as overlap, coalesce(sum(tau_sum), 0) as tau,
         coalesce(sum(tau_square_sum), 0) as "tauSquare", coalesce(sum(copies), 0)::float8 as copies,
         coalesce(sum(requests + dropped) filter (where not older), 0)::float8 as settled
       from shadows
     ), bins as (
       select coalesce(array_agg(shadow order by place), '{}') as "scoreBins",
         coalesce(array_agg(stable order by place), '{}') as "stableScoreBins"
       from (
         select place, sum(counted.shadow)::float8 as shadow, sum(counted.stable)::float8 as stable
         from shadows, unnest(score_bins, stable_score_bins) with ordinality as counted (shadow, stable, place)
         group by place
       ) by_place
     ), answers as (
       select coalesce(sum(h.requests - h.errors), 0)::float8 as answered,
         coalesce(sum((h.requests - h.errors) * r.shadow_share), 0)::float8 as due,
         count(distinct (h.process_id, h.boot))::float8 as gateways
       from health_sums h join routes r on r.line = h.line and r.epoch = h.epoch
       where h.line = $1 and h.epoch >= $3 and r.shadow = $2 and h.version = r.stable and h.arm <> 'shadow'
         and not exists (select from shadows s where s.older and s.process_id = h.process_id and s.boot = h.boot)
     )
     select * from totals, bins, answers`,
    [line, version, sinceEpoch],
  );
  return reading(onlyRow(rows));
}

type ShadowTotals = Record<
  | ('requests' | 'errors' | 'notNumbers' | 'dropped' | 'pairs' | 'difference' | 'latency' | 'stableLatency')
  | ('olderRequests' | 'squaredPairs' | 'squaredDifference' | 'square' | 'rankings' | 'overlap' | 'tau' | 'tauSquare')
  | ('copies' | 'settled' | 'answered' | 'due' | 'gateways'),
  number
> &
  Record<'scoreBins' | 'stableScoreBins', number[]>;

function reading(totals: ShadowTotals): ShadowReading {
  const { requests, errors, notNumbers, dropped, rankings, copies, answered } = totals;
  return {
    ...{ requests, errors, notNumbers, dropped, olderRequests: totals.olderRequests },
    scoreMeanDifference: totals.difference / totals.pairs,
    scoreDifferenceDeviation: deviation(totals.squaredPairs, totals.squaredDifference, totals.square),
    latencyMsMean: totals.latency / requests,
    stableLatencyMsMean: totals.stableLatency / requests,
    scoreBins: totals.scoreBins,
    stableScoreBins: totals.stableScoreBins,
    rankings,
    overlapMean: totals.overlap / rankings,
    tauMean: totals.tau / rankings,
    tauDeviation: deviation(rankings, totals.tau, totals.tauSquare),
    mirror: {
      answered,
      share: totals.due / answered,
      copies,
      unsettled: copies - totals.settled,
      gateways: totals.gateways,
    },
  };
}

/** Sample standard deviation of `n` values from their sums; 0 of one value, NaN of none or of what is not finite. */
function deviation(n: number, sum: number, squareSum: number): number {
  const squares = squareSum - (sum * sum) / n;
  // Rounding may leave a little less than nothing.
  return Math.sqrt((squares < 0 ? 0 : squares) / Math.max(1, n - 1));
}
