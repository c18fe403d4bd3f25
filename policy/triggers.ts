import type { TriggersConfig } from '../config/schema.ts';
import { TRIGGERS, type Trigger } from '../config/trigger-section.ts';
import { count, decimal, milliseconds, percent, recorded } from './figures.ts';
import type { ArmSums } from './health.ts';
import { twoProportionZ } from './statistics.ts';
import type { Reason } from './verdict.ts';

/** A part of a reading that is not known, and why. Unknown data triggers nothing. */
export interface Unknown {
  unknown: string;
}

/** Rows, positives and mean score of the holdout that a version was evaluated on. */
export interface HoldoutReference {
  rows: number;
  positives: number;
  /** NaN when it is not known. */
  meanScore: number;
  /** False where labels take longer than the live sums wait for them: then click-through can not be compared. */
  clicksComparable: boolean;
}

/** What the watch looked at. Times are operating time, Unix milliseconds. */
export interface TriggerReading {
  nowMs: number;
  scheduleEveryMs: number;
  schedule:
    | { kind: 'active'; nextAtMs: number | null; running: boolean; createdAtMs: number }
    | { kind: 'paused'; note: string }
    | { kind: 'none' };
  openCycle: string | null;
  /** Start of the newest cycle; null when there never was one. */
  lastStartMs: number | null;
  /** When each trigger last asked for a cycle. */
  firings: Partial<Record<Trigger, number>>;
  /** Labelled impressions since the newest snapshot's cutoff. */
  newExamples: { count: number } | Unknown;
  /** The stable version's arm in the recent stretch, and what its scores and clicks are compared with. */
  drift: { version: number; recent: ArmSums; reference: HoldoutReference } | Unknown;
  /** The stable version's arm in the recent stretch and in its first hours. */
  performance: { version: number; recent: ArmSums; first: ArmSums } | Unknown;
}

/** `met` asks for a cycle; `waits` would, but not now; `unknown` says what is not known. */
export interface TriggerFinding {
  trigger: Trigger;
  status: 'met' | 'waits' | 'notMet' | 'unknown';
  reason: Reason;
}

export type TriggerDecision =
  /** Start a cycle; every trigger in `triggers` counts as having asked for it. The first names the cycle. */
  | { kind: 'start'; triggers: Trigger[]; why: string; findings: TriggerFinding[] }
  /** `held` says why no trigger may start a cycle now at all; null when none asked. */
  | { kind: 'wait'; held: Reason | null; findings: TriggerFinding[] };

/**
 * Whether a cycle is to be started now, and by which triggers. A paused schedule, a running cycle and a start that the
 * schedule makes itself before the next look hold all of them. The same trigger does not ask again before a cycle began
 * after it asked and a schedule interval passed.
 */
export function decideTriggers({
  reading,
  config,
}: {
  reading: TriggerReading;
  config: TriggersConfig;
}): TriggerDecision {
  const findings = TRIGGERS.filter((trigger) => config.watch.includes(trigger))
    .map((trigger) => FIND[trigger](reading, config))
    .map((finding) => asked(finding, reading));
  const met = findings.filter(({ status }) => status === 'met');
  if (met.length === 0) return { kind: 'wait', held: null, findings };
  const held = hold(reading, config);
  if (held !== null) return { kind: 'wait', held, findings };
  const why = met.map(({ reason }) => reason.message).join('; ');
  return { kind: 'start', triggers: met.map(({ trigger }) => trigger), why, findings };
}

function hold({ schedule, openCycle, nowMs }: TriggerReading, { every }: TriggersConfig): Reason | null {
  if (schedule.kind === 'none')
    return { code: 'schedule.none', message: 'the line has no schedule, and every start goes through it' };
  if (schedule.kind === 'paused')
    return { code: 'schedule.paused', message: `the schedule is paused (${schedule.note}), and triggers respect that` };
  if (openCycle !== null) return { code: 'cycle.running', message: `cycle ${openCycle} is running` };
  if (schedule.running) return { code: 'cycle.running', message: 'a cycle has just been started' };
  if (schedule.nextAtMs !== null && schedule.nextAtMs - nowMs <= every) {
    const message = `the schedule starts a cycle in ${milliseconds(schedule.nextAtMs - nowMs)} itself`;
    return { code: 'schedule.due', message };
  }
  return null;
}

