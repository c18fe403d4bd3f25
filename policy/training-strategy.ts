import type { LineConfig } from '../config/schema.ts';
import { count, percent, recorded } from './figures.ts';
import type { Reason } from './verdict.ts';

/** Which way a cycle trains its challenger, and when it repairs the parent's layers first. */

type TrainingConfig = LineConfig['training'];

/**
 * `full`: from scratch on all history; `warmStart` and `incremental`: from the parent, on what is new; `online`: the
 * linear part of the parent alone, between two whole cycles.
 */
export type Strategy = TrainingConfig['strategy'] | 'online';

export interface TrainingDecision {
  strategy: Strategy;
  /** Shrink-and-perturb of the parent's layers before training (Ash and Adams, 2020); null: as they are. */
  repair: { shrink: number; perturb: number } | null;
  /** The first is what decided. */
  reasons: Reason[];
}

/** The version the challenger would be trained from, as far as a strategy hangs on it. */
export interface ParentFacts {
  version: number;
  /** False where the champion itself is not to be trained on from: it carries tainted data. */
  ofChampion: boolean;
  hasCheckpoint: boolean;
  /** Event time, Unix ms, of the snapshot that it or its nearest such ancestor was trained on in full; null: not known. */
  trainedInFullAtMs: number | null;
  /** What it was trained with; undefined where its lineage does not say. */
  trainedWith: Pick<TrainingConfig, 'hidden' | 'command'> | undefined;
  /** Share of its hidden units that no input moves; null where its trainer does not say. */
  dormantUnits: number | null;
  /** The newest child of it that a trainer had to train from scratch all the same; null without one. */
  notUsedBy: number | null;
}

/** Drift that the checks found in the newest snapshot of the line. */
export interface DriftAlarm {
  /** Event time, Unix ms. */
  takenAtMs: number;
  findings: { check: string; status: string; message: string }[];
  /** Whether the cycle of that snapshot trained in full already. */
  answered: boolean;
}

/** What the line's cycles did before this one; null: never. Only trainings that were begun count. */
export interface TrainingPast {
  /** Operating time, Unix ms, at which the newest cycle began that was no online update. */
  wholeCycleMs: number | null;
  /** Event times, Unix ms. */
  fullMs: number | null;
  fullByDriftMs: number | null;
  repairMs: number | null;
}

export interface TrainingFacts {
  config: TrainingConfig;
  /** Operating milliseconds of `schedule.every`, event milliseconds of `snapshot.season`. */
  scheduleEveryMs: number;
  seasonMs: number;
  /** What started the cycle: `schedule`, `manual`, or a trigger's name. */
  trigger: string;
  /** Operating and event time, Unix ms. */
  nowMs: number;
  eventNowMs: number;
  /** Null: from scratch. */
  parent: ParentFacts | null;
  alarm: DriftAlarm | null;
  past: TrainingPast;
}

/** The code of a training in full that drift asked for; the store counts these. */
export const FULL_BY_DRIFT = 'training.drift';

/**
 * The strategy of a cycle, from what is on record when it begins. What can not continue from its parent trains in full.
 * Drift does too, once a season at most: a line that always drifts is not always trained in full. The rest is as
 * configured, with an online update where the schedule starts a cycle before the next whole one is due.
 */
export function decideTraining(facts: TrainingFacts): TrainingDecision {
  const { config, parent } = facts;
  const impossible = cannotContinue(config, parent);
  if (impossible !== null || parent === null) return full(impossible ?? COLD_START);
  const drift = findDrift(facts);
  if (drift?.held === null) return full(drift.reason);
  const notes = drift === null ? [] : [held(drift)];
  const online = betweenCycles(facts, parent);
  if (online !== null) return { strategy: 'online', repair: null, reasons: [online, ...notes] };
  if (config.strategy === 'full') return full(because('configured', 'the config trains every cycle in full'), notes);
  const anchor = reanchor(facts, parent);
  if (anchor?.held === null) return full(anchor.reason, notes);
  const repair = findRepair(facts, parent);
  return {
    strategy: config.strategy,
    repair: repair === null ? null : { shrink: config.repair.shrink, perturb: config.repair.perturb },
    reasons: [continued(facts, parent), ...notes, ...(anchor === null ? [] : [held(anchor)]), ...(repair ?? [])],
  };
}

