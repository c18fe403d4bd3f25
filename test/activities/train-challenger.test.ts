import { execFileSync, spawnSync } from 'node:child_process';
import { access, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { trainingFolder } from '../../activities/trainer-checkpoints.ts';
import { DevicePool } from '../../activities/trainer-devices.ts';
import type { TrainingHeartbeat } from '../../activities/trainer-heartbeats.ts';
import { closeCycle } from '../../store/cycles.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { openLocalScratch } from '../../store/scratch-artifacts.ts';
import { attempt, createTrainingStage, trainer, type Attempt, type TrainingStage } from './training-stage.ts';

let stage: TrainingStage;

beforeEach(async () => {
  stage = await createTrainingStage();
});

afterEach(async () => {
  await stage.close();
});

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

function beatOf({ beats }: Attempt): TrainingHeartbeat {
  const beat = beats.at(-1);
  if (beat === undefined) throw new Error('no heartbeat yet');
  return beat;
}

async function failure(result: Promise<unknown>): Promise<ApplicationFailure> {
  const error: unknown = await result.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApplicationFailure)) throw new Error(`expected an ApplicationFailure, got ${String(error)}`);
  return error;
}

describe('trainChallenger', () => {
  it('stores what the trainer left, what it says it did, and the manifest', async () => {
    const { deps } = stage;
    const input = await stage.cycle('c1', { command: trainer('ok') });

    const result = await attempt(deps, input).result;

    expect(result).toMatchObject({ strategy: 'full', parent: null, examples: 0, warnings: [] });
    const manifest: unknown = JSON.parse(
      Buffer.from(await deps.artifacts.get(result.trainerManifestSha256)).toString(),
    );
    expect(manifest).toMatchObject({
      contractVersion: 2,
      cycleId: 'c1',
      strategy: 'full',
      warmStart: null,
      devices: 0,
    });
    for (const sha256 of [result.modelSha256, result.checkpointSha256, result.predictionsSha256]) {
      await deps.artifacts.path(sha256);
    }
    expect(JSON.parse(Buffer.from(await deps.artifacts.get(result.resultSha256)).toString())).toMatchObject({
      contractVersion: 2,
      note: 'kept',
    });
  });

  it('trains from the parent as the cycle decided', async () => {
    const { deps } = stage;
    const first = await stage.cycle('c1', { command: trainer('ok') });
    await deps.artifacts.put(Buffer.from('weights of version 1'));
    const { sha256 } = await deps.artifacts.put(Buffer.from('weights of version 1'));
    await deps.db.query(
      `insert into versions (line, version, status, cycle_id, model_sha256, checkpoint_sha256)
       values ('news-feed', 1, 'candidate', 'c1', 'm', $1)`,
      [sha256],
    );
    await deps.db.query(`update cycles set parent = 1 where cycle_id = 'c1'`);
    const repair = { shrink: 0.9, perturb: 0.1 };

    const result = await attempt(deps, { ...first, training: { strategy: 'incremental', repair } }).result;

    expect(result).toMatchObject({ strategy: 'incremental', parent: 1 });
    const manifest: unknown = JSON.parse(
      Buffer.from(await deps.artifacts.get(result.trainerManifestSha256)).toString(),
    );
    expect(manifest).toMatchObject({
      strategy: 'incremental',
      hyperparameters: { repair },
      warmStart: { checkpoint: await deps.artifacts.path(sha256) },
    });
  });

  it('tells how far it is, when it will be done, on what and where its checkpoint is', async () => {
    const input = await stage.cycle('c1', { command: trainer('steps', '--steps', '6', '--pause', '100') });
    const training = attempt(stage.deps, input, { number: 3 });

    const beat = await training.until(({ step, checkpoint }) => (step ?? 0) >= 3 && checkpoint !== null);
    expect(beat).toMatchObject({
      ...{ state: 'training', attempt: 3, device: 'CPU', checkpointedIn: 3 },
      ...{ epoch: 1, epochs: 1, steps: 6, samplesPerSecond: 1_000, loss: 0.5 },
      checkpoint: { file: 'checkpoint.pt', epoch: 1, attemptAtMs: 3_000 },
    });
    expect(Math.abs(Date.parse(String(beat.expectedEnd)) - Date.now())).toBeLessThan(10_000);
    await training.result;
  });

  it('goes on from the last checkpoint on a machine that never saw it', async () => {
    const input = await stage.cycle('c1', { command: trainer('steps', '--steps', '8', '--pause', '150') });
    const lost = attempt(stage.machine('a'), input);
    const last = await lost.until(({ checkpoint }) => (checkpoint?.step ?? 0) >= 3);
    lost.cancel('TIMED_OUT');
    await lost.result.catch(() => undefined);
    await rm(join(stage.folder, 'a'), { recursive: true });

    const result = await attempt(stage.machine('b'), input, { number: 2, after: last }).result;

    expect(Number(result.environment['resumedAt'])).toBeGreaterThanOrEqual(last.checkpoint?.step ?? Infinity);
    expect(await stage.deps.scratch.owners()).toEqual([]);
    expect(await exists(trainingFolder(stage.machine('b').workRoot, 'c1'))).toBe(false);
  });

  it('brings the checkpoint to safety that the trainer saves when its machine is taken away', async () => {
    const input = await stage.cycle('c1', { command: trainer('slow') });
    const leaving = attempt(stage.machine('a'), input);
    await leaving.until(({ step }) => step === 1);
    expect(leaving.beats.at(-1)?.checkpoint).toBeNull();

    leaving.cancel('WORKER_SHUTDOWN');

    await expect(leaving.result).rejects.toBeInstanceOf(CancelledFailure);
    expect(leaving.beats.at(-1)?.checkpoint).toMatchObject({ step: 1 });
  });

  it('prefers the newer of two checkpoints: a machine that comes back has an old one', async () => {
    const input = await stage.cycle('c1', { command: trainer('steps', '--steps', '8', '--pause', '150') });
    const first = attempt(stage.machine('a'), input);
    const one = await first.until(({ checkpoint }) => checkpoint !== null);
    first.cancel('TIMED_OUT');
    await first.result.catch(() => undefined);
    const second = attempt(stage.machine('b'), input, { number: 2, after: one });
    const two = await second.until(({ checkpoint }) => (checkpoint?.step ?? 0) >= 5);
    second.cancel('TIMED_OUT');
    await second.result.catch(() => undefined);

    const result = await attempt(stage.machine('a'), input, { number: 3, after: two }).result;

    expect(Number(result.environment['resumedAt'])).toBeGreaterThanOrEqual(5);
  });

  it('starts over, and says so, when the kept checkpoint is gone', async () => {
    const input = await stage.cycle('c1', { command: trainer('ok') });
    const checkpoint = { sha256: 'f'.repeat(64), file: 'checkpoint.pt', epoch: 1, step: 9, attemptAtMs: 1_000 };
    const first = attempt(stage.deps, input);
    const [beat] = first.beats;
    if (beat === undefined) throw new Error('no heartbeat at the start');
    first.cancel('TIMED_OUT');
    await first.result.catch(() => undefined);

    const { environment, warnings } = await attempt(stage.deps, input, {
      number: 2,
      after: { ...beat, checkpoint, checkpointedIn: 1 },
    }).result;

    expect(environment['resumed']).toBe('false');
    expect(warnings.map(({ code }) => code)).toEqual(['trainer.checkpointLost']);
  });

  it('returns the recorded result when it is repeated after it was done', async () => {
    const input = await stage.cycle('c1', { command: trainer('ok') });
    const first = await attempt(stage.deps, input).result;
    await stage.deps.db.query(`update cycles set config = jsonb_set(config, '{training,command}', '["/no/such"]')`);

    expect(await attempt(stage.machine('b'), input, { number: 2 }).result).toEqual(first);
  });

  it('returns the result of the try that was done first, when two were under way', async () => {
    const input = await stage.cycle('c1', { command: trainer('steps', '--steps', '6', '--pause', '200') });
    const late = attempt(stage.machine('a'), input);
    await late.until(({ step }) => step === 1);
    const [first, second] = await Promise.all([
      attempt(stage.machine('b'), input, { number: 2, after: { ...beatOf(late), checkpoint: null } }).result,
      late.result,
    ]);

    // Their manifests differ by their work folders.
    expect(second).toEqual(first);
  });

  it.each([
    ['empty', /left no model\.onnx/],
    ['no-predictions', /left no predictions\.parquet/],
  ] as const)('refuses a trainer that exits with 0 and breaks its promise (%s)', async (mode, message) => {
    const input = await stage.cycle('c1', { command: trainer(mode) });

    const error = await failure(attempt(stage.deps, input).result);

    expect(error).toMatchObject({ type: 'TrainerContractBroken', nonRetryable: true });
    expect(error.message).toMatch(message);
  });

  it.each([
    ['{"contractVersion": 1, "strategy": "full", "examples": 1}', /contractVersion/],
    ['{"contractVersion": 2, "strategy": "best", "examples": 1}', /strategy/],
    ['{"contractVersion": 2, "strategy": "full"}', /examples/],
    ['{', /result\.json breaks the contract: it can not be read as JSON/],
    ['{"contractVersion": 2, "strategy": "full", "examples": 1, "metrics": {"loss": NaN}}', /there is no NaN in JSON/],
  ])('names what is wrong in result.json: %s', async (result, message) => {
    const script = `d=$(sed -n 's/.*"outputDir": "\\(.*\\)".*/\\1/p' "$0"); cd "$d"; touch model.onnx checkpoint.pt predictions.parquet; echo '${result}' > result.json`;
    const input = await stage.cycle('c1', { command: ['/bin/sh', '-c', script] });

    const error = await failure(attempt(stage.deps, input).result);

    expect(error.type).toBe('TrainerContractBroken');
    expect(error.message).toMatch(message);
  });

  it('ends a trainer that hangs, and names it', async () => {
    const input = await stage.cycle('c1', { command: ['/bin/sh', '-c', 'exec sleep 60'] });
    const deps = stage.machine('a', { trainer: { ...stage.deps.trainer, silenceLimitMs: 300 } });

    const error = await failure(attempt(deps, input).result);

    expect(error).toMatchObject({ type: 'TrainerHung', nonRetryable: false });
  });

  it('gives up when five tries in a row saved no checkpoint, and not while tries make progress', async () => {
    const input = await stage.cycle('c1', { command: trainer('exit1') });
    const [beat] = attempt(stage.deps, input).beats;
    if (beat === undefined) throw new Error('no heartbeat at the start');

    expect(await failure(attempt(stage.deps, input, { number: 4 }).result)).toMatchObject({ nonRetryable: false });
    expect(await failure(attempt(stage.deps, input, { number: 5 }).result)).toMatchObject({ nonRetryable: true });
    const after = { ...beat, checkpointedIn: 20 };
    expect(await failure(attempt(stage.deps, input, { number: 24, after }).result)).toMatchObject({
      nonRetryable: false,
    });
    // Workers that vanish say nothing: the sixth try looks back.
    expect(await failure(attempt(stage.deps, input, { number: 6 }).result)).toMatchObject({
      type: 'TrainerKilled',
      nonRetryable: true,
    });
  });

  it('gives the reason, also of the last try, where something else than the trainer stands in the way', async () => {
    const input = await stage.cycle('c1', { command: trainer('ok') });
    await stage.deps.db.query(`update snapshots set manifest = jsonb_set(manifest, '{splitMs}', '"never"')`);

    const first = await failure(attempt(stage.deps, input).result);
    const last = await failure(attempt(stage.deps, input, { number: 5 }).result);

    expect(first).toMatchObject({ type: 'TrainingBlocked', nonRetryable: false, nextRetryDelay: 30_000 });
    expect(first.message).toMatch(/splitMs/);
    expect(last.nonRetryable).toBe(true);
    expect(last.message).toMatch(/splitMs[^]*given up: 5 tries/);
  });

  it('does not give the environment of the reference trainer to another one', async () => {
    const input = await stage.cycle('c1', {
      command: ['/bin/sh', '-c', 'echo "PYTHONPATH is $PYTHONPATH" >&2; exit 2'],
    });
    const reference = { ...stage.deps.trainer, env: { PYTHONPATH: '/reference' } };
    const own = process.env['PYTHONPATH'] ?? '';

    const error = await failure(attempt(stage.machine('a', { trainer: reference }), input).result);

    expect(error.message).toContain(`PYTHONPATH is ${own};`);
  });

  it('gives each training its own devices, and tells who waits for one', async () => {
    const devices = new DevicePool({ gpus: ['0', '1'] });
    const deps = stage.machine('a', { devices });
    const slow = await stage.cycle('c1', { command: trainer('steps', '--steps', '3', '--pause', '300'), devices: 2 });
    const holder = attempt(deps, slow);
    await holder.until(({ state }) => state === 'training');
    const waiting = attempt(deps, slow, { number: 2 });

    expect(await waiting.until(({ state }) => state === 'waitingForDevice')).toMatchObject({ device: null });
    waiting.cancel('CANCELLED');
    await expect(waiting.result).rejects.toBeInstanceOf(CancelledFailure);

    const { environment } = await holder.result;
    expect(environment['devices']).toBe('0,1');
    expect(holder.beats.at(-1)?.device).toBe('GPU 0, 1');
    const { gpus } = await devices.acquire({ wanted: 2, signal: AbortSignal.timeout(1_000), onWait: () => undefined });
    expect(gpus.toSorted()).toEqual(['0', '1']);
  });

  it('trains on one device, with a warning, where several are asked for and not there', async () => {
    const input = await stage.cycle('c1', { command: trainer('ok'), devices: 4 });

    const { warnings, environment } = await attempt(stage.deps, input).result;

    expect(environment['devices']).toBe('');
    expect(warnings.map(({ code }) => code)).toEqual(['trainer.fewerDevices']);
  });

  it('runs the reference trainer with a process for each GPU', async () => {
    const input = await stage.cycle('c1', { devices: 2 });
    const distributed = (processes: number): string[] => trainer('ok', '--steps', String(processes));
    const deps = stage.machine('a', {
      devices: new DevicePool({ gpus: ['GPU-a', 'GPU-b', 'GPU-c'] }),
      trainer: { command: ['/no/such/trainer'], distributed, env: {} },
    });

    const { environment } = await attempt(deps, input).result;

    expect(environment['devices']).toBe('GPU-a,GPU-b');
  });

  it('removes what trainings of closed cycles left, and nothing else', async () => {
    const { deps } = stage;
    const ended = await stage.cycle('ended', { command: trainer('exit1') });
    await attempt(deps, ended).result.catch(() => undefined);
    await writeFile(join(stage.folder, 'file'), 'x');
    for (const owner of ['ended', 'of another database'])
      await deps.scratch.of(owner).putFile(join(stage.folder, 'file'));
    await mkdir(join(deps.workRoot, 'training', 'unknown'));
    await closeCycle(deps.db, { cycleId: 'ended', outcome: 'failed', reasons: [] });
    const kept = await deps.artifacts.putFile(join(stage.folder, 'file'));

    await attempt(deps, await stage.cycle('next', { command: trainer('ok') })).result;

    expect(await readdir(join(deps.workRoot, 'training'))).toEqual(['unknown']);
    expect(await deps.scratch.owners()).toEqual(['of another database']);
    expect(await readFile(await deps.artifacts.path(kept.sha256), 'utf8')).toBe('x');
  });
});