/** A trigger that asked before waits for a cycle that began since, and for an interval. */
function asked(
  finding: TriggerFinding,
  { firings, lastStartMs, nowMs, scheduleEveryMs }: TriggerReading,
): TriggerFinding {
  const firedAtMs = firings[finding.trigger];
  if (finding.status !== 'met' || firedAtMs === undefined) return finding;
  const since = `it asked ${milliseconds(nowMs - firedAtMs)} ago`;
  if (lastStartMs === null || lastStartMs < firedAtMs) return waits(finding, `${since} and no cycle began since`);
  if (nowMs - firedAtMs < scheduleEveryMs)
    return waits(finding, `${since}, less than the interval of ${milliseconds(scheduleEveryMs)}`);
  return finding;
}

function waits(finding: TriggerFinding, why: string): TriggerFinding {
  const { reason } = finding;
  return { ...finding, status: 'waits', reason: { ...reason, message: `${reason.message}; ${why}` } };
}

const FIND: Record<Trigger, (reading: TriggerReading, config: TriggersConfig) => TriggerFinding> = {
  newExamples: findNewExamples,
  drift: findDrift,
  performance: findPerformance,
};

/** Counted from the schedule's creation where there was no start: a new line gets its first interval, too. */
function findNewExamples(reading: TriggerReading, config: TriggersConfig): TriggerFinding {
  const { newExamples, nowMs, scheduleEveryMs, schedule } = reading;
  if ('unknown' in newExamples) return unknown('newExamples', newExamples.unknown);
  const { count: examples } = newExamples;
  if (!Number.isFinite(examples)) return unknown('newExamples', `their count is ${String(examples)}`);
  const message = `${count(examples)} new labelled examples (${count(config.newExamples)} start a cycle)`;
  const finding = found('newExamples', examples >= config.newExamples, message, {
    examples,
    needed: config.newExamples,
  });
  const startMs = reading.lastStartMs ?? (schedule.kind === 'active' ? schedule.createdAtMs : nowMs);
  if (finding.status !== 'met' || nowMs - startMs >= scheduleEveryMs) return finding;
  const from = reading.lastStartMs === null ? 'the schedule was made' : 'the last cycle began';
  const interval = milliseconds(scheduleEveryMs);
  return waits(finding, `${from} ${milliseconds(nowMs - startMs)} ago, less than the interval of ${interval}`);
}

/**
 * The larger of two shifts of the stable version: mean score, and click-through rate. Both must be beyond their limit and
 * beyond chance; of the mean score the variance is taken as m (1 - m), which no distribution on [0, 1] exceeds.
 */
function findDrift({ drift }: TriggerReading, config: TriggersConfig): TriggerFinding {
  if ('unknown' in drift) return unknown('drift', drift.unknown);
  const { version, recent, reference } = drift;
  const few = tooFew(config, { recent: recent.impressions, reference: reference.rows });
  if (few !== null) return unknown('drift', few);
  const n = recent.impressions;
  const shifts = [
    shiftOf('mean score', {
      now: { successes: recent.scoreSum, n },
      then: { successes: reference.meanScore * reference.rows, n: reference.rows },
      limit: config.drift.maxScoreShift,
      z: config.z,
    }),
    ...(reference.clicksComparable
      ? [
          shiftOf('click-through rate', {
            now: { successes: recent.clicks, n },
            then: { successes: reference.positives, n: reference.rows },
            limit: config.drift.maxClickThroughShift,
            z: config.z,
          }),
        ]
      : []),
  ];
  const lost = shifts.find(({ relative }) => !Number.isFinite(relative));
  if (lost !== undefined)
    return unknown('drift', `the ${lost.what} of version ${String(version)} is not a number, now or in its evaluation`);
  const texts = shifts.map(
    ({ what, now, then, relative, limit }) =>
      `${what} ${decimal(now)} against ${decimal(then)} in its evaluation (${signed(relative)}, limit ${percent(limit)})`,
  );
  const numbers = Object.fromEntries(shifts.map(({ what, relative }) => [what, relative]));
  const message = `version ${String(version)}: ${texts.join(', ')}`;
  return found(
    'drift',
    shifts.some(({ beyond }) => beyond),
    message,
    numbers,
  );
}

