import { z } from 'zod';
import type { Feature, LineConfig } from '../config/schema.ts';
import type { Duck } from './duckdb.ts';
import { joinOf } from './snapshot-joins.ts';
import type { FileRef, SnapshotManifest } from './snapshot-manifest.ts';
import type { ParentSnapshot, TaintedWindow } from './snapshot-times.ts';

type Historical = NonNullable<SnapshotManifest['historical']>;

/** The parent's fixed set, or why it can not be used and another one is to be frozen as soon as there are enough rows. */
export type HistoricalPlan =
  | { kind: 'carry'; historical: Historical; files: FileRef[] }
  | { kind: 'freeze'; because: Historical['because'] }
  | { kind: 'off' };

/** Decides whether the parent's historical holdout is carried on: forgetting is measured on the same rows for ever. */
export function planHistorical(input: {
  config: LineConfig;
  parent: ParentSnapshot | null;
  taintedWindows: readonly TaintedWindow[];
}): HistoricalPlan {
  const { features, snapshot } = input.config;
  if (snapshot.historicalRows === 0) return { kind: 'off' };
  const historical = input.parent?.historical ?? null;
  if (input.parent === null || historical === null) return { kind: 'freeze', because: 'first' };
  // Fewer requests are reserved than were: some of its rows would train.
  if (snapshot.historicalShare < historical.share) return { kind: 'freeze', because: 'shareShrank' };
  const has = new Set(historical.features.map((feature) => JSON.stringify(feature)));
  if (!features.map(identity).every((feature) => has.has(JSON.stringify(feature)))) {
    return { kind: 'freeze', because: 'featuresChanged' };
  }
  const tainted = input.taintedWindows.some(
    ({ fromMs, toMs }) => historical.toMs > fromMs && historical.fromMs <= toMs,
  );
  if (tainted) return { kind: 'freeze', because: 'tainted' };
  return { kind: 'carry', historical, files: input.parent.files.historical };
}

/** What the manifest says of the fixed set; null while there is none. Reads `snapshot_rows`. */
export async function describeHistorical(
  db: Duck,
  input: { plan: HistoricalPlan; config: LineConfig; cycleId: string; eventNowMs: number },
): Promise<SnapshotManifest['historical']> {
  const { plan, config, cycleId, eventNowMs } = input;
  if (plan.kind === 'carry') return plan.historical;
  if (plan.kind === 'off') return null;
  const { fromMs, toMs } = await db.row(
    `SELECT min(event_time_ms) AS fromMs, max(event_time_ms) AS toMs FROM snapshot_rows WHERE "#file" = 'historical'`,
    z.object({ fromMs: z.number().nullable(), toMs: z.number().nullable() }),
  );
  if (fromMs === null || toMs === null) return null;
  return {
    frozenAtMs: eventNowMs,
    frozenBy: cycleId,
    because: plan.because,
    fromMs,
    toMs,
    share: config.snapshot.historicalShare,
    features: config.features.map(identity),
  };
}

function identity(feature: Feature): Historical['features'][number] {
  return { name: feature.name, kind: feature.kind, joined: joinOf(feature) !== null };
}
