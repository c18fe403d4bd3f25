import type { LineConfig } from '../config/schema.ts';
import type { SnapshotManifest } from './snapshot-manifest.ts';

const WEEK_MS = 7 * 86_400_000;

/** What the snapshot of the version that trains on has to say to this one. */
export type ParentSnapshot = Pick<
  SnapshotManifest,
  'eventNowMs' | 'windowStartMs' | 'cutoffMs' | 'label' | 'historical' | 'files'
>;

/** Rows of (fromMs, toMs] of event time were found bad. */
export interface TaintedWindow {
  fromMs: number;
  toMs: number;
}

/** Where reading starts and ends; known before anything is read. Unix ms of event time. */
export interface SnapshotReach {
  eventNowMs: number;
  /** History for the replay, for label delays, and for comparisons with one season and one week back. */
  reachMs: number;
}

/** The times that decide which row goes where; Unix ms of event time. */
export interface SnapshotTimes extends SnapshotReach {
  /** Rows up to here have a label: the true one, or with a proxy that one. */
  cutoffMs: number;
  /** Rows up to here have their true label. */
  trueCutoffMs: number;
  /** What the parent trained up to; null on a cold start. */
  sinceMs: number | null;
  /** No row before this is fresh or late. */
  oldestMs: number;
  windowStartMs: number;
  parent: ParentSnapshot | null;
}

export function snapshotReach(config: LineConfig, nowMs: number): SnapshotReach {
  const { maxWindow, season } = config.snapshot;
  const { recentWindow } = config.checks.freshness;
  const eventNowMs = Math.floor(nowMs);
  const back = Math.max(Math.max(maxWindow, recentWindow) + season, WEEK_MS + recentWindow);
  return { eventNowMs, reachMs: eventNowMs - config.label.maturity - back };
}

/**
 * The snapshot's times once the label maturity is known. With a proxy label rows have a label from the proxy's maturity
 * on, and the true cutoff never goes back behind the parent's: what had its true label keeps it.
 */
export function snapshotTimes(input: {
  config: LineConfig;
  reach: SnapshotReach;
  maturityMs: number;
  sinceMs: number | null;
  parent: ParentSnapshot | null;
}): SnapshotTimes {
  const { config, reach, maturityMs, sinceMs, parent } = input;
  const { proxy } = config.label;
  const matureMs = reach.eventNowMs - maturityMs;
  const cutoffMs = proxy === undefined ? matureMs : Math.max(matureMs, reach.eventNowMs - proxy.maturity);
  const oldestMs = cutoffMs - config.snapshot.maxWindow;
  return {
    ...reach,
    cutoffMs,
    trueCutoffMs: proxy === undefined ? cutoffMs : Math.max(matureMs, parentTrueCutoff(parent) ?? matureMs),
    sinceMs,
    oldestMs,
    windowStartMs: Math.max(sinceMs ?? oldestMs, oldestMs),
    parent: sinceMs === null ? null : parent,
  };
}

/** Rows up to here had their true label in the parent's snapshot; null without a parent. */
export function parentTrueCutoff(parent: ParentSnapshot | null): number | null {
  return parent === null ? null : (parent.label.trueCutoffMs ?? parent.cutoffMs);
}