interface Counted {
  successes: number;
  n: number;
}

function shiftOf(
  what: string,
  { now, then, limit, z }: { now: Counted; then: Counted; limit: number; z: number },
): { what: string; now: number; then: number; relative: number; limit: number; beyond: boolean } {
  const [rate, before] = [now.successes / now.n, then.successes / then.n];
  const relative = rate / before - 1;
  const beyond = Math.abs(relative) > limit && Math.abs(twoProportionZ(now, then)) > z;
  return { what, now: rate, then: before, relative, limit, beyond };
}

/**
 * The log loss of the stable version over the entropy of its click-through rate ("normalised entropy", He et al. 2014),
 * recent stretch against its first hours. 1 is as good as always saying the base rate; lower is better.
 */
function findPerformance({ performance }: TriggerReading, config: TriggersConfig): TriggerFinding {
  if ('unknown' in performance) return unknown('performance', performance.unknown);
  const { version, recent, first } = performance;
  const few = tooFew(config, { recent: recent.impressions, reference: first.impressions });
  if (few !== null) return unknown('performance', few);
  const [now, then] = [normalisedLoss(recent), normalisedLoss(first)];
  const rise = now.mean / then.mean - 1;
  if (!Number.isFinite(rise)) {
    const message = `the log loss of version ${String(version)} is not a number, or it has only one kind of label`;
    return unknown('performance', message);
  }
  const standardised = (now.mean - then.mean) / Math.sqrt(now.variance + then.variance);
  const { maxLogLossRise } = config.performance;
  const message = `version ${String(version)}: log loss over entropy ${decimal(now.mean)} against ${decimal(then.mean)} in its first hours (${signed(rise)}, limit +${percent(maxLogLossRise)})`;
  return found('performance', rise > maxLogLossRise && standardised > config.z, message, { rise, z: standardised });
}

/** Mean, and variance of the mean. The entropy's own error is left out: it moves with the loss and would cancel. */
function normalisedLoss({ impressions: n, clicks, logLossSum, logLossSquareSum }: ArmSums): {
  mean: number;
  variance: number;
} {
  const rate = clicks / n;
  const entropy = -(rate * Math.log(rate) + (1 - rate) * Math.log(1 - rate));
  const loss = logLossSum / n;
  return { mean: loss / entropy, variance: Math.max(0, logLossSquareSum / n - loss * loss) / n / (entropy * entropy) };
}

function tooFew(
  { minImpressions }: TriggersConfig,
  { recent, reference }: { recent: number; reference: number },
): string | null {
  if (recent >= minImpressions && reference >= minImpressions) return null;
  return `${count(recent)} recent impressions and ${count(reference)} to compare with, ${count(minImpressions)} needed of both`;
}

function found(trigger: Trigger, met: boolean, message: string, numbers: Record<string, number>): TriggerFinding {
  const reason = { code: `trigger.${trigger}`, message, numbers: recorded(numbers) };
  return { trigger, status: met ? 'met' : 'notMet', reason };
}

function unknown(trigger: Trigger, why: string): TriggerFinding {
  return { trigger, status: 'unknown', reason: { code: `trigger.${trigger}.unknown`, message: `not known: ${why}` } };
}

function signed(relative: number): string {
  return `${relative < 0 ? '' : '+'}${percent(relative)}`;
}
