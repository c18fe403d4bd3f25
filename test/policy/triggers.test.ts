import { describe, expect, it, test } from 'vitest';
import { NO_TRAFFIC, type ArmSums } from '../../policy/health.ts';
import { decideTriggers, type TriggerReading } from '../../policy/triggers.ts';
import { lineConfig } from './line-config.ts';

const HOUR = 3_600_000;
const NOW = 1_700_000_000_000;
const config = { ...lineConfig().triggers, every: HOUR / 6 };
const unknown = { unknown: 'not looked at' };

/** Nothing asks: a schedule of 4 h whose next start is 2 h away and whose last cycle began 5 h ago. */
function reading(change: Partial<TriggerReading> = {}): TriggerReading {
  return {
    nowMs: NOW,
    scheduleEveryMs: 4 * HOUR,
    schedule: { kind: 'active', nextAtMs: NOW + 2 * HOUR, running: false, createdAtMs: NOW - 100 * HOUR },
    openCycle: null,
    lastStartMs: NOW - 5 * HOUR,
    firings: {},
    newExamples: { count: 9_999 },
    drift: unknown,
    performance: unknown,
    ...change,
  };
}

/** Impressions with a click-through rate, a mean score and a log loss per impression. */
function sums(impressions: number, ctr: number, score = ctr, loss = entropy(ctr)): ArmSums {
  return {
    ...NO_TRAFFIC,
    impressions,
    clicks: impressions * ctr,
    scoreSum: impressions * score,
    logLossSum: impressions * loss,
    logLossSquareSum: impressions * (loss * loss + 0.2),
  };
}

function entropy(rate: number): number {
  return -(rate * Math.log(rate) + (1 - rate) * Math.log(1 - rate));
}

const reference = { rows: 10_000, positives: 1_000, meanScore: 0.1, clicksComparable: true };
const drift = (recent: ArmSums, change = {}): Partial<TriggerReading> => ({
  drift: { version: 7, recent, reference: { ...reference, ...change } },
});
const performance = (recent: ArmSums, first = sums(10_000, 0.1, 0.1, 0.3)): Partial<TriggerReading> => ({
  performance: { version: 7, recent, first },
});
const ENOUGH: Partial<TriggerReading> = { newExamples: { count: 10_000 } };
const active = { kind: 'active', nextAtMs: NOW + 2 * HOUR, running: false, createdAtMs: NOW - 100 * HOUR } as const;

test.each<[string, Partial<TriggerReading>, string[]]>([
  ['too few new examples', {}, []],
  ['enough of them', ENOUGH, ['newExamples']],
  [
    'enough, an interval after the last start to the millisecond',
    { ...ENOUGH, lastStartMs: NOW - 4 * HOUR },
    ['newExamples'],
  ],
  ['enough, less than an interval after the last start', { ...ENOUGH, lastStartMs: NOW - 4 * HOUR + 1 }, []],
  ['enough, no cycle ever, and an old schedule', { ...ENOUGH, lastStartMs: null }, ['newExamples']],
  [
    'enough, no cycle ever, and a new schedule',
    { ...ENOUGH, lastStartMs: null, schedule: { ...active, createdAtMs: NOW - HOUR } },
    [],
  ],
  ['a count that is not known', { newExamples: unknown }, []],
  ['a count that is not a number', { newExamples: { count: NaN } }, []],
  ['scores as evaluated', drift(sums(5_000, 0.1)), []],
  ['scores 29 % up', drift(sums(5_000, 0.1, 0.129)), []],
  ['scores 31 % up', drift(sums(5_000, 0.1, 0.131)), ['drift']],
  ['scores 31 % down', drift(sums(5_000, 0.1, 0.069)), ['drift']],
  ['click-through 31 % down', drift(sums(5_000, 0.069, 0.1)), ['drift']],
  ['click-through 31 % down where labels are slow', drift(sums(5_000, 0.069, 0.1), { clicksComparable: false }), []],
  ['a shift that chance makes', drift(sums(1_000, 0.01, 0.0131), { positives: 100, meanScore: 0.01 }), []],
  ['a shift of too few impressions', drift(sums(999, 0.5, 0.5)), []],
  ['a shift from too few rows', drift(sums(5_000, 0.5, 0.5), { rows: 999, positives: 100 }), []],
  ['scores that are not numbers', drift(sums(5_000, 0.1, NaN)), []],
  ['an evaluation without a mean score', drift(sums(5_000, 0.5, 0.5), { meanScore: NaN }), []],
  ['no traffic', drift(NO_TRAFFIC), []],
  ['a log loss as in the first hours', performance(sums(5_000, 0.1, 0.1, 0.3)), []],
  ['a log loss 9 % up', performance(sums(5_000, 0.1, 0.1, 0.327)), []],
  ['a log loss 11 % up', performance(sums(5_000, 0.1, 0.1, 0.333)), ['performance']],
  ['a log loss 11 % down', performance(sums(5_000, 0.1, 0.1, 0.267)), []],
  [
    'a log loss that is up with the click-through alone',
    performance(sums(5_000, 0.15, 0.15, (0.3 * entropy(0.15)) / entropy(0.1))),
    [],
  ],
  ['a rise that chance makes', performance(sums(1_000, 0.1, 0.1, 0.333)), []],
  ['a log loss that is not a number', performance(sums(5_000, 0.1, 0.1, NaN)), []],
  ['one kind of label only', performance(sums(5_000, 0)), []],
  ['first hours without traffic', performance(sums(5_000, 0.1, 0.1, 0.5), NO_TRAFFIC), []],
  [
    'several at once, the most urgent first',
    { ...ENOUGH, ...drift(sums(5_000, 0.2)), ...performance(sums(5_000, 0.1, 0.1, 0.4)) },
    ['performance', 'drift', 'newExamples'],
  ],
  ['one beside another that is not known', { ...ENOUGH, ...drift(NO_TRAFFIC) }, ['newExamples']],
])('%s: %#', (_name, change, triggers) => {
  const decision = decideTriggers({ reading: reading(change), config });
  expect(decision.kind === 'start' ? decision.triggers : []).toEqual(triggers);
});

