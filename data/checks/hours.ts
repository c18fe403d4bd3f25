import type { SnapshotManifest } from '../snapshot-manifest.ts';
import { moment } from './wording.ts';

export const HOUR_MS = 3_600_000;

export type HourlyRow = SnapshotManifest['source']['hourly'][number];

/** The source's hours, counted from the cutoff backwards: 0 is the newest mature one, negative ones lie after the cutoff. */
export interface HourTable {
  /** An hour without rows is all nought. */
  at: (back: number) => HourlyRow;
  /** How many hours before the cutoff the source's history reaches, without its first: a log starts in mid-hour, or slowly. */
  known: number;
  /** The newest hour that was over when the snapshot was taken: 0 or less. */
  newest: number;
  /** Hours that lie in the fresh window for the most part, the newest first; at least the newest one. */
  window: number[];
  /** How long before the snapshot an hour ended. */
  ageMs: (back: number) => number;
}

export function hourTable(manifest: SnapshotManifest): HourTable {
  const { cutoffMs, windowStartMs, eventNowMs, source } = manifest;
  const rows = new Map(source.hourly.map((hour) => [hour.startMs, hour]));
  const startOf = (back: number): number => cutoffMs - (back + 1) * HOUR_MS;
  const sinceFirst = source.firstEventMs === null ? 0 : cutoffMs - source.firstEventMs;
  const known = Math.max(0, Math.floor(sinceFirst / HOUR_MS) - 1);
  const inWindow = Math.min(known, Math.max(1, Math.round((cutoffMs - windowStartMs) / HOUR_MS)));
  return {
    at: (back) => rows.get(startOf(back)) ?? emptyHour(startOf(back)),
    known,
    newest: -Math.floor((eventNowMs - cutoffMs) / HOUR_MS),
    window: Array.from({ length: inWindow }, (_, back) => back),
    ageMs: (back) => eventNowMs - startOf(back) - HOUR_MS,
  };
}

function emptyHour(startMs: number): HourlyRow {
  return {
    ...{ startMs, rows: 0, positives: 0, mature: true, duplicates: 0, beforeEvent: 0, lagP50Ms: null, lagP95Ms: null },
    arrivedWithin: [0, 0, 0, 0, 0, 0, 0],
  };
}

/** `2022-04-28 15:30 to 16:30 UTC` */
export function hourName(startMs: number): string {
  return `${moment(startMs).replace(' UTC', '')} to ${moment(startMs + HOUR_MS).slice(11)}`;
}
