import { mergeProfiles, type Profile } from '../profile/index.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import type { CheckReport, Reference, References } from './check.ts';

/** What is needed of an earlier snapshot of the line to choose what to compare with. Times are Unix ms of event time. */
export interface EarlierSnapshot {
  snapshotId: string;
  windowStartMs: number;
  cutoffMs: number;
}

type Window = Pick<EarlierSnapshot, 'windowStartMs' | 'cutoffMs'>;

export interface ChosenReferences {
  training: string | null;
  /** Together, in the order given. */
  season: string[];
  earlierSeason: string[];
  week: string[];
  recent: string[];
}

/** An earlier snapshot with what comparisons read of it. */
export interface LoadedSnapshot {
  snapshotId: string;
  manifest: SnapshotManifest;
  profile: Profile;
  report: CheckReport | null;
}

/** The snapshots as one reference; null when there are none. */
export function referenceTo(snapshots: readonly LoadedSnapshot[]): Reference | null {
  const newest = snapshots.toSorted((a, b) => b.manifest.cutoffMs - a.manifest.cutoffMs)[0];
  if (newest === undefined) return null;
  return {
    snapshotIds: snapshots.map(({ snapshotId }) => snapshotId),
    fromMs: Math.min(...snapshots.map(({ manifest }) => freshFromMs(manifest))),
    toMs: newest.manifest.cutoffMs,
    profile: mergeProfiles(snapshots.map(({ profile }) => profile)),
    manifest: newest.manifest,
    report: newest.report,
  };
}

/** Loads what was chosen. */
export async function loadReferences(
  chosen: ChosenReferences,
  load: (snapshotIds: readonly string[]) => Promise<Reference | null>,
): Promise<References> {
  const recent = await Promise.all(chosen.recent.map((id) => load([id])));
  return {
    training: chosen.training === null ? null : await load([chosen.training]),
    season: await load(chosen.season),
    earlierSeason: await load(chosen.earlierSeason),
    week: await load(chosen.week),
    recent: recent.filter((reference) => reference !== null),
  };
}

/** Where a snapshot's fresh rows really begin: the window of a cold start is longer than its log. */
export function freshFromMs({ windowStartMs, source }: SnapshotManifest): number {
  return Math.max(windowStartMs, source.firstEventMs ?? windowStartMs);
}

const WEEK_MS = 7 * 86_400_000;
const RECENT = 6;

/**
 * Chooses what a snapshot's fresh rows are compared with among earlier snapshots that passed their checks: those whose
 * fresh windows cover the same phase one season, two seasons and one week back, what the champion was trained on, and the newest ones
 * for trends. A snapshot covers a window when at least half of the shorter of the two lies in both.
 *
 * @param input.earlier newest first; `input.trainedOn` need not be among them.
 */
export function chooseReferences(input: {
  window: Window;
  seasonMs: number;
  earlier: readonly EarlierSnapshot[];
  trainedOn: string | null;
}): ChosenReferences {
  const { window, seasonMs, earlier, trainedOn } = input;
  const back = (ms: number): string[] => {
    const then = { windowStartMs: window.windowStartMs - ms, cutoffMs: window.cutoffMs - ms };
    return covering(then, earlier);
  };
  const season = back(seasonMs);
  return {
    training: trainedOn,
    season,
    // A long snapshot may cover both: then nothing is known of what happened between them.
    earlierSeason: back(2 * seasonMs).filter((id) => !season.includes(id)),
    week: seasonMs === WEEK_MS ? [] : back(WEEK_MS),
    recent: earlier.slice(0, RECENT).map(({ snapshotId }) => snapshotId),
  };
}

/**
 * The snapshots that cover a window, each row at most once: after cycles that were rejected windows lie inside each other.
 * Those that fit best come first, by what they share with the window over what both cover.
 */
function covering(window: Window, earlier: readonly EarlierSnapshot[]): string[] {
  const fitting = earlier
    .filter((snapshot) => shared(window, snapshot) >= Math.min(length(window), length(snapshot)) / 2)
    .filter((snapshot) => shared(window, snapshot) > 0)
    .toSorted((a, b) => fit(window, b) - fit(window, a));
  const chosen: EarlierSnapshot[] = [];
  for (const snapshot of fitting) {
    if (chosen.every((other) => shared(other, snapshot) === 0)) chosen.push(snapshot);
  }
  return earlier.filter((snapshot) => chosen.includes(snapshot)).map(({ snapshotId }) => snapshotId);
}

function shared(a: Window, b: Window): number {
  return Math.max(0, Math.min(a.cutoffMs, b.cutoffMs) - Math.max(a.windowStartMs, b.windowStartMs));
}

function length({ windowStartMs, cutoffMs }: Window): number {
  return cutoffMs - windowStartMs;
}

function fit(a: Window, b: Window): number {
  return shared(a, b) / (length(a) + length(b) - shared(a, b));
}
