import { defineSearchAttributeKey } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { BreakerState } from '../policy/breaker.ts';
import type { Reason } from '../policy/verdict.ts';

/** What an operator can say to a running cycle, and what can be asked of it. Every message names who says it and why. */
export interface OperatorMessage {
  who: string;
  reason: string;
}

/** Approving and rejecting name the version, so that nobody approves what they did not look at. */
export interface ApprovalMessage extends OperatorMessage {
  version: number;
}

/** Holds the cycle where it is; the monitor and the lease go on. Ends by itself after the pause limit. */
export const pauseSignal = defineSignal<[OperatorMessage]>('pause');
/** Ends a pause. */
export const resumeSignal = defineSignal<[OperatorMessage]>('resume');
/** From shadow on, the watch included: removes the candidate and restores stable. Before: ends the cycle, stable untouched. */
export const forceRollbackSignal = defineSignal<[OperatorMessage]>('forceRollback');
/** Ends the cycle as aborted; a candidate that is routed is removed. */
export const abortSignal = defineSignal<[OperatorMessage]>('abort');
/** Lets the named version go on to shadow. Refused when nothing waits for approval. */
export const approveUpdate = defineUpdate<string, [ApprovalMessage]>('approve');
/** Ends the cycle as rejected. Refused when nothing waits for approval. */
export const rejectUpdate = defineUpdate<string, [ApprovalMessage]>('reject');
/** Where the cycle is, in one document. */
export const statusQuery = defineQuery<CycleStatus>('status');

export type Phase =
  | 'begin'
  | 'snapshot'
  | 'check'
  | 'train'
  | 'parity'
  | 'evaluate'
  | 'gate'
  | 'extend'
  | 'register'
  | 'approval'
  | 'shadow'
  | 'canary'
  | 'promote'
  | 'watch'
  | 'rollback'
  | 'closed';

export interface PhaseTimes {
  phase: Phase;
  startedAt: string;
  endedAt: string | null;
}

export type CycleOutcome = 'promoted' | 'rejected' | 'skipped' | 'rolledBack' | 'aborted';

export interface RollbackTimes {
  /** Unix ms of the first check of the run that failed; null when an operator, not the monitor, decided. */
  firstFailedCheckAtMs: number | null;
  decidedAtMs: number;
  confirmedAtMs: number;
  epoch: number;
}

/** What training did, for operators. */
export interface TrainingSummary {
  /** As the trainer says it did. */
  strategy: string;
  /** As the cycle decided, and why; null in a cycle that began on an older build. */
  wanted: string | null;
  why: string | null;
  /** Rows trained on, each as often as it was. */
  examples: number | null;
  /** What the trainer measured and chose, under its names. */
  metrics: Record<string, number | null>;
  warnings: Reason[];
  /** `model.onnx` against the trainer's own framework; null until compared. */
  parity: { rows: number; maxDelta: number | null; meanDelta: number | null } | null;
}

/** What the gate said of the challenger, for operators. */
export interface GateSummary {
  kind: 'pass' | 'reject' | 'inconclusive' | 'hold';
  /** Of the holdout with its extensions. */
  rows: number;
  users: number;
  champion: number | null;
  /** In the gate's metric, more is better; null without a champion, or when it is not known. */
  gain: { metric: string; estimate: number; lower: number; upper: number } | null;
  /** How many rules came to what. */
  rules: Record<string, number>;
  reasons: Reason[];
  /** Rows that would decide; null where that is not known, or decided already. */
  neededRows: number | null;
  /** Extensions of the holdout in use. */
  extensions: number;
}

/** The verdict was inconclusive, and more labelled rows are waited for. */
export interface WaitingForRows {
  attempt: number;
  of: number;
  until: string;
  rows: number;
  neededRows: number | null;
}

export interface CycleResult {
  cycleId: string;
  line: string;
  outcome: CycleOutcome;
  version: number | null;
  reasons: Reason[];
  /** What else an operator should know: silenced guards and what they would have said, warnings, who approved. */
  notes: string[];
  phases: PhaseTimes[];
  /** Null when the cycle ended before its training was done. */
  training: TrainingSummary | null;
  /** Null when the cycle ended before its gate. */
  gate: GateSummary | null;
  rollback: RollbackTimes | null;
}

export interface CycleStatus {
  cycleId: string | null;
  line: string;
  trigger: string;
  phase: Phase;
  phases: PhaseTimes[];
  champion: number | null;
  version: number | null;
  training: TrainingSummary | null;
  gate: GateSummary | null;
  waitingForRows: WaitingForRows | null;
  /** Percent of traffic the canary is meant to have now; null outside the canary phase. */
  canaryPercent: number | null;
  /** Percent of traffic that the stable before it has while the promoted version is watched; null outside the watch. */
  holdbackPercent: number | null;
  paused: OperatorMessage | null;
  waitingForApproval: { version: number; until: string; reasons: Reason[] } | null;
  checks: { total: number; last: { status: string; reasons: Reason[] } | null; breaker: BreakerState | null };
  outcome: CycleOutcome | 'failed' | null;
  reasons: Reason[];
}

export interface TrainingCycleInput {
  line: string;
  /** What started it when nobody left a request: `schedule`. */
  trigger: string;
}

export const searchAttributes = {
  line: defineSearchAttributeKey('FreshetLine', 'KEYWORD'),
  phase: defineSearchAttributeKey('FreshetPhase', 'KEYWORD'),
  outcome: defineSearchAttributeKey('FreshetOutcome', 'KEYWORD'),
  version: defineSearchAttributeKey('FreshetVersion', 'INT'),
  /** What started the cycle: `schedule`, `manual`, ... */
  trigger: defineSearchAttributeKey('FreshetTrigger', 'KEYWORD'),
};
