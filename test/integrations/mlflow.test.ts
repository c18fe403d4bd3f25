import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { pino } from 'pino';
import { mlflowFromEnv, type MlflowTarget } from '../../integrations/mlflow-settings.ts';
import { Mlflow } from '../../integrations/mlflow.ts';
import { freePort } from '../../scripts/stack/ports.ts';
import { removeAlias, setAlias } from '../../store/aliases.ts';
import { closeCycle, recordPhases } from '../../store/cycles.ts';
import { applyLine } from '../../store/lines.ts';
import { mlflowCopy } from '../../store/mlflow-mirrors.ts';
import { currentRoute } from '../../store/routes.ts';
import { mirrorToMlflow, startMlflowMirror, type MirrorReport } from '../../workers/mlflow-mirror.ts';
import { ADMIN, startMlflow, type MlflowServer } from '../mlflow/server.ts';
import { startProxy, type Proxy } from '../mlflow/proxy.ts';
import { decide, interval, part, well } from '../policy/gate-cases.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import {
  alert,
  claim,
  LINE,
  lineConfig,
  lineWithCandidate,
  lineWithStable,
  promoteCandidate,
  register,
  rollback,
} from '../store/stage.ts';

/** The MLflow server keeps what each test wrote: each has names of its own there. */
let prefix: string;
let unsecured: Promise<MlflowServer>;
let server: MlflowServer;
let secured: Promise<MlflowServer>;
let test: TestDatabase;
let proxy: Proxy;
let tests = 0;

beforeAll(async () => {
  // Takes as long to start as the other, and only the last test asks it.
  secured = startMlflow({ secured: true });
  secured.catch(() => undefined);
  unsecured = startMlflow();
  server = await unsecured;
});
afterAll(async () => {
  await Promise.allSettled([unsecured, secured].map(async (started) => (await started).stop()));
});
beforeEach(async () => {
  tests += 1;
  prefix = `test${String(tests)}`;
  [test, proxy] = await Promise.all([createTestDatabase(), startProxy(server.url)]);
});
afterEach(async () => {
  await Promise.all([test.drop(), proxy.close()]);
});

interface Seen {
  runs: {
    id: string;
    name: string;
    status: string;
    start: number;
    end: number;
    tags: Named;
    params: Named;
    metrics: Named;
  }[];
  versions: { version: string; runId: string; source: string; tags: Named }[];
  aliases: Named;
}
interface RunInfo {
  run_id: string;
  run_name: string;
  status: string;
  start_time: number;
  end_time: number;
}
type Named = Record<string, unknown>;
interface Entry {
  key: string;
  value: unknown;
}

function targetAt(url: string, timeoutMs = 10_000): MlflowTarget {
  return { mlflow: new Mlflow({ url, timeoutMs }), prefix, id: prefix };
}

/** The `later`-th look: each is long after the one before, so that no backoff is waited for. */
function mirror(later = 0, target = targetAt(proxy.url)): Promise<MirrorReport> {
  return mirrorToMlflow(test.db, { target, now: new Date(Date.now() + (later + 1) * 600_000) });
}

const named = (list: Entry[] = []): Named => Object.fromEntries(list.map(({ key, value }) => [key, value]));

/** What MLflow itself says of the line, asked without the client that wrote it. */
async function seen(line = LINE): Promise<Seen> {
  const { experiment } = (await server.ask('experiments/get-by-name', { experiment_name: `${prefix}/${line}` })) as {
    experiment: { experiment_id: string };
  };
  const { runs } = (await server.ask(
    'runs/search',
    {},
    {
      experiment_ids: [experiment.experiment_id],
      order_by: ['attributes.run_name ASC'],
    },
  )) as { runs: { info: RunInfo; data: Record<string, Entry[]> }[] };
  const name = `${prefix}.${line}`;
  const { model_versions: versions = [] } = (await server.ask('model-versions/search', {
    filter: `name = '${name}'`,
    order_by: 'version_number ASC',
  })) as { model_versions?: { version: string; run_id: string; source: string; tags?: Entry[] }[] };
  const { registered_model: model } = (await server.ask('registered-models/get', { name })) as {
    registered_model: { aliases?: { alias: string; version: string }[] };
  };
  return {
    runs: runs.map(({ info, data }) => ({
      ...{ id: info.run_id, name: info.run_name, status: info.status, start: info.start_time, end: info.end_time },
      ...{ tags: named(data['tags']), params: named(data['params']), metrics: named(data['metrics']) },
    })),
    versions: versions.map(({ version, run_id: runId, source, tags }) => ({
      version,
      runId,
      source,
      tags: named(tags),
    })),
    aliases: Object.fromEntries((model.aliases ?? []).map(({ alias, version }) => [alias, version])),
  };
}

