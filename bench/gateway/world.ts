import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lineConfigSchema } from '../../config/schema.ts';
import { Supervisor } from '../../scripts/stack/processes.ts';
import { startPostgres } from '../../scripts/stack/postgres.ts';
import { GATEWAY_MEMORY } from '../../scripts/stack/services.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { claimCycle } from '../../store/cycles.ts';
import { migrate, openDatabase, type Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { STABLE_ALONE } from '../../store/route-head.ts';
import { currentRoute, moveRoute, promote } from '../../store/routes.ts';
import type { Alert, Lineage, Route, RouteMove, RouteState } from '../../store/types.ts';
import { createVersion } from '../../store/versions.ts';
import { compileServers } from './compile.ts';
import { startServer, type Server } from './servers.ts';
import { FEATURES } from './ranking-model.ts';

export const LINE = 'feed';

export interface Candidate {
  cycleId: string;
  version: number;
}

/** A Postgres of its own, a line and an artifact store, to start gateways on: what happens to routes is Freshet's own. */
export class ServingWorld {
  readonly folder: string;
  readonly #db: Database;
  readonly #databaseUrl: string;
  readonly #supervisor: Supervisor;
  readonly #dataDir: string;
  readonly #key = `k1:${randomBytes(32).toString('base64')}`;

  private constructor(options: {
    folder: string;
    db: Database;
    databaseUrl: string;
    dataDir: string;
    supervisor: Supervisor;
  }) {
    this.folder = options.folder;
    this.#db = options.db;
    this.#databaseUrl = options.databaseUrl;
    this.#supervisor = options.supervisor;
    this.#dataDir = options.dataDir;
  }

  static async create(say: (line: string) => void): Promise<ServingWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'freshet-bench-'));
    const supervisor = new Supervisor(join(folder, 'logs'));
    await compileServers(join(folder, 'dist'));
    const { url, dataDir } = await startPostgres({
      ...{ dataDir: join(folder, 'postgres'), supervisor, say, preferredPort: 15_432, durable: false },
    });
    await migrate(url);
    const db = openDatabase(url);
    const config = lineConfigSchema.parse({ line: LINE, features: FEATURES, exploration: { share: 0.01 } });
    await applyLine(db, { config, who: 'bench' });
    return new ServingWorld({ folder, db, databaseUrl: url, dataDir, supervisor });
  }

  /** A server that `compile.ts` compiled. */
  server(name: string, { program, env }: { program: string; env: Record<string, string> }): Promise<Server> {
    const nodeArgs = process.env['BENCH_NODE_ARGS']?.split(' ') ?? [];
    const args = [...nodeArgs, join(this.folder, 'dist', program)];
    return startServer({ name, command: process.execPath, args, env });
  }

  /** `serving/main.ts` at its defaults, as `freshet up` starts it. */
  gateway(env: Record<string, string> = {}): Promise<Server> {
    return this.server('gateway', {
      program: 'serving/main.js',
      env: {
        ...GATEWAY_MEMORY,
        DATABASE_URL: this.#databaseUrl,
        FRESHET_PORT: '0',
        FRESHET_ARTIFACTS: join(this.folder, 'artifacts'),
        FRESHET_LOG_ROOT: join(this.folder, 'log'),
        FRESHET_CACHE_DIR: join(this.folder, 'cache'),
        FRESHET_PROCESS_ID: 'gateway-1',
        FRESHET_TOKEN_KEYS: this.#key,
        ...env,
      },
    });
  }

  /** Keeps a model and returns its name. */
  async put(model: Uint8Array): Promise<string> {
    return (await openLocalArtifacts(join(this.folder, 'artifacts')).put(model)).sha256;
  }

  /** Registers a model that was put as the candidate of a new cycle. */
  async candidate(modelSha256: string): Promise<Candidate> {
    const cycleId = `cycle-${randomUUID()}`;
    const claim = { line: LINE, cycleId, workflowId: cycleId, runId: 'run', trigger: 'bench' };
    await claimCycle(this.#db, { ...claim, isRunOver: () => Promise.resolve(true) });
    const { version } = await createVersion(this.#db, {
      ...{ line: LINE, cycleId, effectKey: `${cycleId}/version`, parent: null },
      ...{ modelSha256, checkpointSha256: null, features: FEATURES },
      ...{ trainingCutoffMs: 0, lineage: {} as Lineage, metrics: {} },
    });
    return { cycleId, version };
  }

  /** Routes a cycle's candidate; the lease holds for an hour. */
  async move({ cycleId }: Candidate, next: Partial<RouteState>): Promise<Route> {
    const { epoch, stable } = await currentRoute(this.#db, LINE);
    const alone: RouteState = { stable, ...STABLE_ALONE };
    return moved(
      await moveRoute(this.#db, {
        ...{ line: LINE, cycleId, expectedEpoch: epoch, next: { ...alone, ...next }, leaseMs: 3_600_000 },
        ...{ who: 'bench', why: 'bench', effectKey: randomUUID() },
      }),
    );
  }

  async promote({ cycleId, version }: Candidate, { direct = false } = {}): Promise<Route> {
    const { epoch } = await currentRoute(this.#db, LINE);
    const request = { cycleId, version, expectedEpoch: epoch, who: 'bench', why: 'bench', effectKey: randomUUID() };
    return moved(await promote(this.#db, { ...request, alert: alert(), direct }));
  }

  /** Resolves when the gateway has reported a route. */
  async untilReported({ epoch }: Route): Promise<void> {
    for (;;) {
      const { rows } = await this.#db.query<{ epoch: number }>(
        'select reported_epoch as epoch from routing_processes where line = $1',
        [LINE],
      );
      if (rows.length > 0 && rows.every((row) => row.epoch >= epoch)) return;
      // Seldom enough not to take the gateway's cores.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Sums of the live health, by arm. */
  async sums(): Promise<Record<string, { requests: number; errors: number; dropped: number }>> {
    const { rows } = await this.#db.query<{ arm: string; requests: number; errors: number; dropped: number }>(
      `select arm, sum(requests)::float8 as requests, sum(errors)::float8 as errors, sum(dropped)::float8 as dropped
       from health_sums group by arm`,
    );
    return Object.fromEntries(rows.map(({ arm, ...sums }) => [arm, sums]));
  }

  async close(): Promise<void> {
    await this.#db.end();
    await this.#supervisor.stopAll();
    // Root's Postgres lives elsewhere.
    await rm(this.#dataDir, { recursive: true, force: true });
    await rm(this.folder, { recursive: true, force: true });
  }
}

function moved(move: RouteMove): Route {
  if (move.kind !== 'moved') throw new Error(`the route was not moved: ${move.kind}`);
  return move.route;
}

const alert = (): Alert => ({
  ...{ dedupKey: randomUUID(), severity: 'info', page: false, line: LINE },
  ...{ title: 'bench', text: 'bench', fields: {} },
});