describe('whether one is started', () => {
  test.each<[string, Partial<TriggerReading>, string]>([
    ['not while a cycle is running', { openCycle: 'c9' }, 'cycle.running'],
    ['not while Temporal has just started one', { schedule: { ...active, running: true } }, 'cycle.running'],
    ['not while the schedule is paused', { schedule: { kind: 'paused', note: 'ann: sale' } }, 'schedule.paused'],
    ['not without a schedule', { schedule: { kind: 'none' } }, 'schedule.none'],
    [
      'not when the schedule does so before the next look',
      { schedule: { ...active, nextAtMs: NOW + HOUR / 6 } },
      'schedule.due',
    ],
  ])('%s', (_name, change, code) => {
    const decision = decideTriggers({ reading: reading({ ...ENOUGH, ...change }), config });
    expect(decision).toMatchObject({ kind: 'wait', held: { code } });
    expect(decision.findings.find(({ trigger }) => trigger === 'newExamples')?.status).toBe('met');
  });

  test.each<[string, Partial<TriggerReading>, boolean]>([
    ['no cycle began since', { firings: { drift: NOW - 9 * HOUR }, lastStartMs: NOW - 10 * HOUR }, false],
    [
      'a cycle began but no interval passed',
      { firings: { drift: NOW - 3 * HOUR }, lastStartMs: NOW - 2 * HOUR },
      false,
    ],
    ['a cycle began and an interval passed', { firings: { drift: NOW - 4 * HOUR }, lastStartMs: NOW - 3 * HOUR }, true],
    ['it was another trigger that asked', { firings: { performance: NOW - HOUR }, lastStartMs: NOW - 2 * HOUR }, true],
  ])('by a trigger that asked before, when %s', (_name, change, starts) => {
    const decision = decideTriggers({ reading: reading({ ...drift(sums(5_000, 0.2)), ...change }), config });
    expect(decision.kind).toBe(starts ? 'start' : 'wait');
    if (!starts) expect(decision.findings.find(({ trigger }) => trigger === 'drift')?.status).toBe('waits');
  });

  it('never by a trigger that the config leaves out', () => {
    const decision = decideTriggers({ reading: reading(ENOUGH), config: { ...config, watch: ['drift'] } });
    expect(decision).toMatchObject({ kind: 'wait', held: null });
    expect(decision.findings.map(({ trigger }) => trigger)).toEqual(['drift']);
  });
});

it('says in words what was compared, and what is not known', () => {
  const { findings } = decideTriggers({ reading: reading(drift(sums(5_000, 0.1, 0.131))), config });
  const messages = Object.fromEntries(findings.map(({ trigger, reason }) => [trigger, reason.message]));
  expect(messages).toEqual({
    performance: 'not known: not looked at',
    drift:
      'version 7: mean score 0.131 against 0.1 in its evaluation (+31 %, limit 30 %), click-through rate 0.1 against 0.1 in its evaluation (+0 %, limit 30 %)',
    newExamples: '9,999 new labelled examples (10,000 start a cycle)',
  });
});
