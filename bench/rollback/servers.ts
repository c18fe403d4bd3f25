import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveBackPort } from '../../scripts/stack/ports.ts';
import { startPostgres, type PostgresServer } from '../../scripts/stack/postgres.ts';
import type { RunningProcess, Supervisor } from '../../scripts/stack/processes.ts';
import type { Say } from '../../scripts/stack/say.ts';
import { findTemporalCli } from '../../scripts/stack/temporal-cli.ts';
import { startTemporalServer, type TemporalServer } from '../../scripts/stack/temporal-server.ts';

const START_TIMEOUT_MS = 60_000;

interface ServersOptions {
  folder: string;
  /** Where the programs are compiled. */
  dist: string;
  queuePrefix: string;
  supervisor: Supervisor;
  say: Say;
}

/** What a rollback needs besides gateways, each a process that can be killed and started again at its address. */
export class Servers {
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly #options: ServersOptions;
  readonly #cli: string;
  #postgres: PostgresServer;
  #temporal: TemporalServer;
  #worker: RunningProcess | null = null;

  private constructor(of: {
    options: ServersOptions;
    cli: string;
    postgres: PostgresServer;
    temporal: TemporalServer;
  }) {
    this.#options = of.options;
    this.#cli = of.cli;
    this.#postgres = of.postgres;
    this.#temporal = of.temporal;
    this.databaseUrl = of.postgres.url;
    this.temporalAddress = of.temporal.address;
  }

  static async start(options: ServersOptions): Promise<Servers> {
    const { say } = options;
    const cli = (await findTemporalCli({ say })).path;
    const postgres = await startDatabase(options, 15_532);
    const temporal = await startTemporal(options, { cli, port: 17_333 });
    return new Servers({ options, cli, postgres, temporal });
  }

  get postgres(): RunningProcess {
    return this.#postgres.process;
  }

  get temporal(): RunningProcess {
    return this.#temporal.process;
  }

  /** The rollout worker. */
  get worker(): RunningProcess {
    if (this.#worker === null) throw new Error('the worker was not started');
    return this.#worker;
  }

  async startWorker(): Promise<void> {
    const { dist, folder, queuePrefix, supervisor } = this.#options;
    const worker = await supervisor.start({
      name: 'worker-rollout',
      command: process.execPath,
      args: [join(dist, 'workers', 'main.js'), 'rollout'],
      // Nothing of this process's environment, which may say where alerts go.
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        DATABASE_URL: this.databaseUrl,
        TEMPORAL_ADDRESS: this.temporalAddress,
        FRESHET_QUEUE_PREFIX: queuePrefix,
        FRESHET_ARTIFACTS: join(folder, 'artifacts'),
        FRESHET_WORK_ROOT: join(folder, 'work'),
        LOG_LEVEL: 'warn',
      },
    });
    this.#worker = worker;
    const from = (await readFile(worker.logFile, 'utf8')).length;
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await readFile(worker.logFile, 'utf8')).slice(from).includes('"running":"rollout"')) {
      if (!worker.running() || Date.now() > deadline)
        throw new Error(`the rollout worker did not start; its last lines:\n${worker.lastLines()}`);
      await sleep(50);
    }
  }

  /** Again, with what it had, after it ended. */
  async restartPostgres(): Promise<void> {
    await this.postgres.exited;
    const port = Number(new URL(this.databaseUrl).port);
    giveBackPort(port);
    this.#postgres = await startDatabase(this.#options, port);
    if (this.#postgres.url !== this.databaseUrl) throw new Error(`Postgres's port ${String(port)} was taken meanwhile`);
  }

  async restartTemporal(): Promise<void> {
    await this.temporal.exited;
    const port = Number(this.temporalAddress.split(':')[1]);
    giveBackPort(port);
    this.#temporal = await startTemporal(this.#options, { cli: this.#cli, port });
    if (this.#temporal.address !== this.temporalAddress)
      throw new Error(`Temporal's port ${String(port)} was taken meanwhile`);
  }

  async stop(): Promise<void> {
    // One that is stopped by SIGSTOP hears nothing else.
    this.#worker?.signal('SIGCONT');
    await this.#options.supervisor.stopAll();
    await rm(this.#postgres.dataDir, { recursive: true, force: true });
  }
}

/** Durable: what was committed must be there after a crash. */
function startDatabase({ folder, supervisor, say }: ServersOptions, preferredPort: number): Promise<PostgresServer> {
  return startPostgres({ dataDir: join(folder, 'postgres'), supervisor, say, preferredPort });
}

function startTemporal(
  { folder, supervisor }: ServersOptions,
  { cli, port }: { cli: string; port: number },
): Promise<TemporalServer> {
  const dbFile = join(folder, 'temporal.db');
  return startTemporalServer({ cli, supervisor, preferredPort: port, preferredUiPort: null, dbFile });
}
