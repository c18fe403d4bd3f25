import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { z } from 'zod';
import type { LineConfig } from '../config/schema.ts';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import type { CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { GpuDependencies } from './dependencies.ts';
import { localFiles, snapshotManifest } from './snapshot-files.ts';
import { runTrainer, type TrainerLine } from './trainer-process.ts';

/** Also without news from the trainer, so that a slow start is not taken for a hang. */
const HEARTBEAT_EVERY_MS = 2_000;
/** A trainer that says nothing for this long hangs: heartbeats stop, and Temporal ends the attempt. */
const SILENCE_LIMIT_MS = 120_000;

const trainerResult = z.looseObject({
  contractVersion: z.literal(1),
  metrics: z.record(z.string(), z.number().nullable()).default({}),
  environment: z.record(z.string(), z.string()).default({}),
});

export interface TrainChallengerInput {
  cycleId: string;
  snapshotId: string;
}

export interface TrainChallengerResult {
  modelSha256: string;
  checkpointSha256: string;
  trainerManifestSha256: string;
  parent: number | null;
  strategy: 'full' | 'warmStart';
  metrics: Record<string, number | null>;
  environment: Record<string, string>;
  warnings: Reason[];
}

/**
 * Trains the challenger in a trainer process on the checked snapshot. Heartbeats carry its progress; a retry resumes from
 * the checkpoint in its work folder; cancellation asks it to save one and waits until the process group is gone.
 *
 * @throws ApplicationFailure `TrainerFailed`, not retryable when the manifest, the data or the numbers are at fault.
 */
export async function trainChallenger(
  deps: GpuDependencies,
  input: TrainChallengerInput,
): Promise<TrainChallengerResult> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const { training } = cycle.config;
  const parent = await warmStartParent(deps, cycle);
  const strategy = parent === null ? 'full' : 'warmStart';
  const folder = join(deps.workRoot, 'training', encodeURIComponent(input.cycleId));
  const outputDir = join(folder, 'output');
  const manifestPath = join(folder, 'manifest.json');
  await mkdir(outputDir, { recursive: true });
  const manifest = await trainerManifest(deps, {
    cycle,
    snapshotId: input.snapshotId,
    strategy,
    parent,
    folder,
    outputDir,
  });
  await writeFile(manifestPath, JSON.stringify(manifest, null, 2));

  const warnings: Reason[] = [];
  const beat = heartbeats();
  try {
    const exit = await runTrainer({
      command: training.command ?? deps.trainer.command,
      manifestPath,
      env: {
        ...process.env,
        ...deps.trainer.env,
        OMP_NUM_THREADS: String(training.threads),
        MKL_NUM_THREADS: String(training.threads),
      },
      signal: Context.current().cancellationSignal,
      onLine: (line) => {
        beat.heard(line);
        if (line.type === 'warning') warnings.push({ code: `trainer.${line.code}`, message: line.message });
      },
      onGarbage: (text) => {
        deps.logger.warn(
          { cycleId: input.cycleId, text: text.slice(0, 200) },
          'the trainer printed a line outside its contract',
        );
      },
    });
    if (Context.current().cancellationSignal.aborted)
      throw new CancelledFailure('training was cancelled; its checkpoint is kept');
    if (exit.kind === 'failed') {
      throw ApplicationFailure.create({ type: 'TrainerFailed', message: exit.message, nonRetryable: !exit.retryable });
    }
    const outputs = await collectOutputs(deps, outputDir);
    await rm(folder, { recursive: true, force: true });
    return {
      ...outputs,
      trainerManifestSha256: (await deps.artifacts.put(Buffer.from(JSON.stringify(manifest, null, 2)))).sha256,
      parent: parent?.version ?? null,
      strategy,
      warnings,
    };
  } finally {
    beat.stop();
  }
}

