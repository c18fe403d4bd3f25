import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { trainerEnvironment } from '../../activities/trainer-environment.ts';
import { trainingFolders } from '../../activities/trainer-manifest.ts';
import { runTrainer } from '../../activities/trainer-process.ts';
import type { ArtifactStore } from '../../store/artifacts.ts';
import type { Database } from '../../store/database.ts';
import { referenceTrainer } from '../stack/reference-trainer.ts';
import { compareOutputs, type Comparison } from './compare.ts';
import { NotReproducible, reproductionInputs, type ReproductionInputs } from './inputs.ts';

export interface Reproduction extends Comparison {
  line: string;
  version: number;
  /** By the bytes of `model.onnx`. */
  verdict: 'identical' | 'different';
  /** What it was trained on then. */
  device: string;
  /** Trained again first, since its checkpoint is gone. */
  parent: Reproduction | null;
  outputDir: string;
}

export interface ReproduceOptions {
  db: Database;
  artifacts: ArtifactStore;
  line: string;
  version: number;
  /** Gets a folder for each training. */
  folder: string;
  /** Train a parent again whose checkpoint is gone, and its parent, and so on. */
  withParents?: boolean;
  codeVersion: string;
  /** Environment in which the reference trainer is looked for. */
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** Told what is done now. */
  say?: (what: string) => void;
}

/**
 * Trains a version again from its lineage alone, in a folder of its own, and compares: the trainer's manifest as it was
 * recorded, with the local paths of the same snapshot files and of the parent's checkpoint. A trainer keeps its bytes on the
 * CPU whatever the folder and the time; on a GPU they may differ.
 *
 * @throws NotReproducible when something it needs is gone, naming it; Error when the trainer fails.
 */
export async function reproduceVersion(options: ReproduceOptions): Promise<Reproduction> {
  const { line, version, withParents = false, folder, say = () => undefined } = options;
  const inputs = await reproductionInputs(options, options);
  const { parent: from, lineage } = inputs;
  let parent: Reproduction | null = null;
  let checkpoint = from === null ? null : 'path' in from.checkpoint ? from.checkpoint.path : null;
  if (from !== null && 'gone' in from.checkpoint) {
    if (!withParents)
      throw new NotReproducible(
        `version ${String(version)} of "${line}" can not be trained again: ${from.checkpoint.gone}. To train version ${String(from.version)} again first, add --with-parents`,
      );
    say(`${from.checkpoint.gone}: training version ${String(from.version)} again first`);
    parent = await reproduceVersion({ ...options, version: from.version });
    checkpoint = join(parent.outputDir, 'checkpoint.pt');
  }
  say(`training version ${String(version)} again`);
  const outputDir = await train(options, { inputs, checkpoint, folder: join(folder, `version-${String(version)}`) });
  const { codeVersion, artifacts } = options;
  const comparison = await compareOutputs(artifacts, { inputs, outputDir, codeVersion });
  const same = comparison.files.some((file) => file.name === 'model.onnx' && file.same);
  const device = lineage.environment['device'] ?? 'not known';
  return { line, version, verdict: same ? 'identical' : 'different', device, parent, outputDir, ...comparison };
}

/** @returns the folder with the outputs. */
async function train(
  { env, signal = new AbortController().signal }: Pick<ReproduceOptions, 'env' | 'signal'>,
  of: { inputs: ReproductionInputs; checkpoint: string | null; folder: string },
): Promise<string> {
  const { inputs, checkpoint, folder } = of;
  const { manifest, files, record, lineage } = inputs;
  const { workDir, outputDir, manifestPath } = trainingFolders(folder);
  await Promise.all([workDir, outputDir].map((path) => mkdir(path, { recursive: true })));
  const local = {
    ...manifest,
    snapshot: files,
    warmStart: checkpoint === null ? null : { ...manifest.warmStart, checkpoint },
    ...{ workDir, outputDir },
  };
  await writeFile(manifestPath, JSON.stringify(local, null, 2));
  const own = lineage.config.training.command;
  const trainer = own === undefined ? await referenceTrainer(env) : { command: own, env: undefined };
  const gpus = manifest.devices === 0 ? [] : Array.from({ length: manifest.devices }, (_, gpu) => gpu);
  const exit = await runTrainer({
    command: gpus.length > 1 && own === undefined ? distributed(trainer.command, gpus.length) : trainer.command,
    manifestPath,
    env: trainerEnvironment({ own: trainer.env, gpus, threads: manifest.threads }),
    signal,
    mark: folder,
    onLine: () => undefined,
    onGarbage: () => undefined,
  });
  if (signal.aborted) throw new Error(`interrupted while version ${String(record.version)} was trained again`);
  if (exit.kind === 'failed')
    throw new Error(`training version ${String(record.version)} of "${record.line}" again failed: ${exit.message}`);
  return outputDir;
}

/** The reference trainer on several GPUs, as the gpu worker starts it. */
function distributed([python = 'python3', ...rest]: readonly string[], processes: number): string[] {
  return [python, '-m', 'torch.distributed.run', '--standalone', `--nproc-per-node=${String(processes)}`, ...rest];
}
