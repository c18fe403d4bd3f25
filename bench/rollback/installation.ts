import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import { CYCLE_WORKFLOW, cycleId, taskQueue } from '../../config/names.ts';
import { lineConfigSchema, type LineConfigInput } from '../../config/schema.ts';
import { Supervisor } from '../../scripts/stack/processes.ts';
import type { Say } from '../../scripts/stack/say.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { isUnreachable, migrate, openDatabase, type Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { currentRoute } from '../../store/routes.ts';
import type { CycleResult, TrainingCycleInput } from '../../workflows/messages.ts';
import { workflowBundle } from '../../test/rig/workflow-bundle.ts';
import { TcpProxy } from '../../test/serving/tcp-proxy.ts';
import { compileServers } from '../gateway/compile.ts';
import { FEATURES, rankingModel } from '../gateway/ranking-model.ts';
import { startServer, type Server } from '../gateway/servers.ts';
import { prepareChallengers, type PreparedChallengers } from './prepared-challengers.ts';
import { Servers } from './servers.ts';
import type { Traffic } from './traffic.ts';

export const LINE = 'feed';
const GATEWAYS = 3;
const QUEUE_PREFIX = 'bench';
const MODELS = 4;
const POLL_MS = 20;
const MAX_SHADOWS = 8;
const MAX_SHADOW_MS = 8_000;
/** What is rolled back has to come through the shadow first, also on a machine that is busy. */
const ANY_SHADOW = { maxErrorRate: 1, maxLatencyRatio: 1e6, maxScoreShift: 1 };

type Handle = WorkflowHandleWithFirstExecutionRunId<(input: TrainingCycleInput) => Promise<CycleResult>>;

export interface Cycle {
  cycleId: string;
  handle: Handle;
}

/**
 * Postgres, Temporal, the rollout worker and three gateways, each a process of its own, compiled as in production. The last
 * gateway reaches Postgres over a network that can be cut. Challengers are prepared at once, see `prepareChallengers`.
 */
export class Installation {
  readonly servers: Servers;
  readonly db: Database;
  readonly network: TcpProxy;
  readonly gateways: Server[] = [];
  readonly #folder: string;
  readonly #client: Client;
  readonly #native: NativeConnection;
  readonly #challengers: PreparedChallengers;
  #given: Pick<LineConfigInput, 'canary' | 'health'> = {};
  #shadowMs = 500;
  readonly #key = `k1:${randomBytes(32).toString('base64')}`;

  private constructor(of: {
    folder: string;
    servers: Servers;
    db: Database;
    network: TcpProxy;
    client: Client;
    native: NativeConnection;
    challengers: PreparedChallengers;
  }) {
    this.servers = of.servers;
    this.db = of.db;
    this.network = of.network;
    this.#folder = of.folder;
    this.#client = of.client;
    this.#native = of.native;
    this.#challengers = of.challengers;
  }

  static async create(say: Say): Promise<Installation> {
    // Without handlers of its own: they would keep the process from ending.
    Runtime.install({
      logger: new DefaultLogger('ERROR'),
      telemetryOptions: { logging: { filter: 'ERROR' } },
      shutdownSignals: [],
    });
    const folder = await mkdtemp(join(tmpdir(), 'freshet-bench-'));
    const dist = join(folder, 'dist');
    say('compiling');
    await compileServers(dist, ['workers/main.ts']);
    await cp((await workflowBundle()).codePath, join(dist, 'workflow-bundle.js'));
    const supervisor = new Supervisor(join(folder, 'logs'));
    const servers = await Servers.start({ folder, dist, queuePrefix: QUEUE_PREFIX, supervisor, say });
    await migrate(servers.databaseUrl);
    const db = openDatabase(servers.databaseUrl);
    const artifacts = openLocalArtifacts(join(folder, 'artifacts'));
    const models: string[] = [];
    for (let seed = 0; seed < MODELS; seed++)
      models.push((await artifacts.put(rankingModel({ seed, buckets: 1_000 }))).sha256);
    const address = servers.temporalAddress;
    const native = await NativeConnection.connect({ address });
    const client = new Client({ connection: await Connection.connect({ address }) });
    const challengers = await prepareChallengers({ connection: native, queuePrefix: QUEUE_PREFIX, db, models });
    const network = await TcpProxy.to(servers.databaseUrl);
    const installation = new Installation({ folder, servers, db, network, client, native, challengers });
    await installation.apply({});
    await servers.startWorker();
    await Promise.all(Array.from({ length: GATEWAYS }, (_, index) => installation.startGateway(index)));
    say('training the first version');
    await (await installation.startCycle()).handle.result();
    return installation;
  }

  /** A short shadow, half of the traffic to the canary, and no verdict of the monitor; `given` over it. */
  async apply(given: Pick<LineConfigInput, 'canary' | 'health'>): Promise<void> {
    this.#given = given;
    const config = lineConfigSchema.parse({
      line: LINE,
      features: FEATURES,
      gate: { calibration: null },
      shadow: { duration: `${String(this.#shadowMs)}ms`, minRequests: 1, onDivergence: 'warn', ...ANY_SHADOW },
      canary: { steps: [50], checkEvery: '250ms', failuresToRollBack: 1_000, ...given.canary },
      health: { bucket: '1s', ...given.health },
    });
    await applyLine(this.db, { config, who: 'bench' });
  }

