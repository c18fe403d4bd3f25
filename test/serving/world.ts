import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { expect, vi } from 'vitest';
import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../config/schema.ts';
import type { FeedbackRecord, ImpressionRecord } from '../../data/event-log/records.ts';
import type { RankAnswer } from '../../serving/ranker.ts';
import { impressionIdOf } from '../../serving/tokens.ts';
import { startGateway, type Gateway, type GatewayOptions } from '../../serving/gateway.ts';
import { openLocalArtifacts, type ArtifactStore } from '../../store/artifacts.ts';
import { claimCycle } from '../../store/cycles.ts';
import { applyLine } from '../../store/lines.ts';
import { rollbackCycle } from '../../store/rollbacks.ts';
import { STABLE_ALONE } from '../../store/route-head.ts';
import { currentRoute, moveRoute, promote, settle } from '../../store/routes.ts';
import type { Alert, Lineage, Route, RouteMove, RouteState } from '../../store/types.ts';
import { createVersion } from '../../store/versions.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { CATEGORY, FEATURES_OF, modelBytes, NUMBER, type FixtureModel } from '../scoring/fixtures.ts';

export const LINE = 'feed';
export const KEY = { id: 'k1', secret: randomBytes(32) };

export interface Candidate {
  cycleId: string;
  version: number;
}

interface Answer<T> {
  status: number;
  body: T;
}

/** A database, folders and a model line to start gateways on. */
export class World {
  readonly database: TestDatabase;
  readonly artifacts: ArtifactStore;
  readonly folder: string;
  readonly #gateways: Gateway[] = [];
  #cycles = 0;

  private constructor(options: { database: TestDatabase; folder: string }) {
    this.database = options.database;
    this.folder = options.folder;
    this.artifacts = openLocalArtifacts(join(options.folder, 'artifacts'));
  }

