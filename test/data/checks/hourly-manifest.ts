import { lineConfigSchema, type LineConfigInput } from '../../../config/schema.ts';
import type { CheckContext, Reference } from '../../../data/checks/check.ts';
import { ARRIVAL_AGES_MS, type SnapshotManifest } from '../../../data/snapshot-manifest.ts';
import { openDuckDb } from '../../../data/duckdb.ts';

export const HOUR = 3_600_000;
export const MINUTE = 60_000;
export const SECOND = 1_000;
export type HourRow = SnapshotManifest['source']['hourly'][number];

/** Rows of a feed by hour of the day in UTC: busy at noon, a tenth of it at night, with some noise that repeats for ever. */
export function usualRows(startMs: number): number {
  const hour = Math.floor(startMs / HOUR);
  const phase = 1 + Math.cos(((hour % 24) - 13) * ((2 * Math.PI) / 24));
  return Math.round((100 + 450 * phase) * (1 + 0.08 * Math.sin(hour * 12.9898)));
}

/** A whole hour whose rows arrive five seconds after their event, none later than a minute after the hour. */
export function hourRow(startMs: number, rows = usualRows(startMs), changes: Partial<HourRow> = {}): HourRow {
  return {
    ...{
      startMs,
      rows,
      positives: Math.round(rows / 3),
      mature: true,
      duplicates: Math.round(rows * 0.03),
      beforeEvent: 0,
    },
    ...{ lagP50Ms: 5 * SECOND, lagP95Ms: 20 * SECOND },
    arrivedWithin: ARRIVAL_AGES_MS.map(() => rows),
    ...changes,
  };
}

export interface ManifestShape {
  cutoffMs?: number;
  windowHours?: number;
  historyHours?: number;
  /** The snapshot's time is the cutoff and this. */
  maturityMs?: number;
  counts?: Partial<SnapshotManifest['counts']>;
  /** Changes an hour, counted from the cutoff backwards (0 is the newest mature one); null takes it away. */
  hour?: (back: number, hour: HourRow) => HourRow | null;
}

/** Monday noon. */
export const CUTOFF = Date.UTC(2026, 0, 12, 12);

/** What a snapshot of such a feed says of its hours. */
export function hourlyManifest(shape: ManifestShape = {}): SnapshotManifest {
  const { cutoffMs = CUTOFF, windowHours = 4, historyHours = 5 * 24, maturityMs = 3 * MINUTE } = shape;
  const newest = -Math.floor(maturityMs / HOUR);
  const hourly: HourRow[] = [];
  for (let back = historyHours - 1; back >= newest; back -= 1) {
    const row = hourRow(cutoffMs - (back + 1) * HOUR);
    const hour = shape.hour === undefined ? row : shape.hour(back, row);
    if (hour !== null) hourly.push({ ...hour, mature: back >= 0 });
  }
  const sum = (from: number, to: number): number =>
    hourly
      .filter(({ startMs }) => startMs >= cutoffMs - from * HOUR && startMs < cutoffMs - to * HOUR)
      .reduce((total, { rows }) => total + rows, 0);
  const fresh = sum(windowHours, 0);
  const train = Math.round(fresh * 0.8);
  const none = {
    malformed: 0,
    otherLine: 0,
    notArrived: 0,
    future: 0,
    duplicates: 0,
    immature: 0,
    history: 0,
    tainted: 0,
  };
  return {
    contractVersion: 2,
    ...{ line: 'feed', cycleId: 'feed-1', eventNowMs: cutoffMs + maturityMs, maturityMs },
    label: { delays: null, maturityFrom: 'config', trueCutoffMs: null },
    windowStartMs: cutoffMs - windowHours * HOUR,
    cutoffMs,
    splitMs: cutoffMs - HOUR,
    parentTakenAtMs: null,
    writer: 'DuckDB',
    files: { train: [], holdout: [], replay: [], historical: [], unlabelled: [] },
    historical: null,
    profiles: { fresh: null, unlabelled: null },
    counts: {
      ...{ ...none, read: fresh, reserved: 0, sampledOut: 0, train, holdout: fresh - train, replay: 0 },
      ...{ lateIncluded: 0, corrected: 0, proxyLabelled: 0, positives: Math.round(fresh / 3) },
      ...shape.counts,
    },
    feedback: { read: 0, malformed: 0, orphans: 0 },
    features: [],
    source: {
      ...{ kind: 'lake', location: 'lake', rows: fresh, columns: [], repeats: { byId: 0, byKey: 0 } },
      firstEventMs: cutoffMs - historyHours * HOUR,
      newestEventMs: cutoffMs,
      newestArrivalMs: cutoffMs + maturityMs,
      recent: sum(4, 0),
      recentSeasonBack: sum(28, 24),
      hourly,
    },
  };
}

/** Empty: these checks read the manifest alone. */
const db = await openDuckDb();

/** What a check of the manifest alone gets to see. */
export function contextOf(
  manifest: SnapshotManifest,
  options: { config?: Partial<LineConfigInput>; passed?: SnapshotManifest } = {},
): CheckContext {
  const config = lineConfigSchema.parse({
    line: 'feed',
    features: [{ kind: 'numeric', name: 'length' }],
    ...options.config,
  });
  const { passed } = options;
  const recent: Reference[] =
    passed === undefined
      ? []
      : [
          {
            snapshotIds: ['earlier'],
            fromMs: passed.windowStartMs,
            toMs: passed.cutoffMs,
            manifest: passed,
            report: null,
            profile: NO_ROWS,
          },
        ];
  return {
    ...{ config, manifest, profile: null, unlabelledProfile: null, rescore: null },
    references: { training: null, season: null, earlierSeason: null, week: null, recent },
    db,
  };
}

const NO_ROWS: Reference['profile'] = {
  ...{ formatVersion: 1, hash: '', rows: 0, fromMs: null, toMs: null, columns: {} },
  sample: { capacity: 0, hashes: new BigUint64Array(), numeric: {}, categorical: {} },
};
