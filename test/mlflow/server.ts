import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import { freePort } from '../../scripts/stack/ports.ts';
import { Supervisor, type RunningProcess } from '../../scripts/stack/processes.ts';

export interface MlflowServer {
  url: string;
  /** An answer of its REST API 2.0; GET unless there is a body. */
  ask(path: string, query?: Record<string, string>, body?: unknown): Promise<unknown>;
  stop(): Promise<void>;
}

export const ADMIN = { username: 'admin', password: 'a-password-of-the-test' };

/** A real tracking server with model registry (test/mlflow/requirements.lock) over SQLite, on a free port. */
export async function startMlflow({ secured = false }: { secured?: boolean } = {}): Promise<MlflowServer> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-mlflow-'));
  const supervisor = new Supervisor(join(folder, 'logs'));
  const port = await freePort();
  const url = `http://127.0.0.1:${String(port)}`;
  const address = ['--host', '127.0.0.1', '--port', String(port)];
  const stop = async (): Promise<void> => {
    await supervisor.stopAll();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const server = await supervisor.start({
      name: 'mlflow',
      command: inject('mlflowPython'),
      args: secured
        ? ['-m', 'mlflow', 'server', '--app-name', 'basic-auth', ...address, '--workers', '1', ...stores(folder)]
        : ['-m', 'uvicorn', ...address, 'mlflow.server.fastapi_app:app'],
      cwd: folder,
      env: {
        ...process.env,
        MLFLOW_DISABLE_TELEMETRY: 'true',
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false',
        ...(secured ? await passwords(folder) : storeVariables(folder)),
      },
      graceMs: 2_000,
    });
    await untilHealthy(server, url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop, ask: (path, query, body) => ask({ url, path, query, body }) };
}

const database = (folder: string): string => `sqlite:///${folder}/mlflow.db`;

function stores(folder: string): string[] {
  return ['--backend-store-uri', database(folder), '--default-artifact-root', join(folder, 'artifacts')];
}

/** What `mlflow server` hands to the process that serves; started directly, six seconds of imports are saved. */
function storeVariables(folder: string): Record<string, string> {
  return { _MLFLOW_SERVER_FILE_STORE: database(folder), _MLFLOW_SERVER_ARTIFACT_ROOT: join(folder, 'artifacts') };
}

async function passwords(folder: string): Promise<Record<string, string>> {
  const file = join(folder, 'auth.ini');
  await writeFile(
    file,
    `[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///${folder}/auth.db\nadmin_username = ${ADMIN.username}\n` +
      `admin_password = ${ADMIN.password}\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n`,
  );
  return { MLFLOW_AUTH_CONFIG_PATH: file, MLFLOW_FLASK_SERVER_SECRET_KEY: 'of the test' };
}

async function untilHealthy(server: RunningProcess, url: string): Promise<void> {
  while (server.running()) {
    const healthy = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (healthy) return;
    await sleep(100);
  }
  throw new Error(`MLflow did not start (npm run setup -- --for test installs it):\n${server.lastLines(20)}`);
}

async function ask(of: {
  url: string;
  path: string;
  query: Record<string, string> | undefined;
  body: unknown;
}): Promise<unknown> {
  const query = new URLSearchParams(of.query).toString();
  const response = await fetch(`${of.url}/api/2.0/mlflow/${of.path}?${query}`, {
    ...(of.body === undefined ? {} : { method: 'POST', body: JSON.stringify(of.body) }),
    headers: { 'content-type': 'application/json' },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${of.path}: ${String(response.status)} ${text}`);
  return JSON.parse(text);
}