  static async create(config: Partial<LineConfigInput> = {}): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'freshet-serving-'));
    const world = new World({ database: await createTestDatabase(), folder });
    await world.applyLine(config);
    return world;
  }

  async applyLine(config: Partial<LineConfigInput> = {}): Promise<LineConfig> {
    const exploration = { share: 0 };
    const resolved = lineConfigSchema.parse({ line: LINE, features: [CATEGORY, NUMBER], exploration, ...config });
    await applyLine(this.database.db, { config: resolved, who: 'test' });
    return resolved;
  }

  /** What `serving/main.ts` needs to serve this world as a process of its own, on a port that is free. */
  environment(processId: string): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      DATABASE_URL: this.database.url,
      FRESHET_PORT: '0',
      FRESHET_ARTIFACTS: join(this.folder, 'artifacts'),
      FRESHET_LOG_ROOT: join(this.folder, 'log'),
      FRESHET_CACHE_DIR: join(this.folder, 'cache'),
      FRESHET_PROCESS_ID: processId,
      FRESHET_TOKEN_KEYS: `${KEY.id}:${KEY.secret.toString('base64')}`,
    };
  }

  async gateway(options: Partial<GatewayOptions> = {}): Promise<Client> {
    const gateway = await startGateway({
      databaseUrl: this.database.url,
      artifactsRoot: join(this.folder, 'artifacts'),
      logRoot: join(this.folder, 'log'),
      cacheDir: join(this.folder, 'cache'),
      host: '127.0.0.1',
      port: 0,
      processId: 'gateway-1',
      keys: [KEY],
      pollEveryMs: 200,
      flushEveryMs: 50,
      sealEveryMs: 50,
      // Deadlines are for the tests that are about them: this machine may be busy.
      canaryDeadlineMs: 20_000,
      deadlineMs: 40_000,
      shedAfterMs: 20_000,
      logger: pino({ level: 'silent' }),
      ...options,
    });
    this.#gateways.push(gateway);
    return new Client(gateway);
  }

  /** Registers a model as the candidate of a new cycle. */
  async candidate(model: FixtureModel | { bytes: Uint8Array; like: FixtureModel }): Promise<Candidate> {
    const { db } = this.database;
    // The salt by which users are assigned: a user's arm is the same in each run of a test.
    const cycleId = `cycle-${String((this.#cycles += 1))}`;
    const claimed = await claimCycle(db, {
      ...{ line: LINE, cycleId, workflowId: cycleId, runId: 'run', trigger: 'test' },
      isRunOver: () => Promise.resolve(false),
    });
    expect(claimed.kind).toBe('claimed');
    const like = typeof model === 'string' ? model : model.like;
    const bytes = typeof model === 'string' ? await modelBytes(model) : model.bytes;
    const { sha256 } = await this.artifacts.put(bytes);
    const { version } = await createVersion(db, {
      ...{ line: LINE, cycleId, effectKey: `${cycleId}/version`, parent: null },
      ...{ modelSha256: sha256, checkpointSha256: null, features: FEATURES_OF[like] },
      ...{ trainingCutoffMs: 0, lineage: {} as Lineage, metrics: {} },
    });
    return { cycleId, version };
  }

  /** Makes a model the stable version of a line that has none. */
  async firstStable(model: FixtureModel): Promise<number> {
    const candidate = await this.candidate(model);
    await this.promote(candidate, { direct: true });
    return candidate.version;
  }

  /** Routes a cycle's candidate; shares default to none, the lease to a minute. */
  async move(candidate: Candidate, next: Partial<RouteState> & { leaseMs?: number }): Promise<Route> {
    const { leaseMs = 60_000, ...shares } = next;
    const { epoch, stable } = await currentRoute(this.database.db, LINE);
    const alone: RouteState = { stable, ...STABLE_ALONE };
    return moved(
      await moveRoute(this.database.db, {
        ...{ line: LINE, cycleId: candidate.cycleId, expectedEpoch: epoch, next: { ...alone, ...shares }, leaseMs },
        ...{ who: 'test', why: 'test', effectKey: randomUUID() },
      }),
    );
  }

  async promote({ cycleId, version }: Candidate, { direct = false, holdback = 0 } = {}): Promise<Route> {
    const { epoch } = await currentRoute(this.database.db, LINE);
    const request = { cycleId, version, expectedEpoch: epoch, who: 'test', why: 'test', effectKey: randomUUID() };
    return moved(await promote(this.database.db, { ...request, alert: alert(), direct, holdback }));
  }

  /** Ends the watch of a cycle's promoted version. */
  async settle({ cycleId }: Candidate): Promise<Route> {
    const { epoch } = await currentRoute(this.database.db, LINE);
    const request = { cycleId, expectedEpoch: epoch, who: 'test', why: 'test', reasons: [] };
    return moved(await settle(this.database.db, { ...request, effectKey: randomUUID() }));
  }

  async rollBack({ cycleId }: Candidate): Promise<Route> {
    const { route } = await rollbackCycle(this.database.db, {
      ...{ cycleId, who: 'test', why: 'test', reasons: [], outcome: 'rolledBack' },
      ...{ effectKey: randomUUID(), alert: alert() },
    });
    return route;
  }

  /** Moves the end of every lease to `ms` from now, by the database's clock. */
  async setLease(ms: number): Promise<void> {
    await this.database.db.query(
      'update leases set expires_at = clock_timestamp() + make_interval(secs => $1::float8 / 1000)',
      [ms],
    );
  }

  /** The epochs that processes reported, by process. */
  async reportedEpochs(): Promise<Record<string, number>> {
    const { rows } = await this.database.db.query<{ processId: string; epoch: number }>(
      'select process_id as "processId", reported_epoch as epoch from routing_processes where line = $1',
      [LINE],
    );
    return Object.fromEntries(rows.map(({ processId, epoch }) => [processId, epoch]));
  }

  async untilReported(route: Route, processId = 'gateway-1'): Promise<void> {
    await until(async () => {
      expect((await this.reportedEpochs())[processId]).toBe(route.epoch);
    });
  }

  /** The health sums over all buckets, by version and arm. */
  async sums(): Promise<Record<string, HealthTotals>> {
    const { rows } = await this.database.db.query<HealthTotals & { variant: string }>(
      `select version || ' ' || arm as variant, sum(requests)::float8 as requests, sum(errors)::float8 as errors,
         sum(impressions)::float8 as impressions, sum(clicks)::float8 as clicks, sum(score_sum) as "scoreSum",
         sum(log_loss_sum) as "logLossSum", sum(log_loss_square_sum) as "logLossSquareSum",
         sum(score_difference_sum) as "scoreDifferenceSum", sum(dropped)::float8 as dropped,
         sum(dwells)::float8 as dwells, sum(dwell_sum) as "dwellSum", sum(dwell_square_sum) as "dwellSquareSum"
       from health_sums where line = $1 group by 1`,
      [LINE],
    );
    return Object.fromEntries(rows.map(({ variant, ...totals }) => [variant, totals]));
  }

  impressions(): Promise<ImpressionRecord[]> {
    return this.#records<ImpressionRecord>('impressions');
  }

  feedback(): Promise<FeedbackRecord[]> {
    return this.#records<FeedbackRecord>('feedback');
  }

  async close(): Promise<void> {
    await Promise.all(this.#gateways.map((gateway) => gateway.close().catch(() => undefined)));
    await this.database.drop();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #records<T>(kind: string): Promise<T[]> {
    const names = await readdir(join(this.folder, 'log', kind), { recursive: true }).catch(() => []);
    const records: T[] = [];
    for (const name of names.filter((path) => path.endsWith('.ndjson')).sort()) {
      const lines = (await readFile(join(this.folder, 'log', kind, name), 'utf8')).split('\n');
      records.push(...lines.filter((line) => line !== '').map((line) => JSON.parse(line) as T));
    }
    return records;
  }
}

