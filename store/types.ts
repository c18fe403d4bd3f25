import type { Feature, LineConfig } from '../config/schema.ts';
import type { Strategy, TrainingDecision } from '../policy/training-strategy.ts';
import type { Reason } from '../policy/verdict.ts';

/** Version 0: keeps the input's order. A new line's stable; never a champion, never a parent. */
export const INPUT_ORDER_VERSION = 0;

export type Outcome = 'promoted' | 'rejected' | 'skipped' | 'rolledBack' | 'aborted' | 'failed';
export type VersionStatus = 'candidate' | 'shadow' | 'canary' | 'stable' | 'archived' | 'rejected' | 'rolledBack';

/** Which versions get which share of a line's traffic. Shares are of 1. */
export interface RouteState {
  stable: number;
  canary: number | null;
  canaryShare: number;
  /** Share that stays on the old stable whatever the canary's share is, at the opposite end of the hash range. */
  holdback: number;
  /** What answers the holdback after a promotion: the stable before it. Null: the stable. */
  holdbackVersion: number | null;
  shadow: number | null;
  shadowShare: number;
}

export interface Route extends RouteState {
  line: string;
  /** Grows by one with each move, without gaps. */
  epoch: number;
  salt: string;
  cycleId: string | null;
  who: string;
  why: string;
  at: Date;
}

/** A write that a cycle may no longer do, or that somebody else was faster with. Values, not exceptions: callers decide. */
export type Refused =
  /** The cycle was closed (rolled back, aborted): its writes are refused for ever. */
  | { kind: 'cycleClosed'; outcome: Outcome }
  /** The route moved since the caller read it. */
  | { kind: 'epochMoved'; expected: number; current: Route }
  /** The stable is no longer the champion that was evaluated. */
  | { kind: 'championChanged'; champion: number; stable: number }
  /** The lease ran out before the renewal: it can not be renewed. */
  | { kind: 'leaseExpired' };

export type RouteMove = { kind: 'moved'; route: Route } | Refused;

export interface CycleRecord {
  cycleId: string;
  line: string;
  workflowId: string;
  runId: string;
  trigger: string;
  config: LineConfig;
  configHash: string;
  /** The champion that is evaluated, and what a rollback returns to. */
  stableAtStart: number;
  /** What the challenger is trained from and its snapshot begins after: the champion, unless that is contaminated. Null: from scratch. */
  parent: number | null;
  /** Why the parent is not the champion; null when it is. */
  parentReason: string | null;
  candidate: number | null;
  phases: PhaseRecord[];
  startedAt: Date;
  closedAt: Date | null;
  outcome: Outcome | null;
  reasons: Reason[];
}

export interface PhaseRecord {
  phase: string;
  startedAt: string;
  endedAt: string | null;
}

export interface VersionRecord {
  line: string;
  version: number;
  status: VersionStatus;
  parent: number | null;
  cycleId: string | null;
  modelSha256: string | null;
  checkpointSha256: string | null;
  features: Feature[];
  trainingCutoffMs: number | null;
  /** Empty for version 0 only. */
  lineage: Partial<Lineage>;
  metrics: Record<string, unknown>;
  createdAt: Date;
}

/** Everything from which a version can be trained again (invariant 11). */
export interface Lineage {
  parent: number | null;
  /** What the trainer says it did. */
  strategy: Strategy;
  /** What was decided when the cycle began, and why. */
  training?: TrainingDecision;
  /** Event time, Unix ms, of the snapshot that it or its nearest such ancestor was trained on in full; null: not known. */
  trainedInFullAtMs?: number | null;
  /** sha256 of the snapshot's manifest, which is in the artifact store under it. */
  snapshotId: string;
  /** Snapshots that extended the holdout: it was evaluated on them, too, and not trained. */
  extensions?: string[];
  trainerManifestSha256: string;
  /** What the trainer said of rows it trained on, and its `result.json`: artifacts. Left out by older builds. */
  predictionsSha256?: string;
  resultSha256?: string;
  config: LineConfig;
  configHash: string;
  features: Feature[];
  codeVersion: string;
  seed: number;
  threads: number;
  environment: Record<string, string>;
  cycleId: string;
  workflowId: string;
  runId: string;
}

/** What people are told. `dedupKey` is the same for the same event, whoever reports it. */
export interface Alert {
  dedupKey: string;
  severity: 'info' | 'warning' | 'critical';
  /** Wake somebody: PagerDuty. Without it the alert goes to the channel only. */
  page: boolean;
  line: string;
  title: string;
  text: string;
  /** Versions, metric, observed, expected, counts: shown as fields. */
  fields: Record<string, string | number>;
  /** Link to the run in the Temporal UI. */
  url?: string;
  /** What kind of event it is, the same for every line: `skipped`. */
  kind?: string;
  /** The lasting problem that it is about. Left out: the alert stands alone. */
  incident?: IncidentRef;
  /** Ends the line's open incidents of earlier stages than this one: a cycle got past them. */
  resolvesBefore?: number;
}

/** `key` is the same for the same problem of a line; `stage` says how far cycles come that have it. */
export type IncidentRef = { action: 'open'; key: string; stage: number } | { action: 'resolve'; key: string };