const statuses = ({ versions }: Seen): unknown[] => versions.map(({ tags }) => tags['freshet.status']);
const once = { versions: 1, notes: [], interrupted: null };

describe('a version', () => {
  it('becomes a run with params, metrics and tags, and a model version', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await claim(db, 'cycle-1');
    await recordPhases(db, {
      cycleId: 'cycle-1',
      phases: [{ phase: 'train', startedAt: '2026-01-05T10:00:00Z', endedAt: '2026-01-05T10:20:00Z' }],
    });
    const evaluation = { ...well, slices: [part('home', interval(-0.001, 0.003)), part('more/pages', null)] };
    await register(db, 'cycle-1', null, {
      environment: { python: '3.12' },
      seed: 42,
      metrics: {
        training: { loss: 0.25, diverged: null },
        examples: 20_000,
        parity: { rows: 100, maxDelta: 1e-6, meanDelta: 1e-7 },
        evaluation,
        gate: decide(),
      },
    });
    expect(await mirror()).toEqual(once);
    const { runs, versions, aliases } = await seen();
    const [run] = runs;
    expect(run).toMatchObject({
      name: `${LINE} 1`,
      status: 'FINISHED',
      start: Date.parse('2026-01-05T10:00:00Z'),
      end: Date.parse('2026-01-05T10:20:00Z'),
      params: { strategy: 'full', parent: 'none', champion: '3', seed: '42', configHash: 'c', 'training.seed': '1' },
      tags: {
        ...{ 'freshet.line': LINE, 'freshet.version': '1', 'freshet.status': 'candidate', 'freshet.gate': 'pass' },
        ...{ 'freshet.cycle': 'cycle-1', 'freshet.workflow': 'workflow-cycle-1', 'freshet.run': 'run-cycle-1' },
        ...{ 'freshet.snapshot': 's', 'freshet.codeVersion': 'test', 'freshet.environment.python': '3.12' },
      },
      metrics: {
        ...{ 'training.loss': 0.25, examples: 20_000, 'parity.maxDelta': 1e-6, rows: 20_000, modelBytes: 100_000 },
        'challenger.auc': evaluation.overall.challenger.auc.estimate,
        'challenger.auc.lower': evaluation.overall.challenger.auc.lower,
        'champion.logLoss.upper': evaluation.overall.champion?.logLoss.upper,
        'gain.ndcg': 0.001,
        'slice.surface.home.auc': evaluation.overall.challenger.auc.estimate,
        'slice.surface.home.gain.auc': 0.001,
        'latency.50.p99Ms': 4,
      },
    });
    expect(run?.metrics).not.toHaveProperty('training.diverged');
    expect(versions).toEqual([
      {
        version: '1',
        runId: run?.id,
        source: `freshet://artifacts/${'a'.repeat(64)}`,
        tags: expect.objectContaining({ 'freshet.version': '1', 'freshet.status': 'candidate' }) as unknown,
      },
    ]);
    // Version 0, which is stable yet, has no model.
    expect(aliases).toEqual({});
    expect(await mlflowCopy(db, { line: LINE, version: 1 })).toMatchObject({ runId: run?.id, modelVersion: '1' });
  });

  it('follows a promotion, and a rollback', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'next' });
    expect(await mirror()).toEqual({ ...once, versions: 2 });
    const before = await seen();
    expect(statuses(before)).toEqual(['stable', 'canary']);
    expect(before.aliases).toEqual({ stable: '1', canary: '2' });
    await promoteCandidate(db, { cycleId: 'next', version: candidate, expectedEpoch: route.epoch });
    expect(await mirror(1)).toEqual({ ...once, versions: 2 });
    const after = await seen();
    expect(statuses(after)).toEqual(['archived', 'stable']);
    expect(after.runs.map(({ tags }) => tags['freshet.outcome'])).toEqual(['promoted', 'promoted']);
    expect(after.runs.map(({ tags }) => tags['freshet.status'])).toEqual(['archived', 'stable']);
    expect(after.aliases).toEqual({ stable: '2' });
    await rollback(db, 'next');
    await mirror(2);
    const last = await seen();
    expect(statuses(last)).toEqual(['stable', 'rolledBack']);
    expect(last.aliases).toEqual({ stable: '1' });
    expect(last.runs.map(({ id }) => id)).toEqual(before.runs.map(({ id }) => id));
    proxy.paths.length = 0;
    expect(await mirror(3)).toEqual({ versions: 0, notes: [], interrupted: null });
    expect(proxy.paths).toEqual([]);
  });

  it('keeps its aliases where they are in Freshet, and leaves those of others alone', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'next' });
    await setAlias(db, { line: LINE, alias: 'holiday', version: 1, who: 'ada', why: 'test' });
    await mirror();
    expect((await seen()).aliases).toEqual({ stable: '1', canary: '2', holiday: '1' });
    await server.ask('registered-models/alias', {}, { name: `${prefix}.${LINE}`, alias: 'audit', version: '1' });
    await setAlias(db, { line: LINE, alias: 'holiday', version: 2, who: 'ada', why: 'test' });
    await setAlias(db, { line: LINE, alias: 'audit', version: 2, who: 'ada', why: 'test' });
    const { notes } = await mirror(1);
    expect(notes.map(({ note }) => note)).toEqual([
      expect.stringMatching(/alias audit .* not set by Freshet: remove it/),
    ]);
    expect((await seen()).aliases).toEqual({ stable: '1', canary: '2', holiday: '2', audit: '1' });
    for (const alias of ['holiday', 'audit']) await removeAlias(db, { line: LINE, alias, who: 'ada', why: 'test' });
    await mirror(2);
    expect((await seen()).aliases).toEqual({ stable: '1', canary: '2', audit: '1' });
  });
});

