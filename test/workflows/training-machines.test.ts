import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { defaultPayloadConverter } from '@temporalio/common';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingHeartbeat } from '../../activities/trainer-heartbeats.ts';
import { listCycles } from '../../store/cycles.ts';
import { listVersions } from '../../store/versions.ts';
import { startWorker, type RunningWorker } from '../../workers/start-worker.ts';
import { createInstallation, fixtureTrainer, type CycleHandle, type TestInstallation } from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

/** Machines of the gpu queue that share nothing but Temporal, Postgres and the artifacts. */
let freshet: TestInstallation;
let folder: string;
const machines: RunningWorker[] = [];

beforeAll(async () => {
  freshet = await createInstallation();
  folder = await mkdtemp(join(tmpdir(), 'freshet-machines-'));
  await freshet.stopWorker('gpu');
  await freshet.traffic.untilImpressions(400);
});

afterEach(async () => {
  for (const machine of machines.splice(0)) await machine.stop();
});

afterAll(async () => {
  await freshet.settle();
  await freshet.close();
  await rm(folder, { recursive: true, force: true });
});

async function startMachine(): Promise<RunningWorker> {
  const machine = await startWorker('gpu', {
    env: { ...freshet.env, FRESHET_WORK_ROOT: join(folder, randomBytes(4).toString('hex')) },
    logger: pino({ level: 'fatal' }),
    processEnv: {},
  });
  machines.push(machine);
  return machine;
}

/** What Temporal, and so its UI, knows of the training. */
async function heartbeatOf(handle: CycleHandle): Promise<TrainingHeartbeat | null> {
  const { raw } = await handle.describe();
  const training = raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'trainChallenger');
  const [payload] = training?.heartbeatDetails?.payloads ?? [];
  return payload ? defaultPayloadConverter.fromPayload<TrainingHeartbeat>(payload) : null;
}

async function untilHeartbeat(
  handle: CycleHandle,
  reached: (beat: TrainingHeartbeat) => boolean,
): Promise<TrainingHeartbeat> {
  for (;;) {
    const beat = await heartbeatOf(handle);
    if (beat !== null && reached(beat)) return beat;
    await wait(50);
  }
}

describe('a training', () => {
  it('shows in Temporal how far it is, and goes on from its checkpoint on another machine when its own is taken away', async () => {
    await freshet.configure({
      training: { command: [...fixtureTrainer('rising', 'steps'), '--steps', '30', '--pause', '100'] },
    });
    const first = await startMachine();
    const handle = await freshet.startCycle();
    const beat = await untilHeartbeat(handle, ({ checkpoint }) => (checkpoint?.step ?? 0) >= 3);
    expect(beat).toMatchObject({ state: 'training', attempt: 1, device: 'CPU', steps: 30, samplesPerSecond: 1_000 });
    expect(Date.parse(String(beat.expectedEnd))).toBeGreaterThan(Date.now() - 10_000);

    await first.stop();
    await startMachine();

    const later = await untilHeartbeat(handle, ({ attempt, step }) => attempt === 2 && step !== undefined);
    expect(later.step).toBeGreaterThan(3);
    const result = await handle.result();
    expect(result.outcome, JSON.stringify(result.reasons)).toBe('promoted');
    const [version] = await listVersions(freshet.db, freshet.line);
    // It lost nothing that was saved when the first machine was told to go.
    expect(Number(version?.lineage.environment?.['resumedAt'])).toBeGreaterThanOrEqual(3);
    await replay(handle);
  });

  it('that saves checkpoints and never ends gives its line back after twice its timeout', async () => {
    await freshet.configure({
      training: { command: [...fixtureTrainer('rising', 'steps'), '--steps', '9999', '--pause', '100'], timeout: '3s' },
    });
    await startMachine();
    const handle = await freshet.startCycle();

    await expect(handle.result()).rejects.toMatchObject({
      cause: { type: 'TrainingFailed', message: expect.stringMatching(/it took longer than it may/) as string },
    });
    const [cycle] = await listCycles(freshet.db, { line: freshet.line });
    expect(cycle?.outcome).toBe('failed');
  });
});
