import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { entryPoint } from '../../scripts/stack/project.ts';
import { currentRoute } from '../../store/routes.ts';
import { createInstallation, untilStatus, type TestInstallation } from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

let freshet: TestInstallation;
let rollout: ChildProcess | null = null;

beforeAll(async () => {
  freshet = await createInstallation();
  await freshet.coldStart();
  // From here on the rollout worker is a process of its own, so that it can be killed.
  await freshet.stopWorker('rollout');
});

afterEach(async () => {
  await freshet.settle();
});

afterAll(async () => {
  await kill();
  await freshet.close();
});

async function startRolloutWorker(): Promise<void> {
  const env = Object.fromEntries(Object.entries(freshet.env).map(([name, value]) => [name, String(value)]));
  rollout = spawn(process.execPath, [...entryPoint('workers/main.ts'), 'rollout'], {
    env: { ...process.env, ...env, LOG_LEVEL: 'fatal' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { stdout } = rollout;
  if (stdout === null) throw new Error('the worker has no standard output');
  for await (const line of createInterface({ input: stdout })) if (line.includes('"running"')) return;
}

async function kill(): Promise<void> {
  if (rollout === null || rollout.exitCode !== null || rollout.signalCode !== null) return;
  const gone = once(rollout, 'exit');
  rollout.kill('SIGKILL');
  await gone;
}

describe('a rollout worker that is killed during the canary', () => {
  it('is picked up where it was when it comes back within the lease: the canary goes on and is promoted', async () => {
    await startRolloutWorker();
    await freshet.configure({ canary: { window: '6s', lease: '39s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);

    await kill();
    await wait(500);
    await startRolloutWorker();

    const result = await handle.result();
    expect(result.outcome, JSON.stringify(result.reasons)).toBe('promoted');
    await replay(handle);
  });

  it('costs the canary its lease when it stays away: gateways are back on stable by themselves, the cycle rolls back', async () => {
    const { stable } = await currentRoute(freshet.db, freshet.line);
    await freshet.configure({ canary: { window: '60s', lease: '3s' } });
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent, checks }) => canaryPercent !== null && checks.total > 2);

    await kill();
    await wait(4_000);
    // No monitor for longer than the lease, and the route in Postgres still names the canary.
    expect((await currentRoute(freshet.db, freshet.line)).canary).not.toBeNull();
    const answered = freshet.traffic.stats.byArm['canary'];
    await wait(1_000);
    expect(freshet.traffic.stats.byArm['canary']).toBe(answered);
    await startRolloutWorker();

    const result = await handle.result();
    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('lease.expired');
    expect(await currentRoute(freshet.db, freshet.line)).toMatchObject({ stable, canary: null });
    expect(freshet.traffic.stats.failed).toBe(0);
    await replay(handle);
  });
});
