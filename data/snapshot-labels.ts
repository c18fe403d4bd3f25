import { z } from 'zod';
import type { LineConfig } from '../config/schema.ts';
import type { Duck } from './duckdb.ts';
import type { SnapshotManifest } from './snapshot-manifest.ts';
import type { SnapshotReach, SnapshotTimes } from './snapshot-times.ts';

const int = z.number().int();

type LabelConfig = LineConfig['label'];
type Delays = NonNullable<SnapshotManifest['label']['delays']>;

/** SQL that is true for feedback of this kind. */
export function feedbackIs({ event, minDwell }: Pick<LabelConfig, 'event' | 'minDwell'>): string {
  return event === 'click' ? `event = 'click'` : `(event = 'dwell' AND value >= ${String(minDwell)})`;
}

/** The age at which labels count as complete in this snapshot, and what it was taken from. */
export interface LabelMaturity {
  maturityMs: number;
  maturityFrom: SnapshotManifest['label']['maturityFrom'];
  delays: SnapshotManifest['label']['delays'];
}

/**
 * Measures how long positive feedback takes to arrive after its impression, on impressions older than `label.maturity`:
 * of younger ones the slow feedback is still under way, and the delays would look shorter than they are. The maturity in
 * force is the delay within which `maturityShare` of it had arrived, at most `label.maturity`.
 *
 * Reads `unique_rows`. Feedback that came before its impression counts as a delay of 0.
 */
export async function measureMaturity(
  db: Duck,
  { label, reach }: { label: LabelConfig; reach: SnapshotReach },
): Promise<LabelMaturity> {
  const delays = await measureDelays(db, { label, reach });
  if (label.maturityFrom === 'config') return { maturityMs: label.maturity, maturityFrom: 'config', delays };
  if (delays === null || delays.count < label.minDelays) {
    return { maturityMs: label.maturity, maturityFrom: 'tooFewDelays', delays };
  }
  return { maturityMs: Math.min(delays.shareMs, label.maturity), maturityFrom: 'measured', delays };
}

async function measureDelays(
  db: Duck,
  { label, reach }: { label: LabelConfig; reach: SnapshotReach },
): Promise<Delays | null> {
  const quantile = (share: number): string => `quantile_disc(delay, ${String(share)})`;
  const measured = await db.row(
    `SELECT count(*) AS count, ${quantile(0.5)} AS p50Ms, ${quantile(0.9)} AS p90Ms, ${quantile(0.95)} AS p95Ms,
       ${quantile(0.99)} AS p99Ms, max(delay) AS maxMs, ${quantile(label.maturityShare)} AS shareMs
     FROM (
       SELECT greatest(0, labelled_at_ms - event_time_ms) AS delay FROM unique_rows
       WHERE labelled_at_ms IS NOT NULL AND event_time_ms > ${String(reach.reachMs)}
         AND event_time_ms <= ${String(reach.eventNowMs - label.maturity)}
     )`,
    z.object({
      count: int,
      p50Ms: int.nullable(),
      p90Ms: int.nullable(),
      p95Ms: int.nullable(),
      p99Ms: int.nullable(),
      maxMs: int.nullable(),
      shareMs: int.nullable(),
    }),
  );
  return measured.count === 0 ? null : (measured as Delays);
}

/**
 * View `labelled_rows`: the unique rows with their label as of this snapshot. Rows up to the true cutoff have the true one,
 * younger ones the proxy where the line declares one.
 */
export async function labelRows(
  db: Duck,
  { label, times }: { label: LabelConfig; times: SnapshotTimes },
): Promise<void> {
  const isTrue = label.proxy === undefined ? 'true' : `event_time_ms <= ${String(times.trueCutoffMs)}`;
  await db.run(`
    CREATE VIEW labelled_rows AS
    SELECT *, CAST(CASE WHEN ${isTrue} THEN labelled_at_ms IS NOT NULL ELSE proxied_at_ms IS NOT NULL END AS TINYINT) AS label, NOT (${isTrue}) AS by_proxy
    FROM unique_rows`);
}
