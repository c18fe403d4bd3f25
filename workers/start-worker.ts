import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createDataActivities, createGpuActivities, createRolloutActivities } from '../activities/index.ts';
import type { CoreDependencies, GpuDependencies } from '../activities/dependencies.ts';
import { taskQueue, type WorkerRole } from '../config/names.ts';
import { alertChannelsFromEnv } from '../integrations/alert-channels.ts';
import { createGatewayTarget } from '../integrations/gateway-target.ts';
import { openLocalInventory } from '../store/artifact-inventory.ts';
import { openLocalArtifacts, type ArtifactStore } from '../store/artifacts.ts';
import { openDatabase } from '../store/database.ts';
import { whyRemoved } from '../store/removed-artifacts.ts';
import { openLocalScratch } from '../store/scratch-artifacts.ts';
import { startAlertDelivery } from './alert-delivery.ts';
import { codeVersion } from './code-version.ts';
import type { WorkerEnvironment } from './environment.ts';
import { findDevices, listDevices } from './gpu-devices.ts';
import { startLogKeeping } from './log-keeping.ts';
import { startMlflowMirror } from './mlflow-mirror.ts';
import { startPruning } from './prune-loop.ts';
import { startReportServer } from './report-server.ts';
import { startRetention } from './retention-loop.ts';

export interface RunningWorker {
  /** Stops polling, lets running activities end (a trainer saves its checkpoint), and closes the connections. */
  stop: () => Promise<void>;
  /** Rejects when the worker dies by itself. */
  done: Promise<void>;
}

export interface StartWorkerOptions {
  env: WorkerEnvironment;
  logger: Logger;
  /** Where alert channels are configured; this process's environment when left out. */
  processEnv?: NodeJS.ProcessEnv;
  /** Workflow code that is bundled already; the build's bundle, or else the sources, when left out. */
  workflowBundle?: NonNullable<WorkerOptions['workflowBundle']>;
  /** Put over what the role asks for. */
  overrides?: Pick<WorkerOptions, 'interceptors' | 'maxConcurrentActivityTaskExecutions'>;
}

/**
 * Cancellation reaches an activity with the answer to a heartbeat, and heartbeats are throttled to four fifths of their
 * timeout unless told otherwise: a trainer would hear of it half a minute late.
 */
const HEARTBEAT_THROTTLE = '1s';
/** Time running activities get to end by themselves before they are cancelled on shutdown. */
const SHUTDOWN_GRACE = '15s';

/**
 * Starts one of the three workers in this process. The rollout worker also runs the workflows and delivers alerts, so a
 * rollback needs nothing but this process, Temporal and Postgres.
 *
 * @throws Error that names the address when Temporal or Postgres can not be reached.
 */
export async function startWorker(role: WorkerRole, options: StartWorkerOptions): Promise<RunningWorker> {
  const { env, logger } = options;
  const connection = await connectWorker(env);
  const db = openDatabase(env.DATABASE_URL);
  await Promise.all([env.FRESHET_ARTIFACTS, env.FRESHET_WORK_ROOT].map((folder) => mkdir(folder, { recursive: true })));
  const core: CoreDependencies = { db, logger, uiUrl: env.TEMPORAL_UI_URL ?? null, codeVersion: codeVersion() };
  const closers: (() => Promise<void>)[] = [];
  const worker = await Worker.create({
    connection,
    namespace: env.TEMPORAL_NAMESPACE,
    taskQueue: taskQueue(role, env.FRESHET_QUEUE_PREFIX),
    shutdownGraceTime: SHUTDOWN_GRACE,
    maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
    defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
    ...deployment(env),
    ...(await roleOptions(role, { ...options, core, closers })),
    ...options.overrides,
  });
  const done = worker.run().finally(async () => {
    for (const close of closers) await close();
    await db.end();
    await connection.close();
  });
  done.catch(() => undefined);
  return {
    done,
    async stop() {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await done.catch(() => undefined);
    },
  };
}

async function connectWorker(env: WorkerEnvironment): Promise<NativeConnection> {
  try {
    return await NativeConnection.connect({ address: env.TEMPORAL_ADDRESS });
  } catch (error) {
    throw new Error(
      `Temporal can not be reached at ${env.TEMPORAL_ADDRESS}: start it (npm run freshet -- up) or set TEMPORAL_ADDRESS`,
      { cause: error },
    );
  }
}

/** Worker versioning is on once a build id is given: a cycle then ends on the build it began on (PINNED). */
function deployment(env: WorkerEnvironment): Partial<WorkerOptions> {
  if (env.FRESHET_BUILD_ID === undefined) return {};
  return {
    workerDeploymentOptions: {
      version: { deploymentName: env.FRESHET_QUEUE_PREFIX, buildId: env.FRESHET_BUILD_ID },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'PINNED',
    },
  };
}

