import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, it, vi } from 'vitest';
import type { DataDependencies, GpuDependencies } from '../../activities/dependencies.ts';
import { takeSnapshot } from '../../activities/take-snapshot.ts';
import type { TrainChallengerResult } from '../../activities/train-challenger.ts';
import { DevicePool } from '../../activities/trainer-devices.ts';
import { lineConfigSchema } from '../../config/schema.ts';
import type { Reproduction } from '../../scripts/reproduce/reproduce.ts';
import { projectRoot } from '../../scripts/stack/project.ts';
import { FEATURES, writeCheckSnapshot } from '../../scripts/trainer-check/snapshot.ts';
import { openLocalArtifacts, type ArtifactStore } from '../../store/artifacts.ts';
import { closeCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { recordRemoved } from '../../store/removed-artifacts.ts';
import { promote } from '../../store/routes.ts';
import { openLocalScratch } from '../../store/scratch-artifacts.ts';
import { readSnapshot, saveSnapshot } from '../../store/snapshots.ts';
import type { Lineage } from '../../store/types.ts';
import { createVersion, readVersion } from '../../store/versions.ts';
import { attempt } from '../activities/training-stage.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { runFreshet } from '../rig/freshet.ts';
import { alert, claim, LINE } from '../store/stage.ts';

let folder: string;
let database: TestDatabase;
let db: Database;
let artifacts: ArtifactStore;

const CODE_VERSION = 'the code of then';
const config = lineConfigSchema.parse({
  line: LINE,
  features: FEATURES,
  training: { strategy: 'incremental', learningRate: 0.01, batchSize: 256, hidden: [16], epochs: 2, tune: false },
});

/** A snapshot of the trainer check's rows: version 1 trains on the first part, version 2 on the second. */
async function snapshotFor(deps: DataDependencies, cycleId: string, part: 0 | 1): Promise<string> {
  const { snapshotId } = await takeSnapshot(deps, { cycleId });
  const { manifest } = await readSnapshot(db, snapshotId);
  const { train, replay, holdout } = await writeCheckSnapshot(join(folder, cycleId), config.features);
  const stored = (paths: (string | undefined)[]): Promise<object[]> =>
    Promise.all(paths.map(async (path) => ({ ...(await artifacts.putFile(path ?? '')), rows: 1 })));
  const files = {
    train: await stored([train[part]]),
    replay: await stored(part === 0 ? [] : replay),
    holdout: await stored(holdout),
    ...{ historical: [], unlabelled: [] },
  };
  const real = { ...(manifest as object), files };
  const { sha256 } = await artifacts.put(Buffer.from(JSON.stringify(real)));
  await saveSnapshot(db, { snapshotId: sha256, line: LINE, cycleId, manifest: real });
  return sha256;
}

async function train(cycleId: string, part: 0 | 1): Promise<void> {
  const core = { db, logger: pino({ level: 'silent' }), uiUrl: null, codeVersion: CODE_VERSION, artifacts };
  const data: DataDependencies = {
    ...{ ...core, logRoot: join(folder, 'log'), workRoot: join(folder, 'data'), logTable: null },
    ...{ processEnv: {}, reportsUrl: null },
  };
  const gpu: GpuDependencies = {
    ...{ ...core, workRoot: join(folder, 'work'), scratch: openLocalScratch(join(folder, 'scratch')) },
    devices: new DevicePool({ cpuTrainings: 1 }),
    trainer: {
      command: [inject('pythonPath'), '-m', 'freshet_trainer'],
      distributed: () => [],
      env: { PYTHONPATH: join(projectRoot(), 'trainer') },
    },
  };
  const { parent } = await claim(db, cycleId);
  const snapshotId = await snapshotFor(data, cycleId, part);
  const trained = await attempt(gpu, { cycleId, snapshotId }).result;
  await register({ cycleId, snapshotId, trained, parent });
  if (part === 1) await closeCycle(db, { cycleId, outcome: 'rejected', reasons: [] });
  else
    await promote(db, {
      ...{ cycleId, version: 1, expectedEpoch: 1, direct: true, who: 'test', why: 'cold start' },
      ...{ effectKey: `${cycleId}/promote`, alert: alert(cycleId) },
    });
}

async function register(of: {
  cycleId: string;
  snapshotId: string;
  trained: TrainChallengerResult;
  parent: number | null;
}): Promise<void> {
  const { cycleId, snapshotId, trained, parent } = of;
  await createVersion(db, {
    ...{ line: LINE, cycleId, parent, effectKey: `${cycleId}/register` },
    ...{ modelSha256: trained.modelSha256, checkpointSha256: trained.checkpointSha256, features: config.features },
    ...{ trainingCutoffMs: 0, metrics: { training: trained.metrics } },
    lineage: {
      ...{ parent, strategy: trained.strategy, snapshotId, config, configHash: '', features: config.features },
      trainerManifestSha256: trained.trainerManifestSha256,
      predictionsSha256: trained.predictionsSha256,
      resultSha256: trained.resultSha256,
      ...{ codeVersion: CODE_VERSION, seed: config.training.seed, threads: config.training.threads },
      environment: { ...trained.environment, torch: '1.0.0' },
      ...{ cycleId, workflowId: cycleId, runId: cycleId },
    },
  });
}

async function reproduce(...args: string[]): Promise<{ code: number; out: Reproduction & { error?: string } }> {
  const { code, out } = await runFreshet('reproduce', LINE, ...args, '--json');
  return { code, out: JSON.parse(out) as Reproduction };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-reproduce-test-'));
  database = await createTestDatabase();
  ({ db } = database);
  artifacts = openLocalArtifacts(join(folder, 'artifacts'));
  await applyLine(db, { config, who: 'test' });
  await train('first', 0);
  await train('second', 1);
});
afterAll(async () => {
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', database.url);
  vi.stubEnv('FRESHET_ARTIFACTS', join(folder, 'artifacts'));
  vi.stubEnv('FRESHET_PYTHON', inject('pythonPath'));
});
afterEach(() => {
  vi.unstubAllEnvs();
});

