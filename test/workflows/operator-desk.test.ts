import { expect, test } from 'vitest';
import { OperatorDesk } from '../../workflows/operator-desk.ts';

const UNTIL = Date.UTC(2026, 0, 5, 12);
const approval = { version: 7, who: 'ann', reason: 'looked at the slices' };

/** Version 7 waits for approval until noon; now it is eleven. */
function asked(change: (desk: OperatorDesk) => void = () => undefined): OperatorDesk {
  const desk = new OperatorDesk();
  desk.askForApproval({ version: 7, untilMs: UNTIL });
  change(desk);
  return desk;
}

test('a decision on the version that waits is taken', () => {
  const desk = asked();
  desk.validateDecision(approval, UNTIL - 1);
  expect(desk.decide('approved', approval)).toBe('version 7 approved by ann');
  expect(desk.decision).toEqual({ kind: 'approved', ...approval });
});

test.each([
  ['nothing waits', new OperatorDesk(), {}, /no version waits for approval/],
  [
    'the wait is over',
    asked((desk) => {
      desk.closeApproval();
    }),
    {},
    /no version waits for approval/,
  ],
  ['another version waits', asked(), { version: 6 }, /version 7 waits for approval, not 6/],
  ['the name is missing', asked(), { who: ' ' }, /say who decides \(--who NAME\)/],
  ['the name was not sent', asked(), { who: undefined as unknown as string }, /say who decides/],
  ['the name is nothing that can be kept', asked(), { who: '\0 ' }, /say who decides/],
  ['the reason is missing', asked(), { reason: '' }, /say why \(--reason TEXT\)/],
  ['somebody decided already', asked((desk) => desk.decide('rejected', approval)), {}, /already rejected by ann/],
  [
    'somebody stopped the cycle',
    asked((desk) => {
      desk.requestStop('abort', { who: 'bob', reason: 'no' });
    }),
    {},
    /bob already asked for abort/,
  ],
] as const)('a decision is refused when %s', (_, desk, change, sentence) => {
  expect(() => {
    desk.validateDecision({ ...approval, ...change }, UNTIL - 1);
  }).toThrow(sentence);
});

test('a decision is refused from the deadline on', () => {
  expect(() => {
    asked().validateDecision(approval, UNTIL);
  }).toThrow(/the approval deadline, 2026-01-05T12:00:00.000Z, has/);
});

test('a decision is what was called, whatever else the message says, in text that can be kept', () => {
  const desk = asked();
  desk.decide('rejected', { ...approval, kind: 'approved', who: 'an\0n', reason: 'odd \ud800' } as never);
  expect(desk.decision).toEqual({ kind: 'rejected', version: 7, who: 'ann', reason: 'odd' });
});

test.each([
  ['without a message', undefined],
  ['without fields', {}],
  ['of another kind', { kind: 'abort', who: 5, reason: '\0' }],
])('a stop is never refused: %s', (_, message) => {
  const desk = new OperatorDesk();
  desk.requestStop('forceRollback', message as never);
  expect(desk.stop).toEqual({
    kind: 'forceRollback',
    who: 'an operator who gave no name',
    reason: 'no reason given',
  });
  desk.pause(message as never, 1);
  expect(desk.paused).toMatchObject({ who: 'an operator who gave no name', sinceMs: 1 });
});