export interface HealthTotals {
  requests: number;
  errors: number;
  impressions: number;
  clicks: number;
  scoreSum: number;
  logLossSum: number;
  logLossSquareSum: number;
  scoreDifferenceSum: number;
  dropped: number;
  dwells: number;
  dwellSum: number;
  dwellSquareSum: number;
}

/** A rank answer, its items with the impression ids that clients make of it. */
export type Slate = Omit<RankAnswer, 'items'> & { items: (RankAnswer['items'][number] & { impressionId: string })[] };

/** One gateway, by its HTTP interface. */
export class Client {
  readonly url: string;
  readonly #gateway: Gateway;

  constructor(gateway: Gateway) {
    this.url = gateway.url;
    this.#gateway = gateway;
  }

  close(): Promise<void> {
    return this.#gateway.close();
  }

  async get<T = Record<string, unknown>>(path: string): Promise<Answer<T>> {
    const response = await fetch(`${this.url}${path}`);
    return { status: response.status, body: (await response.json()) as T };
  }

  async text(path: string): Promise<string> {
    return (await fetch(`${this.url}${path}`)).text();
  }

  async post<T = { error: string; path?: string }>(path: string, body: unknown): Promise<Answer<T>> {
    const response = await fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as T };
  }

  /** Ranks candidates named by their quality, for a user. */
  async rank(userId: string, qualities: readonly (number | null)[] = [1, 2], more: object = {}): Promise<Slate> {
    const { status, body } = await this.post<RankAnswer>('/v1/rank', { ...rankRequest(userId, qualities), ...more });
    expect({ status, body }).toMatchObject({ status: 200 });
    const items = body.items.map((item) => ({ ...item, impressionId: impressionIdOf(body.token, item.position) }));
    return { ...body, items };
  }

  async click(
    ...impressionIds: string[]
  ): Promise<{ accepted: number; duplicates: number; refused: { reason: string }[] }> {
    const events = impressionIds.map((impressionId) => ({ impressionId, event: 'click' }));
    const { body } = await this.post<{ accepted: number; duplicates: number; refused: { reason: string }[] }>(
      '/v1/feedback',
      { events },
    );
    return body;
  }
}

let requests = 0;

export function rankRequest(userId: string, qualities: readonly (number | null)[]): Record<string, unknown> {
  const candidates = qualities.map((quality, index) => ({
    id: `item-${String(index)}`,
    features: { quality, author: `author-${String(index)}` },
  }));
  return { line: LINE, requestId: `ask-${String((requests += 1))}`, userId, candidates };
}

/** Waits until an expectation holds. */
export const until = (expectation: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(expectation, { timeout: 45_000, interval: 50 });

function moved(move: RouteMove): Route {
  if (move.kind !== 'moved') throw new Error(`the route was not moved: ${move.kind}`);
  return move.route;
}

const alert = (): Alert => ({
  ...{ dedupKey: randomUUID(), severity: 'info', page: false, line: LINE },
  ...{ title: 'test', text: 'test', fields: {} },
});
