import type { CheckCode, LineConfigInput } from '../../config/schema.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import { HOUR_MS, type SnapshotPaths } from './windows.ts';

/** What a fault can hit; SQL conditions on rows of the log. */
export interface FaultWindow {
  /** The clean snapshot's times, Unix ms. */
  nowMs: number;
  cutoffMs: number;
  windowStartMs: number;
  /** What has happened since the parent's snapshot was split: the fresh rows, and those without a label. */
  fresh: string;
  /** Hours counted from the cutoff backwards, 0 is the newest mature one. */
  hour: (back: number) => string;
  /** So many of the newest hours, up to now. */
  newest: (hours: number) => string;
  /** A share of the rows, by hash. */
  some: (share: number, salt?: string) => string;
  /** A share of the users, by hash. */
  users: (share: number) => string;
}

/** A way in which data goes wrong. */
export interface Fault {
  kind: string;
  name: string;
  /** Must be caught; a weak one is only reported. */
  strong: boolean;
  /** Checks that name the cause: one of them has to block. `source`: the source refuses to be read. */
  expect: (CheckCode | 'source')[];
  /** SQL that changes table `faulty`: the log as far as it had arrived. */
  change?: (window: FaultWindow) => string[];
  /** Features added to the line's. */
  features?: LineConfigInput['features'];
  /** Changes what the checks read after the snapshot was taken. */
  tamper?: (taken: { manifest: SnapshotManifest; files: SnapshotPaths; folder: string }) => Promise<{
    manifest: SnapshotManifest;
    files: SnapshotPaths;
  }>;
}

export function faultWindow(clean: SnapshotManifest): FaultWindow {
  const { cutoffMs, windowStartMs, eventNowMs } = clean;
  const between = (from: number, to: number): string => `(time_ms > ${String(from)} AND time_ms <= ${String(to)})`;
  const hashed = (column: string, salt: string, share: number): string =>
    `(md5_number_lower('${salt}' || ${column}) % 1000000 < ${String(Math.round(share * 1e6))})`;
  return {
    ...{ nowMs: eventNowMs, cutoffMs, windowStartMs },
    fresh: between(windowStartMs, eventNowMs),
    hour: (back) => between(cutoffMs - (back + 1) * HOUR_MS, cutoffMs - back * HOUR_MS),
    newest: (hours) => between(cutoffMs - hours * HOUR_MS, eventNowMs),
    some: (share, salt = 'some') => hashed('impression_id', salt, share),
    users: (share) => hashed('user_id', 'users', share),
  };
}