describe('when MLflow is away', () => {
  it.each([
    [
      'refuses connections',
      'ECONNREFUSED',
      async (): Promise<string> => `http://127.0.0.1:${String(await freePort())}`,
    ],
    ['answers 500', 'INTERNAL_ERROR: the disk is full', (): string => ((proxy.decide = () => 'fail'), proxy.url)],
    ['hangs', 'no answer within 150 ms', (): string => ((proxy.decide = () => 'hang'), proxy.url)],
  ])('and %s, nothing is lost, and nothing made twice', async (_, message, away) => {
    const { db } = test;
    await lineWithStable(db);
    const failed = await mirror(0, targetAt(await away(), 150));
    expect(failed).toMatchObject({ versions: 0, interrupted: { name: 'MlflowError', retryable: true } });
    expect(failed.interrupted?.message).toContain(message);
    expect(await mlflowCopy(db, { line: LINE, version: 1 })).toBeNull();
    // Backs off: the same moment has nothing due.
    expect(await mirror(0)).toMatchObject({ versions: 0, interrupted: null });
    proxy.decide = () => 'pass';
    expect(await mirror(1)).toEqual(once);
    const { runs, versions, aliases } = await seen();
    expect([runs.length, versions.length, aliases]).toEqual([1, 1, { stable: '1' }]);
  });

  it('goes on with other lines when it fails for one', async () => {
    const { db } = test;
    await lineWithStable(db);
    await applyLine(db, { config: { ...lineConfig(), line: 'other' }, who: 'test' });
    proxy.decide = () => 'fail';
    await mirror();
    proxy.decide = () => 'pass';
    expect(await mirror(1)).toEqual(once);
  });
});

it('ends complete and without duplicates wherever it is cut short', { timeout: 120_000 }, async () => {
  const { db } = test;
  await lineWithCandidate(db, { cycleId: 'next' });
  const lost = new Set<string>();
  proxy.decide = ({ content }) => {
    if (lost.has(content)) return 'pass';
    lost.add(content);
    return 'lose';
  };
  // Each look ends with a request that it did not get to before, which is fulfilled without anybody hearing of it.
  let looks = 0;
  while ((await mirror(looks)).interrupted !== null && looks < 60) looks += 1;
  expect(looks).toBeLessThan(60);
  expect(lost.size).toBeGreaterThan(20);
  const { runs, versions, aliases } = await seen();
  expect(runs.map(({ name, status }) => [name, status])).toEqual([
    [`${LINE} 1`, 'FINISHED'],
    [`${LINE} 2`, 'FINISHED'],
  ]);
  expect(versions.map(({ runId }) => runId)).toEqual(runs.map(({ id }) => id));
  expect(aliases).toEqual({ stable: '1', canary: '2' });
});

