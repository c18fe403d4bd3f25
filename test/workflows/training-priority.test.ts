import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BeginCycleInput, BeginCycleResult } from '../../activities/begin-cycle.ts';
import { CYCLE_WORKFLOW, taskQueue } from '../../config/names.ts';
import { Supervisor } from '../../scripts/stack/processes.ts';
import { findTemporalCli } from '../../scripts/stack/temporal-cli.ts';
import { startTemporalServer } from '../../scripts/stack/temporal-server.ts';
import { lineConfig } from '../policy/line-config.ts';
import { workflowBundle } from '../rig/workflow-bundle.ts';
import { replay } from '../rig/workflow-code.ts';

/** Lines that wait for the one device, by Temporal's own queue: a dev server as `freshet up` starts it. */
const PREFIX = 'priority';
const { canary, shadow, gate } = lineConfig();

let folder: string;
let supervisor: Supervisor;
let connections: { client: Connection; native: NativeConnection };
let client: Client;
const priorities = new Map<string, { priorityKey: number; fairnessWeight: number }>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-priority-'));
  supervisor = new Supervisor(join(folder, 'logs'));
  const { path } = await findTemporalCli({ say: console.log });
  const { address } = await startTemporalServer({
    cli: path,
    supervisor,
    preferredPort: 15_700,
    preferredUiPort: null,
  });
  connections = {
    client: await Connection.connect({ address }),
    native: await NativeConnection.connect({ address }),
  };
  client = new Client({ connection: connections.client });
}, 120_000);

afterAll(async () => {
  await connections.native.close();
  await connections.client.close();
  await supervisor.stopAll();
  await rm(folder, { recursive: true, force: true });
});

const activities = {
  beginCycle: ({ line }: BeginCycleInput): Promise<BeginCycleResult> => {
    const trainingPriority = priorities.get(line);
    if (trainingPriority === undefined) throw new Error(`no priority for ${line}`);
    return Promise.resolve({
      kind: 'claimed',
      plan: {
        ...{ champion: null, trigger: 'test', epoch: 1, gate, shadow, canary, trainingTimeoutMs: 60_000 },
        ...{ trainingPriority, minScoreChange: 0, shadowDivergenceSilenced: false, silences: [] },
      },
    });
  },
  takeSnapshot: () => Promise.resolve({ snapshotId: 's', rows: { train: 1, replay: 0, holdout: 1 } }),
  checkSnapshot: () => Promise.resolve({ verdict: 'pass', reasons: [], warnings: [], silenced: [], reportUrl: null }),
  endCycle: ({ outcome }: { outcome: string }) => Promise.resolve({ outcome }),
  savePhases: () => Promise.resolve(),
};

/** Runs cycles of lines, wave by wave, up to their training, then lets one device take them, and says in which order. */
async function orderOf(...waves: { line: string; priorityKey: number; fairnessWeight: number }[][]): Promise<string[]> {
  const connection = connections.native;
  const others = await Promise.all(
    ['rollout', 'data'].map(async (role) =>
      Worker.create({
        connection,
        taskQueue: `${PREFIX}-${role}`,
        activities,
        ...(role === 'rollout' ? { workflowBundle: await workflowBundle() } : {}),
      }),
    ),
  );
  const running = others.map((worker) => worker.run());
  const handles: WorkflowHandle[] = [];
  for (const wave of waves) {
    const started = wave.map(async ({ line, ...priority }) => {
      priorities.set(line, priority);
      const handle = await client.workflow.start(CYCLE_WORKFLOW, {
        workflowId: `${line}-${String(Math.random())}`,
        taskQueue: taskQueue('rollout', PREFIX),
        args: [{ line, trigger: 'test' }],
      });
      await untilTrainingWaits(handle);
      return handle;
    });
    handles.push(...(await Promise.all(started)));
  }
  await untilQueued(waves.flat().length);
  const order: string[] = [];
  const device = await Worker.create({
    connection,
    taskQueue: taskQueue('gpu', PREFIX),
    maxConcurrentActivityTaskExecutions: 1,
    activities: {
      trainChallenger: ({ cycleId }: { cycleId: string }) => {
        order.push(cycleId.replace(/-0\..*/, ''));
        throw ApplicationFailure.nonRetryable('enough is known');
      },
    },
  });
  const training = device.run();
  await Promise.all(handles.map((handle) => handle.result().catch(() => undefined)));
  for (const worker of [...others, device]) worker.shutdown();
  await Promise.all([...running, training]);
  for (const handle of handles.slice(-2)) await replay(handle);
  return order;
}

async function untilTrainingWaits(handle: WorkflowHandle): Promise<void> {
  for (;;) {
    const { raw } = await handle.describe();
    if (raw.pendingActivities?.some(({ activityType }) => activityType?.name === 'trainChallenger')) return;
    await wait(300);
  }
}

/** A task is in the history a moment before it is in the queue that orders it. */
async function untilQueued(tasks: number): Promise<void> {
  for (;;) {
    const { stats } = await connections.client.workflowService.describeTaskQueue({
      ...{ namespace: 'default', taskQueue: { name: taskQueue('gpu', PREFIX) }, reportStats: true },
      taskQueueType: temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    });
    if (Number(stats?.approximateBacklogCount ?? 0) >= tasks) return;
    await wait(200);
  }
}

describe('trainings that wait for a device', () => {
  it('come in the order of their priorities, and a line of more weight before those that came before it', async () => {
    const small = Array.from({ length: 30 }, (_, place) => `small-${String(place)}`);

    const order = await orderOf(
      [{ line: 'patient', priorityKey: 5, fairnessWeight: 1_000 }],
      small.map((line) => ({ line, priorityKey: 3, fairnessWeight: 1 })),
      [{ line: 'feed', priorityKey: 3, fairnessWeight: 100 }],
      [{ line: 'urgent', priorityKey: 1, fairnessWeight: 1 }],
    );

    expect(order.slice(0, 2)).toEqual(['urgent', 'feed']);
    expect(order.slice(2, -1).toSorted()).toEqual(small.toSorted());
    expect(order.at(-1)).toBe('patient');
  });
});