  /** Starts (or starts again) the gateway of that index and waits until it is ready. */
  async startGateway(index: number): Promise<void> {
    const name = `gateway-${String(index + 1)}`;
    this.gateways[index] = await startServer({
      name,
      command: process.execPath,
      args: [join(this.#folder, 'dist', 'serving', 'main.js')],
      env: {
        DATABASE_URL: index === GATEWAYS - 1 ? this.network.url : this.servers.databaseUrl,
        FRESHET_PORT: '0',
        FRESHET_ARTIFACTS: join(this.#folder, 'artifacts'),
        FRESHET_LOG_ROOT: join(this.#folder, 'log'),
        FRESHET_CACHE_DIR: join(this.#folder, `cache-${String(index + 1)}`),
        FRESHET_PROCESS_ID: name,
        FRESHET_TOKEN_KEYS: this.#key,
        // The shadow is short, and looks at what was written.
        FRESHET_FLUSH_EVERY_MS: '200',
      },
    });
  }

  async startCycle(): Promise<Cycle> {
    const workflowId = `freshet-${LINE}-${randomBytes(4).toString('hex')}`;
    const handle = await this.#client.workflow.start<(input: TrainingCycleInput) => Promise<CycleResult>>(
      CYCLE_WORKFLOW,
      { workflowId, taskQueue: taskQueue('rollout', QUEUE_PREFIX), args: [{ line: LINE, trigger: 'bench' }] },
    );
    return { handle, cycleId: cycleId({ workflowId, runId: handle.firstExecutionRunId }) };
  }

  /** Starts a cycle and resolves when each gateway has answered by its version as canary. */
  async startCanary(traffic: Traffic): Promise<Cycle & { version: number }> {
    for (let attempt = 1; ; attempt++) {
      const cycle = await this.startCycle();
      const found = await this.#untilCanary(cycle, traffic);
      if (typeof found === 'number') return { ...cycle, version: found };
      if (attempt === MAX_SHADOWS)
        throw new Error(`a cycle ended ${found.outcome} before its canary: ${JSON.stringify(found.reasons)}`);
      // On a busy machine the models may take longer to load than the shadow lasts, and a check longer than the lease.
      this.#shadowMs = Math.min(2 * this.#shadowMs, MAX_SHADOW_MS);
      await this.apply(this.#given);
    }
  }

  /** The canary's version, or how the cycle ended before. */
  async #untilCanary(
    { cycleId: id }: Cycle,
    traffic: Traffic,
  ): Promise<number | { outcome: string; reasons: unknown }> {
    for (;;) {
      const { rows } = await this.db.query<{ candidate: number | null; outcome: string | null; reasons: unknown }>(
        'select candidate, outcome, reasons from cycles where cycle_id = $1',
        [id],
      );
      const { candidate = null, outcome = null, reasons = [] } = rows[0] ?? {};
      if (outcome !== null) return { outcome, reasons };
      if (candidate !== null && traffic.canaryAnswers(candidate).size === this.gateways.length) return candidate;
      await sleep(POLL_MS);
    }
  }

  /** Resolves right after a health check has renewed the cycle's lease. */
  async untilRenewed({ cycleId: id }: Cycle): Promise<void> {
    const renewedAt = async (): Promise<number> => {
      const { rows } = await this.db.query<{ renewedAt: Date }>(
        'select renewed_at as "renewedAt" from leases where cycle_id = $1',
        [id],
      );
      return rows[0]?.renewedAt.getTime() ?? NaN;
    };
    const before = await renewedAt();
    while ((await renewedAt()) === before) await sleep(POLL_MS);
  }

  /** What a gateway says that is left of the lease it knows. */
  async leaseMsLeft(gateway: number): Promise<number> {
    const response = await fetch(`${this.gateways[gateway]?.url ?? ''}/v1/route?line=${LINE}`);
    return ((await response.json()) as { leaseMsLeft: number }).leaseMsLeft;
  }

  /** The end of a cycle, whatever was restarted meanwhile. */
  async resultOf({ handle }: Cycle): Promise<CycleResult> {
    for (;;) {
      try {
        return await handle.result();
      } catch (error) {
        if (error instanceof Error && error.name === 'WorkflowFailedError') throw error;
        await sleep(500);
      }
    }
  }

  /** When Postgres wrote a route; Unix ms. */
  async writtenAtMs(epoch: number): Promise<number> {
    const { rows } = await this.db.query<{ at: Date }>('select at from routes where line = $1 and epoch = $2', [
      LINE,
      epoch,
    ]);
    return rows[0]?.at.getTime() ?? NaN;
  }

  async stableServesAlone(): Promise<boolean> {
    const { canary, shadow } = await currentRoute(this.db, LINE);
    return canary === null && shadow === null;
  }

  /** Alerts of a cycle that are in the outbox, by what they say it came to. */
  async alertsOf({ cycleId: id }: Cycle): Promise<string[]> {
    const { rows } = await this.db.query<{ key: string }>(
      `select dedup_key as key from outbox where starts_with(dedup_key, $1 || '/') order by id`,
      [id],
    );
    return rows.map(({ key }) => key.slice(id.length + 1));
  }

  /** Whether moved routes are announced to the gateways, or only found by their polling. */
  async announce(on: boolean): Promise<void> {
    await this.db.query(`alter table route_heads ${on ? 'enable' : 'disable'} trigger route_heads_announce`);
  }

  /** Resolves when Postgres answers. */
  async untilPostgres(): Promise<void> {
    for (;;) {
      try {
        await this.db.query('select 1');
        return;
      } catch (error) {
        if (!isUnreachable(error)) throw error;
        await sleep(POLL_MS);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.gateways.map((gateway) => gateway.stop()));
    this.network.close();
    await this.#challengers.stop();
    await this.#native.close().catch(() => undefined);
    await this.#client.connection.close();
    await this.db.end();
    await this.servers.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