it('is made once by any number of workers', async () => {
  await lineWithCandidate(test.db, { cycleId: 'next' });
  const reports = await Promise.all([mirror(), mirror(), mirror()]);
  expect(reports.reduce((sum, { versions }) => sum + versions, 0)).toBe(2);
  const { runs, versions } = await seen();
  expect([runs.length, versions.length]).toEqual([2, 2]);
});

it('records what MLflow refuses with its words, and goes on with the others', async () => {
  const { db } = test;
  await lineWithStable(db);
  const { experiment_id: experimentId } = (await server.ask(
    'experiments/create',
    {},
    { name: `${prefix}/${LINE}` },
  )) as {
    experiment_id: string;
  };
  const tags = [{ key: 'freshet.id', value: `${LINE}/1/cold` }];
  const { run } = (await server.ask('runs/create', {}, { experiment_id: experimentId, tags })) as {
    run: { info: { run_id: string } };
  };
  const param = { key: 'strategy', value: 'somebody changed it' };
  await server.ask('runs/log-batch', {}, { run_id: run.info.run_id, params: [param] });
  await claim(db, 'next');
  await register(db, 'next', 1);
  const { versions, notes, interrupted } = await mirror();
  expect([versions, interrupted]).toEqual([1, null]);
  expect(notes).toEqual([
    { line: LINE, note: expect.stringMatching(/^version 1: MLflow at .*INVALID_PARAMETER_VALUE.*param/) as unknown },
  ]);
  expect((await seen()).versions.map(({ tags: of }) => of['freshet.version'])).toEqual(['2']);
  await server.ask('runs/delete', {}, { run_id: run.info.run_id });
  expect(await mirror(1)).toEqual(once);
  expect((await seen()).aliases).toEqual({ stable: '2' });
});

it('makes anew what was deleted in MLflow, once it changes', async () => {
  const { db } = test;
  await lineWithStable(db);
  await mirror();
  const [first] = (await seen()).runs;
  await server.ask('runs/delete', {}, { run_id: first?.id });
  await claim(db, 'next');
  const { version } = await register(db, 'next', 1);
  const { epoch } = await currentRoute(db, LINE);
  expect([version, epoch]).toEqual([2, 2]);
  await closeCycle(db, { cycleId: 'next', outcome: 'rejected', reasons: [], alert: alert('next') });
  expect(await mirror(1)).toEqual(once);
  expect((await seen()).runs.map(({ name }) => name)).toEqual([`${LINE} 2`]);
});

it('runs by itself where MLFLOW_TRACKING_URI names a server, and stops at once', async () => {
  const { db } = test;
  await lineWithStable(db);
  const logger = pino({ level: 'silent' });
  const processEnv = { MLFLOW_TRACKING_URI: server.url, FRESHET_MLFLOW_PREFIX: prefix };
  const running = startMlflowMirror({ db, logger, processEnv });
  await expect.poll(() => mlflowCopy(db, { line: LINE, version: 1 }), { timeout: 30_000 }).not.toBeNull();
  await running?.stop();
  expect((await seen()).runs).toHaveLength(1);
});

it('names bad credentials, and is let in with good ones', { timeout: 120_000 }, async () => {
  const { db } = test;
  await lineWithStable(db);
  const { url } = await secured;
  const of = (password: string): MlflowTarget => {
    const env = {
      MLFLOW_TRACKING_URI: url,
      MLFLOW_TRACKING_USERNAME: ADMIN.username,
      MLFLOW_TRACKING_PASSWORD: password,
    };
    const target = mlflowFromEnv(env);
    if (target === null) throw new Error('expected a target');
    return target;
  };
  const { interrupted } = await mirror(0, of('wrong'));
  expect(interrupted?.message).toMatch(
    /^MLflow at 127\.0\.0\.1:\d+ \(registered-models\/get\) did not accept the credentials \(401\): set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME/,
  );
  expect(await of(ADMIN.password).mlflow.ensureExperiment(prefix)).toBe('1');
});