/** A disk that is full, where this user may mount one. */
async function withFullDisk(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = join(stage.folder, 'small');
  await mkdir(folder);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', folder]).status === 0;
  if (!mounted) {
    console.warn('not tested: a full disk needs the right to mount a tmpfs');
    return;
  }
  try {
    await writeFile(join(folder, 'ballast'), Buffer.alloc(64 * 1_024)).catch(() => undefined);
    await work(folder);
  } finally {
    execFileSync('umount', ['-l', folder]);
  }
}

describe('a full disk', () => {
  it.each([
    ['the work folder', (folder: string) => ({ workRoot: join(folder, 'work') })],
    ['the artifacts', (folder: string) => ({ artifacts: openLocalArtifacts(folder) })],
  ])('under %s is named and tried again in a minute', async (_, change) => {
    const input = await stage.cycle('c1', { command: trainer('ok') });
    await withFullDisk(async (folder) => {
      const error = await failure(attempt(stage.machine('a', change(folder)), input).result);

      expect(error).toMatchObject({ type: 'TrainerDiskFull', nonRetryable: false, nextRetryDelay: 60_000 });
      expect(error.message).toMatch(/make room for the work folder \(FRESHET_WORK_ROOT\)/);
    });
  });

  it('under the copies of checkpoints costs a warning, and no training', async () => {
    const input = await stage.cycle('c1', { command: trainer('steps', '--steps', '2') });
    await withFullDisk(async (folder) => {
      const { warnings } = await attempt(stage.machine('a', { scratch: openLocalScratch(folder) }), input).result;

      expect(warnings.map(({ code }) => code)).toEqual(['trainer.checkpointNotCopied']);
      expect(warnings[0]?.message).toMatch(/ENOSPC/);
    });
  });
});
