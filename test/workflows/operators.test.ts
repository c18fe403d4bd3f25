import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { currentRoute } from '../../store/routes.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { readCycle } from '../../store/cycles.ts';
import { abortSignal, forceRollbackSignal, pauseSignal, resumeSignal } from '../../workflows/messages.ts';
import {
  createInstallation,
  fixtureTrainer,
  servesAlone,
  untilStatus,
  type TestInstallation,
} from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

const ann = { who: 'ann', reason: 'the editors complain' };
/** Long enough to act in. */
const LONG_CANARY = { canary: { window: '60s' } } as const;

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation({ sharePreparation: true });
  await freshet.coldStart();
});

beforeEach(async () => {
  await freshet.configure(LONG_CANARY);
});

afterEach(async () => {
  await freshet.settle();
});

afterAll(async () => {
  await freshet.close();
});

describe('before shadow', () => {
  it.each([
    ['forceRollback', forceRollbackSignal],
    ['abort', abortSignal],
  ] as const)('%s ends the trainer and aborts, stable untouched', async (name, signal) => {
    await freshet.configure({ training: { command: fixtureTrainer('rising', 'slow') } });
    const before = await currentRoute(freshet.db, freshet.line);
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ phase }) => phase === 'train');

    await handle.signal(signal, ann);
    const result = await handle.result();

    expect(result).toMatchObject({ outcome: 'aborted', rollback: null });
    expect(result.reasons[0]?.message).toBe(`${name} by ann: the editors complain`);
    expect((await currentRoute(freshet.db, freshet.line)).epoch).toBe(before.epoch);
    await replay(handle);
  });

  it('a pause holds between two phases, and aborts at its limit', async () => {
    await freshet.configure({
      training: { command: fixtureTrainer('rising', 'slow') },
      canary: { pauseLimit: '400ms' },
    });
    const handle = await freshet.startCycle();
    await handle.signal(pauseSignal, ann);

    const result = await handle.result();

    expect(result.outcome).toBe('aborted');
    expect(result.reasons[0]?.code).toBe('pause.expired');
    await replay(handle);
  });
});

describe('during the canary', () => {
  it('a pause holds the ramp while checks and lease go on; forceRollback wins over it', async () => {
    await freshet.configure({ canary: { window: '2s', lease: '5s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);
    await handle.signal(pauseSignal, ann);
    const paused = await untilStatus(handle, (status) => status.paused !== null);

    // Twice the window, and longer than the lease: only renewals keep it.
    const later = await untilStatus(handle, ({ checks }) => checks.total >= paused.checks.total + 30);
    expect(later).toMatchObject({ phase: 'canary', canaryPercent: paused.canaryPercent, paused: ann });
    await handle.signal(forceRollbackSignal, ann);

    const result = await handle.result();
    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('operator.forceRollback');
    expect(result.rollback?.firstFailedCheckAtMs).toBeNull();
    expect(result.rollback?.confirmedAtMs).toBeGreaterThanOrEqual(result.rollback?.decidedAtMs ?? Infinity);
    await replay(handle);
    await servesAlone(freshet, 1);
  });

  it('goes on with the ramp after resume', async () => {
    await freshet.configure({ canary: { window: '3s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);
    await handle.signal(pauseSignal, ann);
    await untilStatus(handle, (status) => status.paused !== null);
    await handle.signal(resumeSignal, ann);
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent === 80);
    await handle.signal(abortSignal, ann);

    expect((await handle.result()).outcome).toBe('aborted');
    await replay(handle);
    await servesAlone(freshet, 1);
  });

  it('a pause that is forgotten rolls back at its limit', async () => {
    await freshet.configure({ canary: { window: '60s', pauseLimit: '600ms' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);
    await handle.signal(pauseSignal, ann);

    const result = await handle.result();
    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('pause.expired');
    await replay(handle);
  });

  it('Cancel in the Temporal UI aborts and takes the candidate off the route', async () => {
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);

    await handle.cancel();

    expect((await handle.result()).outcome).toBe('aborted');
    await replay(handle);
    await servesAlone(freshet, 1);
  });

  it('Terminate compensates nothing: the next cycle removes what was left before it begins', async () => {
    const dead = await freshet.startCycle();
    const { version } = await untilStatus(dead, ({ canaryPercent }) => canaryPercent !== null);
    await dead.terminate('by hand');
    expect((await currentRoute(freshet.db, freshet.line)).canary).toBe(version);

    const result = await freshet.runCycle({ gate: { thresholds: [{ metric: 'auc', min: 0.99 }] } });

    expect(result.outcome).toBe('rejected');
    await servesAlone(freshet, 1);
  });

  it('a direct rollback, without Temporal, closes the cycle; the cycle then writes nothing more', async () => {
    const handle = await freshet.startCycle();
    const { cycleId } = await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);

    await operatorRollback(freshet.db, {
      line: freshet.line,
      who: 'ann',
      why: 'Temporal is down',
      alert: {
        dedupKey: `direct-${String(cycleId)}`,
        severity: 'warning',
        page: false,
        line: freshet.line,
        title: 't',
        text: '',
        fields: {},
      },
    });
    const { epoch } = await currentRoute(freshet.db, freshet.line);
    const result = await handle.result();

    expect(result.outcome).toBe('rolledBack');
    expect((await currentRoute(freshet.db, freshet.line)).epoch).toBe(epoch);
    expect((await readCycle(freshet.db, cycleId ?? '')).outcome).toBe('rolledBack');
    await replay(handle);
    await servesAlone(freshet, 1);
  });
});
