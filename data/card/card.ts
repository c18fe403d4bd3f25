import type { LineConfig } from '../../config/schema.ts';
import type { Contamination } from '../../policy/contamination.ts';
import type { Decision } from '../../store/decisions.ts';
import type { Taint } from '../../store/taints.ts';
import type { RemovedArtifact } from '../../store/removed-artifacts.ts';
import type { CycleRecord, Route, VersionRecord, VersionStatus } from '../../store/types.ts';
import type { RouteSpan, StatusChange } from '../../store/version-history.ts';
import type { CheckReport } from '../checks/check.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import type { RecordedMetrics } from './recorded.ts';

/** All that is on record of a version: what its card is drawn from. */
export interface VersionCard {
  /** When it was read; what serves may have changed since. */
  asOf: Date;
  version: Omit<VersionRecord, 'metrics'>;
  metrics: RecordedMetrics;
  /** Frozen when its cycle began; null where this build can not read it, and for version 0. */
  config: LineConfig | null;
  /** The route in force. */
  route: Route;
  cycle: Omit<CycleRecord, 'config'> | null;
  data: CardData;
  /** Parent, its parent, and so on to the cold start. */
  ancestors: Ancestor[];
  /** Whether it carries data that was found bad. */
  contamination: Contamination | null;
  /** Of its own snapshot, removed ones too, newest first. */
  taints: Taint[];
  decisions: Decision[];
  /** Names it has now. */
  aliases: string[];
  /** Keeps its artifacts whatever retention says. */
  pin: { who: string; why: string } | null;
  /** Oldest first; empty for what happened before statuses were kept. */
  statuses: StatusChange[];
  /** Oldest first. */
  routes: RouteSpan[];
  /** The move that took it off the route; null while it is on it, and when it never was. */
  takenOff: { who: string; why: string } | null;
  /** Files of it that retention removed. */
  removed: Pick<RemovedArtifact, 'what' | 'why' | 'removedAt'>[];
}

/** What it was trained and measured on. */
export type CardData =
  | { kind: 'known'; snapshotId: string; manifest: SnapshotManifest; report: CheckReport | null }
  /** Recorded under another contract, or not recorded any more; `why` is a sentence. */
  | { kind: 'unreadable'; snapshotId: string; why: string }
  /** Of version 0. */
  | { kind: 'none' };

export interface Ancestor {
  version: number;
  status: VersionStatus;
  createdAt: Date;
  strategy: string | null;
  examples: number | null;
  snapshotId: string | null;
  /** Of its snapshot, Unix ms of event time; null where that can not be read. */
  window: { fromMs: number; splitMs: number; toMs: number } | null;
  contamination: Contamination | null;
}

/** Where a card's links lead; without one there is text only. */
export interface CardLinks {
  version?: (version: number) => string;
  /** To the report on a snapshot's data. */
  snapshot?: (snapshotId: string) => string;
  /** To the list of the line's versions. */
  versions?: string;
}
