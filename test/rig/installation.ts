import { mkdtemp, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, Connection, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { pino } from 'pino';
import { expect, inject } from 'vitest';
import { CYCLE_WORKFLOW, taskQueue, type WorkerRole } from '../../config/names.ts';
import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../config/schema.ts';
import { freePort } from '../../scripts/stack/ports.ts';
import { startGateway, type Gateway } from '../../serving/gateway.ts';
import type { Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { currentRoute } from '../../store/routes.ts';
import { readEnvironment, type WorkerEnvironment } from '../../workers/environment.ts';
import { startWorker, type RunningWorker, type StartWorkerOptions } from '../../workers/start-worker.ts';
import type { CycleResult, CycleStatus, TrainingCycleInput } from '../../workflows/messages.ts';
import { statusQuery } from '../../workflows/messages.ts';
import { ActivityGates } from './activity-gates.ts';
import { createTestDatabase } from './database.ts';
import { startTraffic, type TestTraffic } from './traffic.ts';
import { workflowBundle } from './workflow-bundle.ts';
import { replay } from './workflow-code.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url));
const KEYS = [{ id: 'test', secret: Buffer.alloc(32, 7) }];
const POLL_MS = 25;

export type TrainerMode =
  ('ok' | 'slow' | 'steps' | 'hang') | ('exit1' | 'bad-data' | 'garbage' | 'empty' | 'flaky' | 'no-predictions');
export type CycleHandle = WorkflowHandleWithFirstExecutionRunId<(input: TrainingCycleInput) => Promise<CycleResult>>;

/** A trainer whose model is a fixture: `rising` ranks as the test's users click, `falling` the other way round. */
export function fixtureTrainer(model: string, mode: TrainerMode = 'ok'): string[] {
  return [
    process.execPath,
    join(FIXTURES, 'fixture-trainer.mjs'),
    '--model',
    join(FIXTURES, `${model}.onnx`),
    '--mode',
    mode,
  ];
}

/** The whole of Freshet with intervals in milliseconds: real Temporal, Postgres, gateway, event log and ONNX Runtime. */
export interface TestInstallation {
  line: string;
  db: Database;
  client: Client;
  gateway: Gateway;
  traffic: TestTraffic;
  env: WorkerEnvironment;
  queuePrefix: string;
  /** Puts a config in force, of `line` or of another; what is left out is as in the rig's defaults. */
  configure(given?: Partial<LineConfigInput>, line?: string): Promise<LineConfig>;
  /** Starts a cycle directly, as the schedule would. */
  startCycle(line?: string): Promise<CycleHandle>;
  /** Runs a cycle to its end and replays it. */
  runCycle(given?: Partial<LineConfigInput>): Promise<CycleResult>;
  /** Trains and promotes the first version, so that the next cycle has a champion. */
  coldStart(): Promise<CycleResult>;
  /** Aborts what a failed test left running, so that the next one finds the line free. */
  settle(): Promise<void>;
  startWorker(role: WorkerRole): Promise<RunningWorker>;
  stopWorker(role: WorkerRole): Promise<void>;
  close(): Promise<void>;
}

export interface InstallationOptions {
  /** Of all three workers. */
  workers?: StartWorkerOptions['overrides'];
  /** Beside the rig's own. */
  env?: NodeJS.ProcessEnv;
  /** For what is about the rollout: a cycle takes what an earlier one prepared, where champion and config are the same. */
  sharePreparation?: boolean;
}

/** What a version is made by. */
export const PREPARATION = ['takeSnapshot', 'checkSnapshot', 'trainChallenger', 'checkParity', 'evaluateChallenger'];

/** Intervals in milliseconds; a canary of two steps of five checks. */
const DEFAULTS: Omit<LineConfigInput, 'line'> = {
  features: [
    { kind: 'categorical', name: 'topic', buckets: 101, dim: 2 },
    { kind: 'numeric', name: 'x' },
  ],
  label: { maturity: '300ms', tokenTtl: '1h' },
  snapshot: { minRows: 100 },
  checks: { volume: { maxRatio: 1e9 } },
  training: { command: fixtureTrainer('rising'), timeout: '30s' },
  evaluation: { latencyCandidates: [] },
  gate: { tolerance: 0.05, replicates: 200 },
  // A shadow's threads give way to others: on a busy machine its time says nothing about the model.
  shadow: { duration: '2s', minRequests: 10, maxLatencyRatio: 1_000 },
  canary: { steps: [50, 100], window: '2s', checkEvery: '200ms', holdback: 0.2, lease: '20s', rollbackDeadline: '40s' },
  watch: { window: '1s' },
  health: { bucket: '100ms', feedbackDelay: '300ms', minImpressions: 20, quality: ['logLoss'], z: 5, maxLatency: '2s' },
  exploration: { share: 0 },
};

export async function createInstallation(options: InstallationOptions = {}): Promise<TestInstallation> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-rig-'));
  const id = randomBytes(4).toString('hex');
  const line = `line-${id}`;
  const queuePrefix = `test-${id}`;
  const database = await createTestDatabase();
  const connection = await Connection.connect({ address: inject('temporalAddress') });
  const client = new Client({ connection });
  const env = readEnvironment({
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    FRESHET_QUEUE_PREFIX: queuePrefix,
    FRESHET_ARTIFACTS: join(folder, 'artifacts'),
    FRESHET_LOG_ROOT: join(folder, 'events'),
    FRESHET_WORK_ROOT: join(folder, 'work'),
    FRESHET_PYTHON: inject('pythonPath'),
    FRESHET_REPORTS_PORT: String(await freePort()),
    ...options.env,
  });
  const logger = pino({ level: 'fatal' });
  const workers = new Map<WorkerRole, RunningWorker>();
  const gates = new ActivityGates();
  const overrides = options.workers ?? { interceptors: { activity: [gates.interceptor] } };
  const configs = new Map<string, LineConfig>();
  const configure = async (given: Partial<LineConfigInput> = {}, name = line): Promise<LineConfig> => {
    const config = lineConfigSchema.parse({ ...merge(DEFAULTS, given), line: name });
    configs.set(name, config);
    await applyLine(database.db, { config, who: 'test' });
    return config;
  };
  const start = async (role: WorkerRole): Promise<RunningWorker> => {
    const worker = await startWorker(role, {
      ...{ env, logger, overrides, processEnv: {}, workflowBundle: await workflowBundle() },
    });
    workers.set(role, worker);
    return worker;
  };
  const stopWorker = async (role: WorkerRole): Promise<void> => {
    await workers.get(role)?.stop();
    workers.delete(role);
  };

  await configure();
  const gateway = await startGateway({
    databaseUrl: database.url,
    artifactsRoot: env.FRESHET_ARTIFACTS,
    logRoot: env.FRESHET_LOG_ROOT,
    cacheDir: join(folder, 'cache'),
    host: '127.0.0.1',
    port: 0,
    processId: `gateway-${id}`,
    keys: KEYS,
    pollEveryMs: 100,
    flushEveryMs: 100,
    sealEveryMs: 100,
    logger,
  });
  const traffic = startTraffic({ url: gateway.url, line });
  await Promise.all((['data', 'gpu', 'rollout'] as const).map(start));

  const started: CycleHandle[] = [];
  const startCycle = async (name = line): Promise<CycleHandle> => {
    if (options.sharePreparation === true) {
      const { stable } = await currentRoute(database.db, name);
      gates.reuse(name, { activities: PREPARATION, from: JSON.stringify([stable, before(configs.get(name))]) });
    }
    const handle = await client.workflow.start<(input: TrainingCycleInput) => Promise<CycleResult>>(CYCLE_WORKFLOW, {
      workflowId: `freshet-${name}-${randomBytes(4).toString('hex')}`,
      taskQueue: taskQueue('rollout', queuePrefix),
      args: [{ line: name, trigger: 'test' }],
    });
    started.push(handle);
    return handle;
  };
  const runCycle = async (given: Partial<LineConfigInput> = {}): Promise<CycleResult> => {
    await configure(given);
    const handle = await startCycle();
    const result = await handle.result();
    await replay(handle);
    return result;
  };
  return {
    ...{
      line,
      db: database.db,
      client,
      gateway,
      traffic,
      env,
      queuePrefix,
      configure,
      startCycle,
      runCycle,
      stopWorker,
    },
    startWorker: start,
    async settle() {
      for (const handle of started.splice(0)) {
        await handle.cancel().catch(() => undefined);
        await handle.result().catch(() => undefined);
      }
    },
    async coldStart() {
      await traffic.untilImpressions(400);
      return runCycle();
    },
    async close() {
      await traffic.stop();
      for (const role of [...workers.keys()]) await stopWorker(role);
      await gateway.close();
      await connection.close();
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Fails unless the version serves everything: no canary, no shadow, no holdback. */
export async function servesAlone({ db, line }: TestInstallation, version: number): Promise<void> {
  expect(await currentRoute(db, line)).toMatchObject({
    stable: version,
    canary: null,
    holdbackVersion: null,
    shadow: null,
  });
}

/** Waits until the cycle's status is as asked; fails when the cycle ends before. */
export async function untilStatus(
  handle: CycleHandle,
  reached: (status: CycleStatus) => boolean,
): Promise<CycleStatus> {
  for (;;) {
    const status = await handle.query(statusQuery);
    if (reached(status)) return status;
    if (status.outcome !== null) {
      throw new Error(`the cycle ended ${status.outcome} before that: ${JSON.stringify(status.reasons)}`);
    }
    await wait(POLL_MS);
  }
}

/** Of a config, what decides before anything is routed. */
function before(config: LineConfig | undefined): unknown {
  return { ...config, ...{ shadow: null, canary: null, watch: null, health: null } };
}

type Sections = Record<string, unknown>;

/** Sections are merged field by field, everything else is replaced. */
function merge(base: Sections, given: Sections): Sections {
  const isSection = (value: unknown): value is Sections =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  return Object.fromEntries(
    [...new Set([...Object.keys(base), ...Object.keys(given)])].map((key) => {
      const [was, is] = [base[key], given[key]];
      return [key, isSection(was) && isSection(is) ? { ...was, ...is } : (is ?? was)];
    }),
  );
}
