import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startPostgres } from '../../scripts/stack/postgres.ts';
import { Supervisor } from '../../scripts/stack/processes.ts';
import { MLFLOW_ENV, SECOND_TRAINER_ENV } from '../../scripts/setup.ts';
import { findLockedPython, findPythonEnv } from '../../scripts/stack/python-env.ts';
import { findTemporalCli } from '../../scripts/stack/temporal-cli.ts';
import { prepareTemporal, startTemporalServer } from '../../scripts/stack/temporal-server.ts';
import { findTimeSkippingServer } from '../../scripts/stack/time-skipping-server.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A Postgres database; each test that writes makes a schema or database of its own in this server. */
    databaseUrl: string;
    temporalAddress: string;
    /** A Python with the trainer's dependencies; plain `python3` when it was not set up (`npm test` does). */
    pythonPath: string;
    /** A Python with the packages of test/second-trainer; plain `python3` when it was not set up (`npm test` does). */
    secondTrainerPython: string;
    /** A Python with the packages of test/mlflow; plain `python3` when it was not set up (`npm test` does). */
    mlflowPython: string;
    /** Executable of Temporal's time-skipping server; null where there is none. */
    timeSkippingServer: string | null;
  }
}

/** One Postgres and one Temporal dev server for the whole run, unless DATABASE_URL and TEMPORAL_ADDRESS name others. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const say = (line: string): void => {
    console.log(line);
  };
  const folder = await mkdtemp(join(tmpdir(), 'freshet-test-'));
  // Started by root, Postgres runs as another user, who must be able to enter.
  await chmod(folder, 0o755);
  const supervisor = new Supervisor(join(folder, 'logs'));
  const teardown = async (): Promise<void> => {
    await supervisor.stopAll();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    project.provide('databaseUrl', process.env['DATABASE_URL'] ?? (await startDatabase({ folder, supervisor, say })));
    project.provide('temporalAddress', await temporalAddress(supervisor, say));
    project.provide('pythonPath', (await findPythonEnv()) ?? 'python3');
    project.provide('secondTrainerPython', (await findLockedPython(SECOND_TRAINER_ENV)) ?? 'python3');
    project.provide('mlflowPython', (await findLockedPython(MLFLOW_ENV)) ?? 'python3');
    const timeSkipping = await findTimeSkippingServer({ say, fetch: false });
    project.provide('timeSkippingServer', timeSkipping.kind === 'found' ? timeSkipping.path : null);
    return teardown;
  } catch (error) {
    await teardown();
    throw error;
  }
}

async function startDatabase(options: {
  folder: string;
  supervisor: Supervisor;
  say: (line: string) => void;
}): Promise<string> {
  const { folder, supervisor, say } = options;
  const server = await startPostgres({
    dataDir: join(folder, 'postgres'),
    supervisor,
    say,
    preferredPort: 15_500,
    durable: false,
  });
  return server.url;
}

async function temporalAddress(supervisor: Supervisor, say: (line: string) => void): Promise<string> {
  const given = process.env['TEMPORAL_ADDRESS'];
  if (given !== undefined) {
    await prepareTemporal(given);
    return given;
  }
  const cli = await findTemporalCli({ say });
  return (await startTemporalServer({ cli: cli.path, supervisor, preferredPort: 15_600, preferredUiPort: null }))
    .address;
}