it('says what differs when a training does not come out the same', async () => {
  // A lineage that names another seed than the one it was trained with.
  const { lineage, modelSha256, checkpointSha256 } = await readVersion(db, { line: LINE, version: 1 });
  const manifest = Buffer.from(await artifacts.get(lineage.trainerManifestSha256 ?? '')).toString();
  const { sha256 } = await artifacts.put(Buffer.from(manifest.replace('"seed": 1', '"seed": 2')));
  await claim(db, 'third');
  const version = { line: LINE, cycleId: 'third', effectKey: 'third/register', parent: 1, features: config.features };
  await createVersion(db, {
    ...{ ...version, modelSha256: modelSha256 ?? '', checkpointSha256, trainingCutoffMs: 0, metrics: {} },
    lineage: { ...(lineage as Lineage), trainerManifestSha256: sha256 },
  });
  const { code, out, err } = await runFreshet('reproduce', LINE, 'latest');

  expect(err).toBe('');
  expect(code).toBe(1);
  expect(out).toMatch(/^version 3 of news-feed: different\nmodel.onnx +differs/);
  expect(out).toMatch(/seed \(lineage, trainer manifest\) +1 +2/);
  expect(out).toMatch(/code version +the code of then +/);
  expect(out).toMatch(/torch +1\.0\.0 +\d/);
  expect(out).toMatch(/probabilities of [1-9]\d* rows differ by 0\.\d+ at most/);
});

it('gives the bytes of an update and, where its checkpoint is gone, of its parent before it', async () => {
  const { checkpointSha256 } = await readVersion(db, { line: LINE, version: 1 });
  const sha256 = checkpointSha256 ?? '';
  await recordRemoved(db, [{ sha256, line: LINE, what: 'checkpoint of version 1', bytes: 1, why: 'old' }]);
  await unlink(await artifacts.path(sha256));

  const refused = await reproduce('2');
  expect(refused.code).toBe(1);
  expect(refused.out.error).toMatch(
    /version 2 of "news-feed" can not be trained again: checkpoint of version 1 of "news-feed", removed by retention at 20.*: old\. .*--with-parents/,
  );

  const kept = join(folder, 'kept');
  const { code, out } = await reproduce('2', '--with-parents', '--keep', kept);
  expect(code).toBe(0);
  expect(out).toMatchObject({ version: 2, verdict: 'identical', device: 'cpu', metrics: [] });
  expect(out.parent).toMatchObject({ version: 1, verdict: 'identical', metrics: [], predictions: { largest: 0 } });
  for (const { name, same } of [...out.files, ...(out.parent?.files ?? [])]) expect([name, same]).toEqual([name, true]);
  const { modelSha256, lineage } = await readVersion(db, { line: LINE, version: 2 });
  expect(lineage.strategy).toBe('incremental');
  const model = await readFile(join(kept, 'version-2', 'output', 'model.onnx'));
  expect(createHash('sha256').update(model).digest('hex')).toBe(modelSha256);
  await expect(runFreshet('reproduce', LINE, '2', '--keep', kept)).resolves.toMatchObject({
    code: 1,
    err: expect.stringContaining('is not empty') as string,
  });
});

it('names all that is gone, and refuses what was never trained', async () => {
  const { lineage } = await readVersion(db, { line: LINE, version: 2 });
  await rm(await artifacts.path(lineage.trainerManifestSha256 ?? ''));
  const { code, out } = await reproduce('2');
  expect(code).toBe(1);
  expect(out.error).toMatch(
    /version 2 .* can not be trained again: trainer manifest of version 2: artifact .* is missing/,
  );
  expect((await reproduce('0')).out.error).toContain('version 0 of "news-feed" keeps the input\'s order');
});
