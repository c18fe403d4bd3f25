import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { currentRoute } from '../../store/routes.ts';
import { createInstallation, untilStatus, type TestInstallation } from '../rig/installation.ts';
import { RolloutProcess } from '../rig/rollout-process.ts';
import { replay } from '../rig/workflow-code.ts';

let freshet: TestInstallation;
let rollout: RolloutProcess;

beforeAll(async () => {
  freshet = await createInstallation({ sharePreparation: true });
  await freshet.coldStart();
  await freshet.stopWorker('rollout');
  rollout = new RolloutProcess(freshet.env);
});

afterEach(async () => {
  await freshet.settle();
});

afterAll(async () => {
  await rollout.kill();
  await freshet.close();
});

describe('a rollout worker that is killed during the canary', () => {
  it('is picked up where it was when it comes back within the lease: the canary goes on and is promoted', async () => {
    await rollout.start();
    await freshet.configure({ canary: { window: '6s', lease: '39s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);

    await rollout.kill();
    await wait(500);
    await rollout.start();

    const result = await handle.result();
    expect(result.outcome, JSON.stringify(result.reasons)).toBe('promoted');
    await replay(handle);
  });

  it('costs the canary its lease when it stays away: gateways are back on stable by themselves, the cycle rolls back', async () => {
    const { stable } = await currentRoute(freshet.db, freshet.line);
    await freshet.configure({ canary: { window: '60s', lease: '3s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent, checks }) => canaryPercent !== null && checks.total > 2);

    await rollout.kill();
    await wait(4_000);
    // No monitor for longer than the lease, and the route in Postgres still names the canary.
    expect((await currentRoute(freshet.db, freshet.line)).canary).not.toBeNull();
    const answered = freshet.traffic.stats.byArm['canary'];
    await wait(1_000);
    expect(freshet.traffic.stats.byArm['canary']).toBe(answered);
    await rollout.start();

    const result = await handle.result();
    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('lease.expired');
    expect(await currentRoute(freshet.db, freshet.line)).toMatchObject({ stable, canary: null });
    expect(freshet.traffic.stats.failed).toBe(0);
    await replay(handle);
  });
});