/**
 * Event time of the snapshot that a new version, or its nearest such ancestor, was trained on in full. Null, which asks for
 * a training in full, when a trainer started from scratch although its snapshot held a sample of history only.
 */
export function trainedInFullAt(version: {
  /** Left out for cycles that began before strategies were decided. */
  decided?: Strategy | undefined;
  /** What the trainer says it did. */
  did: Strategy;
  takenAtMs: number;
  parentMs: number | null;
}): number | null {
  const { decided, did, takenAtMs, parentMs } = version;
  if (decided === 'full') return takenAtMs;
  if (did !== 'full') return parentMs;
  return decided === undefined ? takenAtMs : null;
}

const COLD_START = because('coldStart', 'there is no parent to train on from: from scratch');

function full(reason: Reason, notes: readonly Reason[] = []): TrainingDecision {
  return { strategy: 'full', repair: null, reasons: [reason, ...notes] };
}

/** Why nothing can be trained on from the parent; null when it can. */
function cannotContinue(config: TrainingConfig, parent: ParentFacts | null): Reason | null {
  if (parent === null) return COLD_START;
  const { version, hasCheckpoint, trainedWith, notUsedBy } = parent;
  const name = `version ${String(version)}`;
  if (!hasCheckpoint) return because('noCheckpoint', `${name} has no checkpoint to train on from`);
  if (trainedWith !== undefined && String(trainedWith.hidden) !== String(config.hidden)) {
    const widths = `${list(trainedWith.hidden)}, and training.hidden is ${list(config.hidden)} now`;
    return because('layersChanged', `the hidden layers of ${name} are ${widths}: its weights do not fit`);
  }
  if (trainedWith !== undefined && String(trainedWith.command) !== String(config.command)) {
    return because(
      'trainerChanged',
      `${name} was trained by another command (training.command): its checkpoint may not be readable`,
    );
  }
  if (notUsedBy !== null) {
    const message = `version ${String(notUsedBy)} should have been trained on from ${name}, and the trainer could not use that one`;
    return because('parentNotUsed', message, { parent: version, version: notUsedBy });
  }
  return null;
}

/** Something that asks for a training in full, and why it does not get it now; null: it does. */
interface Asked {
  reason: Reason;
  held: string | null;
}

function findDrift(facts: TrainingFacts): Asked | null {
  const { past, eventNowMs, seasonMs } = facts;
  const reason = driftReason(facts);
  if (reason === null) return null;
  const agoMs = past.fullByDriftMs === null ? Infinity : eventNowMs - past.fullByDriftMs;
  const since = `drift was answered by a training in full ${span(agoMs)} ago; the next one may come after a season of ${span(seasonMs)}`;
  return { reason, held: agoMs < seasonMs ? since : null };
}

function driftReason({ trigger, alarm, eventNowMs }: TrainingFacts): Reason | null {
  if (trigger === 'drift' || trigger === 'performance')
    return { code: FULL_BY_DRIFT, message: `the ${trigger} trigger started this cycle`, numbers: { trigger } };
  if (alarm === null || alarm.answered || alarm.findings.length === 0) return null;
  const found = alarm.findings.map(({ check, status, message }) => `${check} (${status}): ${message}`).join('; ');
  const agoMs = eventNowMs - alarm.takenAtMs;
  const checks = alarm.findings.map(({ check }) => check).join(', ');
  return {
    code: FULL_BY_DRIFT,
    message: `the snapshot taken ${span(agoMs)} ago had drifted: ${found}`,
    numbers: recorded({ checks, agoMs }),
  };
}

/**
 * Starts of the schedule alone: whoever asks for a cycle means a whole one. Half an interval of slack, since no start comes
 * to the millisecond. What replaces a tainted champion has to learn with all its layers what that one knew.
 */
