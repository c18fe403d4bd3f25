import { expect, it } from 'vitest';
import { DevicePool, type DeviceLease } from '../../activities/trainer-devices.ts';

const never = new AbortController().signal;

function ask(pool: DevicePool, wanted: number, signal: AbortSignal = never) {
  const state: { lease: DeviceLease | null; waited: boolean; error: unknown } = {
    lease: null,
    waited: false,
    error: null,
  };
  const settled = pool
    .acquire({
      wanted,
      signal,
      onWait: () => {
        state.waited = true;
      },
    })
    .then(
      (lease) => {
        state.lease = lease;
      },
      (error: unknown) => {
        state.error = error;
      },
    );
  return { state, settled };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('gives each device to one training at a time, and takes it back once', async () => {
  const pool = new DevicePool({ gpus: ['0', '1'] });
  const [a, b, c] = [ask(pool, 1), ask(pool, 1), ask(pool, 1)];
  await turn();
  expect([a, b, c].map(({ state }) => state.lease?.gpus)).toEqual([['0'], ['1'], undefined]);
  expect([a, b, c].map(({ state }) => state.waited)).toEqual([false, false, true]);

  b.state.lease?.release();
  b.state.lease?.release();
  const d = ask(pool, 1);
  await turn();
  expect([c.state.lease?.gpus, d.state.lease]).toEqual([['1'], null]);
});

it('lets nobody overtake a training that waits for several devices', async () => {
  const pool = new DevicePool({ gpus: ['0', '1', '2'] });
  const small = ask(pool, 1);
  const large = ask(pool, 3);
  const later = ask(pool, 1);
  await turn();
  expect([large.state.lease, later.state.lease]).toEqual([null, null]);

  small.state.lease?.release();
  await turn();
  expect(large.state.lease?.gpus).toHaveLength(3);
  expect(later.state.lease).toBeNull();
});

it('lets those behind pass when the one they wait for is cancelled', async () => {
  const pool = new DevicePool({ gpus: ['0', '1'] });
  const stop = new AbortController();
  ask(pool, 1);
  const large = ask(pool, 2, stop.signal);
  const later = ask(pool, 1);
  await turn();
  expect(later.state.lease).toBeNull();

  stop.abort();
  await large.settled;
  await later.settled;
  expect(large.state.error).toMatchObject({ name: 'CancelledFailure' });
  expect(later.state.lease?.gpus).toEqual(['1']);
});

it('grants no more devices than there are, and one place each on the CPU', () => {
  expect(new DevicePool({ gpus: ['0', '1'] }).available(8)).toBe(2);
  expect(new DevicePool({ gpus: ['0', '1'] }).available(1)).toBe(1);
  expect(new DevicePool({ cpuTrainings: 4 }).available(4)).toBe(1);
  expect(() => new DevicePool({ gpus: ['0', '0'] })).toThrow(/each once/);
});