/** The cycle's parent, unless it has none or its config says `full`. Lineage keeps the parent either way. */
async function warmStartParent(
  deps: GpuDependencies,
  cycle: CycleRecord,
): Promise<{ version: number; checkpointPath: string } | null> {
  if (cycle.parent === null || cycle.config.training.strategy === 'full') return null;
  const { version, checkpointSha256 } = await readVersion(deps.db, { line: cycle.line, version: cycle.parent });
  return checkpointSha256 === null ? null : { version, checkpointPath: await deps.artifacts.path(checkpointSha256) };
}

async function trainerManifest(
  deps: GpuDependencies,
  of: {
    cycle: CycleRecord;
    snapshotId: string;
    strategy: 'full' | 'warmStart';
    parent: { checkpointPath: string } | null;
    folder: string;
    outputDir: string;
  },
): Promise<Record<string, unknown>> {
  const { config } = of.cycle;
  const { learningRate, warmFactor, weightDecay, epochs, batchSize, hidden, freezeBase } = config.training;
  // The trainer never learns where the historical holdout is.
  const { train, holdout, replay } = await localFiles(deps.artifacts, await snapshotManifest(deps.db, of.snapshotId));
  return {
    contractVersion: 1,
    line: of.cycle.line,
    cycleId: of.cycle.cycleId,
    snapshot: { train, holdout, replay },
    features: config.features.map(trainerFeature),
    label: 'label',
    strategy: of.strategy,
    hyperparameters: { learningRate, warmFactor, weightDecay, epochs, batchSize, hidden, freezeBase },
    warmStart: of.parent === null ? null : { checkpoint: of.parent.checkpointPath },
    seed: config.training.seed,
    threads: config.training.threads,
    checkpointEverySeconds: config.training.checkpointEvery / 1_000,
    workDir: join(of.folder, 'work'),
    outputDir: of.outputDir,
  };
}

function trainerFeature(feature: LineConfig['features'][number]): Record<string, unknown> {
  return feature.kind === 'categorical'
    ? { kind: feature.kind, name: feature.name, buckets: feature.buckets, dim: feature.dim }
    : { kind: feature.kind, name: feature.name, transform: feature.transform };
}

async function collectOutputs(
  deps: GpuDependencies,
  outputDir: string,
): Promise<Pick<TrainChallengerResult, 'modelSha256' | 'checkpointSha256' | 'metrics' | 'environment'>> {
  const path = (name: string): string => join(outputDir, name);
  for (const name of ['model.onnx', 'checkpoint.pt', 'result.json']) {
    await access(path(name)).catch(() => {
      throw ApplicationFailure.nonRetryable(
        `the trainer exited with 0 but left no ${name} in its output folder; the contract asks for model.onnx, checkpoint.pt and result.json`,
        'TrainerContractBroken',
      );
    });
  }
  const parsed = trainerResult.safeParse(await readJson(path('result.json')));
  if (!parsed.success) {
    throw ApplicationFailure.nonRetryable(
      `the trainer's result.json breaks the contract: ${z.prettifyError(parsed.error)}`,
      'TrainerContractBroken',
    );
  }
  const [model, checkpoint] = await Promise.all([
    deps.artifacts.putFile(path('model.onnx')),
    deps.artifacts.putFile(path('checkpoint.pt')),
  ]);
  const { metrics, environment } = parsed.data;
  return { modelSha256: model.sha256, checkpointSha256: checkpoint.sha256, metrics, environment };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    return { unreadable: String(error) };
  }
}

/** Beats with the trainer's last progress, until the trainer has been silent for so long that it must hang. */
function heartbeats(): { heard: (line: TrainerLine) => void; stop: () => void } {
  let last: TrainerLine | { type: 'started' } = { type: 'started' };
  let heardAt = performance.now();
  const timer = setInterval(() => {
    if (performance.now() - heardAt < SILENCE_LIMIT_MS) Context.current().heartbeat(last);
  }, HEARTBEAT_EVERY_MS);
  Context.current().heartbeat(last);
  return {
    heard(line) {
      heardAt = performance.now();
      if (line.type === 'progress' || line.type === 'checkpoint') {
        last = line;
        Context.current().heartbeat(line);
      }
    },
    stop() {
      clearInterval(timer);
    },
  };
}