function betweenCycles(
  { config, trigger, nowMs, scheduleEveryMs, past }: TrainingFacts,
  parent: ParentFacts,
): Reason | null {
  if (config.online === undefined || trigger !== 'schedule' || past.wholeCycleMs === null) return null;
  if (!parent.ofChampion) return null;
  const agoMs = nowMs - past.wholeCycleMs;
  if (agoMs + config.online.every / 2 >= scheduleEveryMs) return null;
  const message = `an online update of version ${String(parent.version)}: the last whole cycle began ${span(agoMs)} ago, the next is due ${span(scheduleEveryMs)} after it`;
  return because('online', message, { agoMs, scheduleEveryMs });
}

/** Errors of small steps add up. One that was trained in full and not promoted is tried again after a season. */
function reanchor({ config, eventNowMs, past, seasonMs }: TrainingFacts, parent: ParentFacts): Asked | null {
  const { version, trainedInFullAtMs: anchoredMs } = parent;
  const agoMs = anchoredMs === null ? null : eventNowMs - anchoredMs;
  if (agoMs !== null && agoMs < config.reanchorEvery) return null;
  const last = agoMs === null ? 'at a time that is not on record' : `${span(agoMs)} ago`;
  const reason = because(
    'reanchor',
    `version ${String(version)} goes back to a training in full ${last} (training.reanchorEvery: ${span(config.reanchorEvery)})`,
    { agoMs, reanchorEveryMs: config.reanchorEvery },
  );
  const triedMs =
    past.fullMs === null || past.fullMs <= (anchoredMs ?? -Infinity) ? Infinity : eventNowMs - past.fullMs;
  const since = `one that was trained in full ${span(triedMs)} ago is not what the line trains on from; it is tried again after a season of ${span(seasonMs)}`;
  return { reason, held: triedMs < seasonMs ? since : null };
}

function held({ reason, held: why }: Asked): Reason {
  return { ...reason, code: `${reason.code}.held`, message: `not in full, although ${reason.message}: ${String(why)}` };
}

/** Layers whose units nothing moves have lost the ability to learn ("dormant neurons", Sokar et al., 2023). */
function findRepair({ config, eventNowMs, past, seasonMs }: TrainingFacts, parent: ParentFacts): [Reason] | null {
  const { dormantUnits, version } = parent;
  const { dormantShare, shrink, perturb } = config.repair;
  if (dormantUnits === null || !(dormantUnits >= dormantShare)) return null;
  if (past.repairMs !== null && eventNowMs - past.repairMs < seasonMs) return null;
  const message = `${percent(dormantUnits)} of the hidden units of version ${String(version)} are dormant (limit ${percent(dormantShare)}): its layers are shrunk to ${percent(shrink)} and ${percent(perturb)} of fresh weights is added`;
  return [because('repair', message, { dormantUnits, dormantShare, shrink, perturb })];
}

function continued({ config, eventNowMs }: TrainingFacts, { version, trainedInFullAtMs }: ParentFacts): Reason {
  const agoMs = trainedInFullAtMs === null ? null : eventNowMs - trainedInFullAtMs;
  const anchored = agoMs === null ? '' : `, which goes back to a training in full ${span(agoMs)} ago`;
  const message = `${config.strategy} from version ${String(version)}${anchored}`;
  return because('continued', message, { parent: version, agoMs });
}

function because(code: string, message: string, numbers: Record<string, number | string | null> = {}): Reason {
  return { code: `training.${code}`, message, numbers: recorded(numbers) };
}

function list(widths: readonly number[]): string {
  return widths.map(count).join(' and ');
}

const UNITS = [
  ['days', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** At least two of the unit: `7 days`, `26.5 h`, `90 min`. */
function span(ms: number): string {
  for (const [unit, unitMs] of UNITS) {
    if (ms >= 2 * unitMs) return `${String(Number((ms / unitMs).toFixed(1)))} ${unit}`;
  }
  return Number.isFinite(ms) ? `${String(Math.round(ms))} ms` : 'never';
}
