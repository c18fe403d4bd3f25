import { join } from 'node:path';
import type { LineConfig } from '../config/schema.ts';
import type { SnapshotManifest } from '../data/snapshot.ts';
import type { TrainingDecision } from '../policy/training-strategy.ts';
import type { CycleRecord } from '../store/types.ts';

export const TRAINER_CONTRACT_VERSION = 2;

/** How the trainer is asked to train, and from what. */
export interface TrainingPlan extends Pick<TrainingDecision, 'strategy' | 'repair'> {
  /** The version to start from, with a local path of its checkpoint; null trains from scratch. */
  parent: { version: number; checkpointPath: string } | null;
}

/**
 * What was decided for this cycle, else the config's strategy. `parentCheckpoint` is asked only where the strategy wants a
 * parent; without one (null) it trains in full.
 */
export async function planTraining(
  training: LineConfig['training'],
  decided: Pick<TrainingDecision, 'strategy' | 'repair'> | undefined,
  parentCheckpoint: () => Promise<TrainingPlan['parent']>,
): Promise<TrainingPlan> {
  const { strategy, repair } = decided ?? { strategy: training.strategy, repair: null };
  const parent = strategy === 'full' ? null : await parentCheckpoint();
  return parent === null ? { strategy: 'full', repair: null, parent } : { strategy, repair, parent };
}

export interface ManifestInput {
  cycle: Pick<CycleRecord, 'line' | 'cycleId' | 'config'>;
  plan: TrainingPlan;
  snapshot: Pick<SnapshotManifest, 'splitMs'>;
  /** Local paths. The trainer never learns where the historical holdout is. */
  files: { train: string[]; replay: string[]; holdout: string[] };
  /** Number of GPUs; 0: the CPU. */
  devices: number;
  /** Folder of this training on this machine. */
  folder: string;
}

/** Where a training's files are on this machine. */
export function trainingFolders(folder: string): { workDir: string; outputDir: string; manifestPath: string } {
  return {
    workDir: join(folder, 'work'),
    outputDir: join(folder, 'output'),
    manifestPath: join(folder, 'manifest.json'),
  };
}

/** The trainer's manifest, version 2: `docs/trainer-contract.md`. */
export function trainerManifest({
  cycle,
  plan,
  snapshot,
  files,
  devices,
  folder,
}: ManifestInput): Record<string, unknown> {
  const { config } = cycle;
  const { training } = config;
  const { workDir, outputDir } = trainingFolders(folder);
  return {
    contractVersion: TRAINER_CONTRACT_VERSION,
    line: cycle.line,
    cycleId: cycle.cycleId,
    snapshot: { train: files.train, replay: files.replay, holdout: files.holdout },
    cutoffMs: snapshot.splitMs,
    features: config.features.map(trainerFeature),
    label: 'label',
    strategy: plan.strategy,
    hyperparameters: { ...hyperparameters(training), repair: plan.repair },
    warmStart: plan.parent === null ? null : { checkpoint: plan.parent.checkpointPath },
    seed: training.seed,
    threads: training.threads,
    devices,
    checkpointEverySeconds: training.checkpointEvery / 1_000,
    workDir,
    outputDir,
  };
}

function hyperparameters(training: LineConfig['training']): Record<string, unknown> {
  const { learningRate, wideLearningRate, warmFactor, weightDecay, epochs, batchSize, hidden, freezeBase } = training;
  const { tune, rates, warmup, decay, admitAfter, negativeShare, positions, distillation } = training;
  return {
    ...{ learningRate, wideLearningRate, warmFactor, weightDecay, epochs, batchSize, hidden, freezeBase },
    ...{ tune, rates: rates ?? null, warmup, decay, admitAfter, expireAfterMs: training.expireAfter, negativeShare },
    ...{ recencyHalfLifeMs: training.recencyHalfLife ?? null, positions, distillation },
  };
}

function trainerFeature(feature: LineConfig['features'][number]): Record<string, unknown> {
  return feature.kind === 'categorical'
    ? { kind: feature.kind, name: feature.name, buckets: feature.buckets, dim: feature.dim }
    : { kind: feature.kind, name: feature.name, transform: feature.transform };
}
