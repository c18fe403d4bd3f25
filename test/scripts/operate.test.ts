import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { deleteSchedules } from '../../activities/schedule.ts';
import { openCycle } from '../../store/cycles.ts';
import type { CycleRecord } from '../../store/types.ts';
import { runFreshet } from '../rig/freshet.ts';
import { createInstallation, type TestInstallation } from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

const PATIENCE = { timeout: 60_000, interval: 100 };
const TIMEOUT_MS = 180_000;
let folder: string;
let installation: TestInstallation;
let line: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-operate-'));
  installation = await createInstallation();
  ({ line } = installation);
  await installation.coldStart();
  const config = await installation.configure({ canary: { window: '60s' }, gate: { approval: 'always' } });
  // Every JSON document is YAML.
  writeFileSync(join(folder, 'line.yaml'), JSON.stringify(config));
}, TIMEOUT_MS);
afterAll(async () => {
  await deleteSchedules(installation.client, line);
  await installation.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', installation.env.DATABASE_URL);
  vi.stubEnv('TEMPORAL_ADDRESS', installation.env.TEMPORAL_ADDRESS);
  vi.stubEnv('FRESHET_QUEUE_PREFIX', installation.queuePrefix);
  vi.stubEnv('FRESHET_DIR', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test(
  'a cycle is started by hand, approved, paused, resumed and rolled back from the command line',
  { timeout: TIMEOUT_MS },
  async () => {
    expect(await runFreshet('schedule', 'apply', join(folder, 'line.yaml'))).toMatchObject({ code: 0 });
    expect(await runFreshet('cycle', 'start', line, '--who', 'ada', '--reason', 'new catalogue')).toMatchObject({
      code: 0,
    });
    await untilStatus('waits for approval of version 2');
    const cycle = await runningCycle();
    expect(cycle.trigger).toContain('manual');
    await untilStatus('started by manual: new catalogue (ada)');

    const wrong = await runFreshet('approve', line, '--version', '7', '--reason', 'looked');
    expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/^refused: /) as string });
    expect(await runFreshet('approve', line, '--version', '2', '--reason', 'looked')).toMatchObject({ code: 0 });
    await untilStatus('canary 2 at');

    await runFreshet('pause', line, '--who', 'ada', '--reason', 'looking at a slice');
    await untilStatus('paused by ada (looking at a slice)');
    await runFreshet('resume', line, '--reason', 'looks fine');
    await vi.waitFor(async () => {
      expect((await runFreshet('status', line)).out).not.toContain('paused');
    }, PATIENCE);

    const rolledBack = await runFreshet('rollback', line, '--who', 'ada', '--reason', 'enough', '--json');
    expect(rolledBack.code).toBe(0);
    expect(JSON.parse(rolledBack.out)).toMatchObject({ stable: 1, outcome: 'rolledBack', confirmed: true });
    const status = await runFreshet('status', line);
    expect(status.out).toMatch(/cycle +none is running/);
    expect(status.out).toMatch(/rolledBack +version 2 +manual/);
    expect((await runFreshet('versions', line)).out).toMatch(/2 +rolledBack +1/);
    await ended(cycle);
  },
);

test('abort ends the running cycle', { timeout: TIMEOUT_MS }, async () => {
  await runFreshet('schedule', 'apply', join(folder, 'line.yaml'));
  await runFreshet('cycle', 'start', line);
  const cycle = await runningCycle();
  expect(await runFreshet('abort', line, '--reason', 'wrong config')).toMatchObject({ code: 0 });
  expect(await ended(cycle)).toMatchObject({ outcome: 'aborted' });
});

test(
  'rollback --to in the middle of a cycle puts the version back and ends the run',
  { timeout: TIMEOUT_MS },
  async () => {
    await runFreshet('cycle', 'start', line);
    const cycle = await runningCycle();
    const rolledBack = await runFreshet('rollback', line, '--to', '0', '--who', 'ada', '--reason', 'all bad', '--json');
    expect(JSON.parse(rolledBack.out)).toMatchObject({ from: 1, stable: 0, cycle: cycle.cycleId, confirmed: true });
    expect(await ended(cycle)).toMatchObject({ outcome: 'aborted' });
    expect((await runFreshet('status', line)).out).toContain('serving   the input order (version 0)');
  },
);

async function untilStatus(text: string): Promise<void> {
  await vi.waitFor(async () => {
    expect((await runFreshet('status', line)).out).toContain(text);
  }, PATIENCE);
}

async function runningCycle(): Promise<CycleRecord> {
  return vi.waitFor(async () => {
    const cycle = await openCycle(installation.db, line);
    if (cycle === null) throw new Error('no cycle is running yet');
    return cycle;
  }, PATIENCE);
}

async function ended({ workflowId, runId }: CycleRecord): Promise<unknown> {
  const handle = installation.client.workflow.getHandle(workflowId, runId);
  const result: unknown = await handle.result();
  await replay(handle);
  return result;
}
