import { mkdir, rm, writeFile } from 'node:fs/promises';
import { CancelledFailure, Context } from '@temporalio/activity';
import type { TrainingDecision } from '../policy/training-strategy.ts';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { transaction } from '../store/database.ts';
import { once, recallEffect } from '../store/effects.ts';
import type { CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { GpuDependencies } from './dependencies.ts';
import { localFiles, snapshotManifest } from './snapshot-files.ts';
import {
  CheckpointCopies,
  markCheckpointed,
  removeLeftOvers,
  removeTraining,
  restoreCheckpoint,
  trainingFolder,
} from './trainer-checkpoints.ts';
import type { DeviceLease } from './trainer-devices.ts';
import { trainerEnvironment } from './trainer-environment.ts';
import { asFailure, endOfTry, onDisk, refuseEndlessTries } from './trainer-errors.ts';
import { TrainingHeartbeats } from './trainer-heartbeats.ts';
import { planTraining, trainerManifest, trainingFolders, type TrainingPlan } from './trainer-manifest.ts';
import { collectOutputs, type TrainerOutputs } from './trainer-outputs.ts';
import { runTrainer, type TrainerExit, type TrainerLine } from './trainer-process.ts';

/** A trainer that says nothing for this long hangs. */
const SILENCE_LIMIT_MS = 120_000;
/** On a machine that is being taken away the last checkpoint has this long to reach the artifact store. */
const LAST_COPY_MS = 8_000;

export interface TrainChallengerInput {
  cycleId: string;
  snapshotId: string;
  /** How to train, where it was decided for this cycle; by the config when left out. */
  training?: Pick<TrainingDecision, 'strategy' | 'repair'>;
}

export interface TrainChallengerResult extends TrainerOutputs {
  trainerManifestSha256: string;
  /** The version it was trained from; null: from scratch. */
  parent: number | null;
  warnings: Reason[];
}

/**
 * Trains the challenger in a trainer process on the checked snapshot, on devices of its own. Heartbeats carry its progress
 * (`TrainingHeartbeat`). A retry goes on from the last checkpoint, on any machine: from the work folder, or from the copy in
 * the artifact store. Cancellation asks the trainer to save one and waits until all its processes are gone. Repeating a
 * training that is done returns its recorded result.
 *
 * @throws ApplicationFailure of a `TrainerFailureType`, not retryable when the next try would fail the same way.
 */
export async function trainChallenger(
  deps: GpuDependencies,
  input: TrainChallengerInput,
): Promise<TrainChallengerResult> {
  const heartbeats = new TrainingHeartbeats();
  try {
    const effectKey = `${input.cycleId}/train/${input.snapshotId}`;
    const recorded = await transaction(deps.db, (tx) => recallEffect(tx, effectKey));
    if (recorded !== undefined) return recorded as TrainChallengerResult;
    await cleanUp(deps, 'what closed cycles left could not be removed', () => removeLeftOvers(deps));
    refuseEndlessTries(heartbeats.details);
    const cycle = await readCycle(deps.db, input.cycleId);
    const lease = await waitForDevices(deps, cycle, heartbeats);
    try {
      const trained = await new Training(deps, { input, cycle, lease, heartbeats }).run();
      // A try that Temporal had lost sight of may have been done first: then its result counts.
      const result = await once(deps.db, effectKey, () => Promise.resolve(trained));
      await cleanUp(deps, 'what is not needed any more could not be removed', () =>
        removeTraining(deps, input.cycleId),
      );
      return result;
    } finally {
      lease.release();
    }
  } catch (error) {
    const { aborted } = Context.current().cancellationSignal;
    throw endOfTry(error, { ...heartbeats.details, cancelled: aborted });
  } finally {
    heartbeats.stop();
  }
}

/** What is left over costs room only: no training fails for it. */
async function cleanUp(deps: GpuDependencies, problem: string, work: () => Promise<unknown>): Promise<void> {
  await work().catch((error: unknown) => {
    deps.logger.warn({ err: error }, problem);
  });
}

async function waitForDevices(
  { devices }: GpuDependencies,
  { config }: CycleRecord,
  heartbeats: TrainingHeartbeats,
): Promise<DeviceLease> {
  const lease = await devices.acquire({
    wanted: config.training.devices,
    signal: Context.current().cancellationSignal,
    onWait: () => {
      heartbeats.tell({ state: 'waitingForDevice' });
    },
  });
  heartbeats.tell({ state: 'preparing', device: lease.name });
  return lease;
}

/** One attempt, with its devices in hand. */
class Training {
  readonly #deps: GpuDependencies;
  readonly #input: TrainChallengerInput;
  readonly #cycle: CycleRecord;
  readonly #lease: DeviceLease;
  readonly #heartbeats: TrainingHeartbeats;
  readonly #folder: string;
  readonly #attemptAtMs = Context.current().info.currentAttemptScheduledTimestampMs;
  readonly #copies: CheckpointCopies;
  readonly #warnings: Reason[] = [];
  #marking: Promise<void> | undefined;

  constructor(
    deps: GpuDependencies,
    of: { input: TrainChallengerInput; cycle: CycleRecord; lease: DeviceLease; heartbeats: TrainingHeartbeats },
  ) {
    this.#deps = deps;
    this.#input = of.input;
    this.#cycle = of.cycle;
    this.#lease = of.lease;
    this.#heartbeats = of.heartbeats;
    this.#folder = trainingFolder(deps.workRoot, of.input.cycleId);
    this.#copies = new CheckpointCopies({
      scratch: deps.scratch.of(of.input.cycleId),
      workDir: trainingFolders(this.#folder).workDir,
      attemptAtMs: this.#attemptAtMs,
      onKept: (checkpoint) => {
        of.heartbeats.tell({ checkpoint });
      },
      onProblem: (message) => {
        this.#warnOnce('trainer.checkpointNotCopied', message);
      },
    });
  }

  async run(): Promise<TrainChallengerResult> {
    const { cycleId, training } = this.#input;
    const { outputDir } = trainingFolders(this.#folder);
    const plan = await planTraining(this.#cycle.config.training, training, () => this.#parent());
    const manifest = await this.#prepare(plan);
    this.#heartbeats.tell({ state: 'training' });
    const exit = await this.#runTrainer();
    this.#heartbeats.tell({ state: 'ending' });
    await this.#refuseFailure(exit);
    const outputs = await collectOutputs(this.#deps.artifacts, outputDir);
    const { sha256 } = await onDisk('the manifest', () => this.#deps.artifacts.put(Buffer.from(manifest)));
    this.#deps.logger.info({ cycleId, strategy: outputs.strategy, examples: outputs.examples }, 'trained');
    return {
      ...outputs,
      trainerManifestSha256: sha256,
      parent: plan.parent?.version ?? null,
      warnings: this.#warnings,
    };
  }

  /** The cycle's parent, unless it has none that can be trained from. Lineage keeps the parent either way. */
  async #parent(): Promise<TrainingPlan['parent']> {
    const { line, parent } = this.#cycle;
    if (parent === null) return null;
    const { version, checkpointSha256 } = await readVersion(this.#deps.db, { line, version: parent });
    if (checkpointSha256 === null) return null;
    return { version, checkpointPath: await this.#deps.artifacts.path(checkpointSha256) };
  }

  /** Folders, the checkpoint of an earlier attempt, and the manifest, which it returns. */
  async #prepare(plan: TrainingPlan): Promise<string> {
    const { db, artifacts, scratch } = this.#deps;
    const { workDir, outputDir, manifestPath } = trainingFolders(this.#folder);
    const snapshot = await snapshotManifest(db, this.#input.snapshotId);
    const manifest = trainerManifest({
      cycle: this.#cycle,
      plan,
      snapshot,
      files: await localFiles(artifacts, snapshot),
      devices: this.#lease.gpus.length,
      folder: this.#folder,
    });
    const text = JSON.stringify(manifest, null, 2);
    await onDisk(`the work folder ${this.#folder}`, async () => {
      // What an attempt left that was killed while it wrote is not to be taken for this one's.
      await rm(outputDir, { recursive: true, force: true });
      await Promise.all([workDir, outputDir].map((folder) => mkdir(folder, { recursive: true })));
      await writeFile(manifestPath, text);
    });
    const restored = await restoreCheckpoint({
      scratch: scratch.of(this.#input.cycleId),
      folder: this.#folder,
      workDir,
      kept: this.#heartbeats.details.checkpoint,
    });
    if (restored.kind === 'lost') {
      this.#warnOnce('trainer.checkpointLost', `the checkpoint of an earlier try is lost: ${restored.message}`);
    }
    return text;
  }

  async #runTrainer(): Promise<TrainerExit> {
    const { trainer, devices, logger } = this.#deps;
    const { command, threads, devices: wanted } = this.#cycle.config.training;
    const { gpus } = this.#lease;
    if (wanted > Math.max(1, gpus.length)) {
      const found = gpus.length === 0 ? 'none' : String(devices.size);
      this.#warnOnce(
        'trainer.fewerDevices',
        `training.devices asks for ${String(wanted)} GPUs and this machine has ${found}: trained on ${this.#lease.name}`,
      );
    }
    const reference = gpus.length > 1 ? trainer.distributed(gpus.length) : trainer.command;
    return runTrainer({
      command: command ?? reference,
      manifestPath: trainingFolders(this.#folder).manifestPath,
      env: trainerEnvironment({ own: command === undefined ? trainer.env : undefined, gpus, threads }),
      signal: Context.current().cancellationSignal,
      mark: this.#folder,
      silenceLimitMs: trainer.silenceLimitMs ?? SILENCE_LIMIT_MS,
      onLine: (line) => {
        this.#heard(line);
      },
      onGarbage: (text) => {
        const { cycleId } = this.#input;
        logger.warn({ cycleId, text: text.slice(0, 200) }, 'the trainer printed a line outside its contract');
      },
    });
  }

  #heard(line: TrainerLine): void {
    this.#heartbeats.heard(line);
    if (line.type === 'warning') this.#warnings.push({ code: `trainer.${line.code}`, message: line.message });
    if (line.type !== 'checkpoint') return;
    this.#copies.saw(line);
    // Once an attempt: what counts is which one saved the checkpoint that lies there.
    this.#marking ??= markCheckpointed(this.#folder, this.#attemptAtMs).catch((error: unknown) => {
      this.#deps.logger.warn({ err: error, cycleId: this.#input.cycleId }, 'a checkpoint could not be marked');
    });
  }

  /** @throws CancelledFailure, or the failure as Temporal takes it. */
  async #refuseFailure(exit: TrainerExit): Promise<void> {
    const { cancellationSignal } = Context.current();
    await this.#marking;
    if (!cancellationSignal.aborted && exit.kind === 'finished') return;
    const { reason } = cancellationSignal as { reason: unknown };
    // A cycle that was ended needs no checkpoint; one that goes on elsewhere does.
    if (!(reason instanceof Error && reason.message === 'CANCELLED')) await this.#copies.settled(LAST_COPY_MS);
    if (cancellationSignal.aborted) throw new CancelledFailure('training was cancelled; its checkpoint is kept');
    if (exit.kind === 'failed') throw asFailure(exit);
  }

  #warnOnce(code: string, message: string): void {
    this.#deps.logger.warn({ cycleId: this.#input.cycleId, code }, message);
    if (!this.#warnings.some((warning) => warning.code === code)) this.#warnings.push({ code, message });
  }
}
