import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import axios from 'axios';
import { DEFAULT_QUEUE_PREFIX, WORKER_ROLES } from '../../config/names.ts';
import type { Stack } from './stack.ts';
import { freePort } from './ports.ts';
import type { RunningProcess, Supervisor } from './processes.ts';
import { entryPoint, projectRoot } from './project.ts';
import type { Say } from './say.ts';
import { ensureTokenKeys } from './token-keys.ts';
import { makeCurrent } from './worker-deployment.ts';

const START_TIMEOUT_MS = 120_000;
/** On one machine all code is of one build: a cycle that was open when the stack stopped goes on after its next start. */
const LOCAL_BUILD = 'local';

export interface ServiceOptions {
  stack: Stack;
  dataDir: string;
  /** The interpreter that has the trainer's dependencies. */
  python: string;
  supervisor: Supervisor;
  say: Say;
  preferredGatewayPort?: number;
  /** Added to the environment of the gateway and the workers, over everything else. */
  env?: NodeJS.ProcessEnv;
}

export interface Services {
  gatewayUrl: string;
  gateway: RunningProcess;
  workers: RunningProcess[];
  /** What the processes were told, for commands and for processes that are started beside them. */
  env: NodeJS.ProcessEnv;
}

/**
 * Starts the gateway and the three workers as processes of their own and waits until they serve and poll.
 *
 * @throws Error with the last lines of the one that did not start.
 */
export async function startServices(options: ServiceOptions): Promise<Services> {
  const { stack, dataDir, python, supervisor, say } = options;
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    DATABASE_URL: stack.databaseUrl,
    TEMPORAL_ADDRESS: stack.temporalAddress,
    ...(stack.temporalUiUrl === null ? {} : { TEMPORAL_UI_URL: stack.temporalUiUrl }),
    FRESHET_ARTIFACTS: join(dataDir, 'artifacts'),
    FRESHET_LOG_ROOT: join(dataDir, 'events'),
    FRESHET_WORK_ROOT: join(dataDir, 'work'),
    FRESHET_CACHE_DIR: join(dataDir, 'gateway'),
    FRESHET_PYTHON: python,
    ...(await ensureTokenKeys(dataDir)),
    FRESHET_REPORTS_PORT: String(await freePort(8095)),
    FRESHET_BUILD_ID: process.env['FRESHET_BUILD_ID'] ?? LOCAL_BUILD,
    ...options.env,
  };
  const [gateway, ...workers] = await Promise.all([
    startGateway(options, env),
    ...WORKER_ROLES.map((role) => startWorker(role, { supervisor, env })),
  ]);
  await useThisBuild(stack.temporalAddress, env);
  say(`Gateway: ${gateway.url}; workers: ${WORKER_ROLES.join(', ')}`);
  return { gatewayUrl: gateway.url, gateway: gateway.process, workers, env };
}

/** Starts one of the workers, in place of one that was stopped, say. */
export async function startWorker(
  role: (typeof WORKER_ROLES)[number],
  { supervisor, env }: { supervisor: Supervisor; env: NodeJS.ProcessEnv },
): Promise<RunningProcess> {
  const worker = await startNode({
    name: `worker-${role}`,
    args: [...entryPoint('workers/main.ts'), role],
    supervisor,
    env,
  });
  const from = (await readFile(worker.logFile, 'utf8')).length;
  const polls = async (): Promise<boolean> =>
    (await readFile(worker.logFile, 'utf8')).slice(from).includes(`"running":"${role}"`);
  await untilReady(worker, polls);
  return worker;
}

async function useThisBuild(address: string, env: NodeJS.ProcessEnv): Promise<void> {
  const connection = await Connection.connect({ address });
  try {
    const client = new Client({ connection, namespace: env['TEMPORAL_NAMESPACE'] ?? 'default' });
    const deploymentName = env['FRESHET_QUEUE_PREFIX'] ?? DEFAULT_QUEUE_PREFIX;
    await makeCurrent(client, { deploymentName, buildId: env['FRESHET_BUILD_ID'] ?? LOCAL_BUILD });
  } finally {
    await connection.close();
  }
}

/** Each thread that loads a version would else keep, in an arena of its own, what glibc does not give back. */
export const GATEWAY_MEMORY = { MALLOC_ARENA_MAX: '2' };

async function startGateway(
  { supervisor, preferredGatewayPort = 8090 }: ServiceOptions,
  env: NodeJS.ProcessEnv,
): Promise<{ url: string; process: RunningProcess }> {
  const port = await freePort(preferredGatewayPort);
  const url = `http://127.0.0.1:${port}`;
  const gateway = await startNode({
    name: 'gateway',
    args: entryPoint('serving/main.ts'),
    supervisor,
    env: { ...GATEWAY_MEMORY, ...env, FRESHET_HOST: '127.0.0.1', FRESHET_PORT: String(port) },
  });
  await untilReady(gateway, async () => {
    const answer = await axios.get(`${url}/healthz`, { timeout: 1_000, validateStatus: () => true }).catch(() => null);
    return answer?.status === 200;
  });
  return { url, process: gateway };
}

async function startNode(of: {
  name: string;
  args: string[];
  supervisor: Supervisor;
  env: NodeJS.ProcessEnv;
}): Promise<RunningProcess> {
  const { name, args, supervisor, env } = of;
  // Workers let a trainer save its checkpoint before they leave.
  return supervisor.start({ name, command: process.execPath, args, cwd: projectRoot(), env, graceMs: 20_000 });
}

async function untilReady(service: RunningProcess, ready: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await ready())) {
    if (!service.running() || Date.now() > deadline) {
      const lines = service.lastLines();
      await service.stop();
      throw new Error(`${service.name} did not start; its last lines, from ${service.logFile}:\n${lines}`);
    }
    await sleep(100);
  }
}