async function roleOptions(
  role: WorkerRole,
  of: StartWorkerOptions & { core: CoreDependencies; closers: (() => Promise<void>)[] },
): Promise<Partial<WorkerOptions>> {
  const { env, core, closers } = of;
  const artifacts = openLocalArtifacts(env.FRESHET_ARTIFACTS, { whyRemoved: whyRemoved(core.db) });
  switch (role) {
    case 'data': {
      const reports = await serveReports(env, { ...core, artifacts });
      if (reports !== null) closers.push(reports.stop);
      const inventory = openLocalInventory(env.FRESHET_ARTIFACTS);
      closers.push(startRetention({ db: core.db, inventory, logger: core.logger }).stop);
      closers.push(startPruning({ db: core.db, logger: core.logger }).stop);
      const settings = {
        quietMs: env.FRESHET_LOG_COMPACT_AFTER,
        graceMs: env.FRESHET_LOG_GRACE,
        keepMs: env.FRESHET_LOG_KEEP,
      };
      closers.push(startLogKeeping({ db: core.db, root: env.FRESHET_LOG_ROOT, settings, logger: core.logger }).stop);
      const mlflow = startMlflowMirror({ db: core.db, logger: core.logger, processEnv: of.processEnv ?? process.env });
      if (mlflow !== null) closers.push(mlflow.stop);
      return {
        activities: createDataActivities({
          ...core,
          artifacts,
          logRoot: env.FRESHET_LOG_ROOT,
          workRoot: env.FRESHET_WORK_ROOT,
          logTable: env.FRESHET_LOG_TABLE ?? null,
          processEnv: of.processEnv ?? process.env,
          reportsUrl: reports?.url ?? env.FRESHET_REPORTS_URL ?? null,
        }),
        // DuckDB and ONNX Runtime use every core they get: two snapshots at once are slower than one after the other.
        maxConcurrentActivityTaskExecutions: 2,
      };
    }
    case 'gpu': {
      const devices = await findDevices(env, of.processEnv ?? process.env, () =>
        listDevices((message) => {
          core.logger.warn(message);
        }),
      );
      return {
        activities: createGpuActivities({
          ...core,
          artifacts,
          scratch: openLocalScratch(join(env.FRESHET_ARTIFACTS, 'scratch')),
          workRoot: env.FRESHET_WORK_ROOT,
          devices,
          trainer: referenceTrainer(env),
        }),
        maxConcurrentActivityTaskExecutions: devices.size,
        // No training ends by itself in the seconds before a machine is taken away: better use them for its checkpoint.
        shutdownGraceTime: 0,
      };
    }
    case 'rollout': {
      const client = await Connection.connect({ address: env.TEMPORAL_ADDRESS });
      const channels = alertChannelsFromEnv(of.processEnv ?? process.env, core.logger);
      const delivery = startAlertDelivery({ db: core.db, channels, logger: core.logger });
      closers.push(delivery.stop, () => client.close());
      return {
        ...(of.workflowBundle === undefined ? workflowCode() : { workflowBundle: of.workflowBundle }),
        activities: createRolloutActivities({
          ...core,
          temporal: new Client({ connection: client, namespace: env.TEMPORAL_NAMESPACE }),
          serving: createGatewayTarget(core.db),
          channels,
          prometheusUrl: env.PROMETHEUS_URL ?? null,
        }),
      };
    }
  }
}

async function serveReports(
  env: WorkerEnvironment,
  of: { db: CoreDependencies['db']; logger: Logger; artifacts: ArtifactStore },
): Promise<{ url: string; stop: () => Promise<void> } | null> {
  const { FRESHET_REPORTS_HOST: host, FRESHET_REPORTS_PORT: port } = env;
  if (port === undefined) return null;
  const server = await startReportServer({ ...of, host, port });
  if (server === null) return null;
  return { stop: server.stop, url: env.FRESHET_REPORTS_URL ?? `http://${host}:${String(port)}/reports` };
}

function referenceTrainer(env: WorkerEnvironment): GpuDependencies['trainer'] {
  const folder = ['../trainer', '../../trainer']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(`${path}/freshet_trainer`));
  if (folder === undefined)
    throw new Error('the reference trainer (trainer/) is missing beside the workers: reinstall Freshet');
  const [python, trainer] = [env.FRESHET_PYTHON, ['-m', 'freshet_trainer']];
  return {
    command: [python, ...trainer],
    distributed: (processes) => [
      ...[python, '-m', 'torch.distributed.run', '--standalone', `--nproc-per-node=${String(processes)}`],
      ...trainer,
    ],
    env: { PYTHONPATH: folder },
  };
}

/** The bundle that `npm run build` made, or the sources. */
function workflowCode(): Partial<WorkerOptions> {
  const bundle = fileURLToPath(new URL('../workflow-bundle.js', import.meta.url));
  if (existsSync(bundle)) return { workflowBundle: { codePath: bundle } };
  return { workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)) };
}
