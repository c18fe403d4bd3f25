import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { expect, it } from 'vitest';
import {
  asFailure,
  endOfTry,
  explainExit,
  explainStart,
  onDisk,
  type TrainerFailureType,
} from '../../activities/trainer-errors.ts';

const exits: [string, { code: number | null; signal?: string }, TrainerFailureType, boolean, RegExp][] = [
  ['bad data', { code: 2 }, 'TrainerInputError', false, /correct the config or the data/],
  ['NaN loss', { code: 3 }, 'TrainerNumericalError', false, /learningRate/],
  ['no device memory', { code: 4 }, 'TrainerOutOfMemory', false, /batchSize/],
  ['a full disk', { code: 5 }, 'TrainerDiskFull', true, /FRESHET_WORK_ROOT/],
  ['a missing program', { code: 127 }, 'TrainerNotFound', false, /training\.command/],
  ['a program that may not be run', { code: 126 }, 'TrainerNotFound', false, /training\.command/],
  ['SIGKILL', { code: null, signal: 'SIGKILL' }, 'TrainerKilled', true, /memory killer/],
  ["a shell's SIGKILL", { code: 137 }, 'TrainerKilled', true, /memory killer/],
  ['SIGTERM, with its checkpoint saved', { code: 143 }, 'TrainerStopped', true, /goes on from its checkpoint/],
  ['SIGTERM', { code: null, signal: 'SIGTERM' }, 'TrainerStopped', true, /goes on from its checkpoint/],
  ['a crash', { code: null, signal: 'SIGSEGV' }, 'TrainerFailed', true, /SIGSEGV/],
  ['an exception', { code: 1 }, 'TrainerFailed', true, /exited with code 1: why$/],
];

it.each(exits)('names %s', (_, { code, signal = null }, type, retryable, message) => {
  const failure = explainExit({ code, signal, said: 'why' });

  expect(failure).toMatchObject({ type, retryable });
  expect(failure.message).toMatch(message);
  expect(failure.message).toMatch(/: why/);
});

it.each([
  ['ENOENT', 'TrainerNotFound', false],
  ['EACCES', 'TrainerNotFound', false],
  ['EAGAIN', 'TrainerFailed', true],
] as const)('names a start that failed with %s', (code, type, retryable) => {
  const error = Object.assign(new Error(`spawn x ${code}`), { code });

  expect(explainStart(error, ['x', '-y'])).toMatchObject({ type, retryable });
});

it('tells Temporal what not to retry, and when to', () => {
  const full = asFailure(explainExit({ code: 5, signal: null, said: null }));
  expect(full).toMatchObject({ type: 'TrainerDiskFull', nonRetryable: false, nextRetryDelay: 60_000 });
  expect(asFailure(explainExit({ code: 2, signal: null, said: null })).nonRetryable).toBe(true);
});

it.each([
  [{ attempt: 4, checkpointedIn: 0 }, false],
  [{ attempt: 5, checkpointedIn: 0 }, true],
  [{ attempt: 40, checkpointedIn: 40 }, false],
  [{ attempt: 45, checkpointedIn: 40 }, true],
])('gives up after tries in vain: %o', (tries, nonRetryable) => {
  expect(asFailure(explainExit({ code: 1, signal: null, said: 'why' }), tries).nonRetryable).toBe(nonRetryable);
});

const full = (): ApplicationFailure => asFailure(explainExit({ code: 5, signal: null, said: 'no space' }));

it.each<[string, unknown, number, { type: string; nonRetryable: boolean }]>([
  ['an early try', new Error('Postgres is gone'), 1, { type: 'TrainingBlocked', nonRetryable: false }],
  ['the fifth in vain', new Error('Postgres is gone'), 5, { type: 'TrainingBlocked', nonRetryable: true }],
  ['a full disk', full(), 4, { type: 'TrainerDiskFull', nonRetryable: false }],
  ['a full disk for the fifth time', full(), 5, { type: 'TrainerDiskFull', nonRetryable: true }],
])('keeps the reason at the end of %s', (_, error, attempt, expected) => {
  const end = endOfTry(error, { attempt, checkpointedIn: 0, cancelled: false });

  expect(end).toMatchObject(expected);
  expect((end as Error).message).toContain(error instanceof Error ? error.message : '');
});

it('takes whatever goes wrong in a cancelled training for its cancellation', () => {
  const end = endOfTry(new Error('the folder is gone'), { attempt: 1, checkpointedIn: 0, cancelled: true });

  expect(end).toBeInstanceOf(CancelledFailure);
});

it.each(['ENOSPC', 'EDQUOT'])(
  'names a full disk that our own writes meet (%s), and passes other errors on',
  async (code) => {
    const write = (error: Error): Promise<never> => onDisk('the manifest', () => Promise.reject(error));

    const full = await write(Object.assign(new Error('no'), { code })).catch((error: unknown) => error);
    expect(full).toBeInstanceOf(ApplicationFailure);
    expect(full).toMatchObject({ type: 'TrainerDiskFull', nonRetryable: false });
    await expect(write(new Error('another'))).rejects.toThrow('another');
  },
);
