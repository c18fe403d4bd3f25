import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { trainerEnvironment } from '../../activities/trainer-environment.ts';
import { trainerManifest, trainingFolders } from '../../activities/trainer-manifest.ts';
import { lineConfigSchema, type LineConfig } from '../../config/schema.ts';
import { CUTOFF_MS, FEATURES, writeCheckSnapshot, type CheckSnapshot } from './snapshot.ts';
import { runTrainerOnce, type RunOptions, type TrainerRun } from './trainer-run.ts';

export interface BenchOptions {
  command: readonly string[];
  /** Added to this process's environment. */
  env?: NodeJS.ProcessEnv;
  folder: string;
  timeoutMs: number;
  graceMs: number;
}

/** What a run's manifest says besides the defaults. */
export interface RunInput {
  strategy?: 'full' | 'warmStart' | 'incremental';
  /** Path of a checkpoint to start from. */
  checkpoint?: string;
  snapshot?: Partial<Record<'train' | 'replay' | 'holdout', string[]>>;
  hyperparameters?: Record<string, unknown>;
  /** Further fields. */
  more?: Record<string, unknown>;
}

export interface BenchRun extends TrainerRun {
  workDir: string;
  outputDir: string;
}

const CYCLE = { line: 'trainer-check', cycleId: 'freshet-trainer-check-2026-01-01T12:00:00Z/check' };

/** A snapshot, and a trainer that is run on it by name: the same name is the same folder, so an earlier try is resumed. */
export class TrainerBench {
  readonly config: LineConfig;
  readonly snapshot: CheckSnapshot;
  /** All runs so far. */
  readonly runs: TrainerRun[] = [];
  readonly #options: BenchOptions;

  private constructor(options: BenchOptions, config: LineConfig, snapshot: CheckSnapshot) {
    this.#options = options;
    this.config = config;
    this.snapshot = snapshot;
  }

  static async create(options: BenchOptions): Promise<TrainerBench> {
    const config = lineConfigSchema.parse({
      line: CYCLE.line,
      features: FEATURES,
      // A rate and batches for a few thousand rows.
      training: { learningRate: 0.01, batchSize: 256, hidden: [16] },
    });
    const snapshot = await writeCheckSnapshot(join(options.folder, 'snapshot'), config.features);
    return new TrainerBench(options, config, snapshot);
  }

  get graceMs(): number {
    return this.#options.graceMs;
  }

  outputOf(name: string, file: string): string {
    return join(this.#folders(name).outputDir, file);
  }

  async run(name: string, input: RunInput = {}, onLine?: RunOptions['onLine']): Promise<BenchRun> {
    const folders = this.#folders(name);
    await Promise.all([folders.workDir, folders.outputDir].map((folder) => mkdir(folder, { recursive: true })));
    await writeFile(folders.manifestPath, JSON.stringify(this.#manifest(name, input), null, 2));
    const run = await runTrainerOnce({
      command: this.#options.command,
      manifestPath: folders.manifestPath,
      // As a cycle sets them.
      env: trainerEnvironment({ own: this.#options.env, gpus: [], threads: this.config.training.threads }),
      timeoutMs: this.#options.timeoutMs,
      graceMs: this.#options.graceMs,
      ...(onLine === undefined ? {} : { onLine }),
    });
    this.runs.push(run);
    return { ...run, workDir: folders.workDir, outputDir: folders.outputDir };
  }

  /** In words, how a run ended that should have ended otherwise. */
  describe(run: TrainerRun): string {
    if (run.startError !== null) return `could not be started: ${run.startError}`;
    if (run.timedOut)
      return `did not end within ${String(this.#options.timeoutMs / 1_000)} s and was killed (--timeout)`;
    const how = run.code === null ? `was ended by ${String(run.signal)}` : `exited with ${String(run.code)}`;
    return `${how}${run.lastError === null ? ', nothing on standard error' : `: ${run.lastError}`}`;
  }

  #folders(name: string): ReturnType<typeof trainingFolders> {
    return trainingFolders(join(this.#options.folder, name));
  }

  #manifest(name: string, { strategy = 'full', checkpoint, snapshot, hyperparameters, more }: RunInput): object {
    const manifest = trainerManifest({
      cycle: { ...CYCLE, config: this.config },
      plan: {
        strategy,
        repair: null,
        parent: checkpoint === undefined ? null : { version: 1, checkpointPath: checkpoint },
      },
      snapshot: { splitMs: CUTOFF_MS },
      files: { train: this.snapshot.train, replay: this.snapshot.replay, holdout: this.snapshot.holdout, ...snapshot },
      devices: 0,
      folder: join(this.#options.folder, name),
    });
    return {
      ...manifest,
      hyperparameters: { ...(manifest['hyperparameters'] as object), ...hyperparameters },
      ...more,
    };
  }
}
