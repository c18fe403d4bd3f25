import { randomBytes } from 'node:crypto';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { afterAll, afterEach, beforeAll, inject } from 'vitest';
import { makeCurrent } from '../../scripts/stack/worker-deployment.ts';
import { taskQueue, type WorkerRole } from '../../config/names.ts';
import { replayOptions, workflowBundle } from './workflow-bundle.ts';

const BUILD_ID = 'test';
// The worker's own log drowns the test's.
Runtime.install({ logger: new DefaultLogger('ERROR') });

export interface TestWorker {
  /** Stops polling, waits for its activities as a worker process does on SIGTERM. */
  stop(): Promise<void>;
}

export interface TemporalRig {
  readonly client: Client;
  /** Task queues of this test file alone. */
  readonly queuePrefix: string;
  /** Starts a worker; the rollout worker also runs the workflows. It is stopped after the test at the latest. */
  startWorker(
    role: WorkerRole,
    options: Pick<WorkerOptions, 'activities' | 'maxConcurrentActivityTaskExecutions'>,
  ): Promise<TestWorker>;
}

/**
 * A Temporal client and workers for the tests of one file. After each test its workers are stopped, and every workflow
 * execution that ran in it is replayed against the current code: a workflow that is not deterministic fails the test.
 */
export function useTemporalRig(): TemporalRig {
  const queuePrefix = `test-${randomBytes(6).toString('hex')}`;
  const workers = new Set<TestWorker>();
  const replayed = new Set<string>();
  let connections: { client: Connection; native: NativeConnection } | null = null;
  let client: Client | null = null;

  beforeAll(async () => {
    const address = inject('temporalAddress');
    connections = {
      client: await Connection.connect({ address }),
      native: await NativeConnection.connect({ address }),
    };
    client = new Client({ connection: connections.client });
    // Bundling takes long on a cold start, and must not count as the first test's time.
    await workflowBundle();
  });
  afterEach(async () => {
    await Promise.all([...workers].map((worker) => worker.stop()));
    if (client !== null) await replayExecutions({ client, queuePrefix, replayed });
  });
  afterAll(async () => {
    await connections?.client.close();
    await connections?.native.close();
  });

  return {
    queuePrefix,
    get client() {
      if (client === null) throw new Error('the rig has a client only while tests run');
      return client;
    },
    async startWorker(role, options) {
      if (connections === null || client === null) throw new Error('the rig starts workers only while tests run');
      const worker = await Worker.create({
        connection: connections.native,
        taskQueue: taskQueue(role, queuePrefix),
        workerDeploymentOptions: {
          version: { deploymentName: queuePrefix, buildId: BUILD_ID },
          useWorkerVersioning: true,
          defaultVersioningBehavior: 'PINNED',
        },
        ...(role === 'rollout' ? { workflowBundle: await workflowBundle() } : {}),
        shutdownGraceTime: '5s',
        ...options,
      });
      const done = worker.run();
      done.catch(() => undefined);
      if (role === 'rollout') await makeCurrent(client, { deploymentName: queuePrefix, buildId: BUILD_ID });
      const running: TestWorker = {
        async stop() {
          workers.delete(running);
          if (worker.getState() === 'RUNNING') worker.shutdown();
          await done;
        },
      };
      workers.add(running);
      return running;
    },
  };
}

/** Replays what ran on the rig's queues and was not replayed yet; what is still open is terminated first. */
async function replayExecutions(of: { client: Client; queuePrefix: string; replayed: Set<string> }): Promise<void> {
  const { client, queuePrefix, replayed } = of;
  const query = `TaskQueue STARTS_WITH "${queuePrefix}"`;
  const handles: WorkflowHandle[] = [];
  for await (const execution of client.workflow.list({ query })) {
    if (replayed.has(execution.runId)) continue;
    replayed.add(execution.runId);
    const handle = client.workflow.getHandle(execution.workflowId, execution.runId);
    if (execution.status.name === 'RUNNING') await handle.terminate('the test has ended').catch(() => undefined);
    handles.push(handle);
  }
  for (const handle of handles) {
    await Worker.runReplayHistory(await replayOptions(), await handle.fetchHistory(), handle.workflowId);
  }
}
