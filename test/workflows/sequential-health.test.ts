import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import { abortSignal, forceRollbackSignal, pauseSignal } from '../../workflows/messages.ts';
import {
  createInstallation,
  fixtureTrainer,
  servesAlone,
  untilStatus,
  type TestInstallation,
} from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

const SEQUENTIAL: Partial<LineConfigInput> = {
  shadow: { duration: '1s', minRequests: 1 },
  canary: { window: '4s', checkEvery: '1s' },
  watch: { window: '1s' },
  health: { mode: 'sequential' },
};

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation({ sharePreparation: true });
  await freshet.coldStart();
});
afterEach(async () => {
  await freshet.settle();
});
afterAll(async () => {
  await freshet.close();
});

describe('a canary watched by the sequential evidence', () => {
  it('is promoted when it does as stable does', async () => {
    const result = await freshet.runCycle(SEQUENTIAL);
    expect(result.outcome).toBe('promoted');
  });

  it('is rolled back at an alarm, before a check is over', async () => {
    const result = await freshet.runCycle({
      ...SEQUENTIAL,
      canary: { window: '60s', checkEvery: '12s' },
      watch: { window: '0s' },
      training: { command: fixtureTrainer('falling') },
      gate: { tolerance: 1, thresholds: [] },
      silences: [
        { guard: 'shadow.divergence', until: '2999-01-01T00:00:00Z', reason: 'test: let it reach the canary' },
      ],
    });
    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('breaker.alarm');
    expect(result.reasons[1]?.code).toMatch(/^health\.sequential\.\w+\.alarm$/);
    expect(result.rollback?.firstFailedCheckAtMs).not.toBeNull();
    await servesAlone(freshet, 2);
  });

  it.each([
    ['forceRollback', forceRollbackSignal, 'rolledBack'],
    ['abort', abortSignal, 'aborted'],
  ] as const)('obeys %s at once, in the middle of a check', async (_, signal, outcome) => {
    await freshet.configure({
      ...SEQUENTIAL,
      canary: { window: '600s', checkEvery: '18s' },
      watch: { window: '0s' },
    });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);
    await wait(1_000);
    await handle.signal(pauseSignal, { who: 'ann', reason: 'look' });
    await untilStatus(handle, ({ paused }) => paused !== null);
    const before = Date.now();
    await handle.signal(signal, { who: 'ann', reason: 'now' });
    const result = await handle.result();
    expect(result.outcome).toBe(outcome);
    // The check had 16 s to go.
    expect((result.rollback?.decidedAtMs ?? Infinity) - before).toBeLessThan(5_000);
    await replay(handle);
    await servesAlone(freshet, 2);
  });
});
