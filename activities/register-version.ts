import type { Evaluation } from '../policy/evaluation.ts';
import type { GateVerdict } from '../policy/gate.ts';
import type { Parity } from '../policy/parity.ts';
import { trainedInFullAt, type TrainingDecision } from '../policy/training-strategy.ts';
import { readCycle } from '../store/cycles.ts';
import type { CycleRecord } from '../store/types.ts';
import { createVersion, readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';
import type { ExtensionRecord } from './extend-holdout.ts';
import { cardUrl } from './page-urls.ts';
import { snapshotManifest } from './snapshot-files.ts';
import type { TrainChallengerResult } from './train-challenger.ts';

export interface RegisterVersionInput {
  cycleId: string;
  snapshotId: string;
  /** What was decided when the cycle began; left out by older builds. */
  decided?: TrainingDecision | undefined;
  training: TrainChallengerResult;
  parity: Parity;
  evaluation: Evaluation;
  /** On the holdout and the extensions that were used. */
  gate: GateVerdict;
  extensions: ExtensionRecord[];
}

/** Enters the challenger into the registry with its whole lineage (invariant 11). Repeating it returns the same number. */
export async function registerVersion(
  deps: DataDependencies,
  input: RegisterVersionInput,
): Promise<{ version: number; cardUrl?: string | null }> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const manifest = await snapshotManifest(deps.db, input.snapshotId);
  const { config, configHash, line, workflowId, runId, cycleId, parent } = cycle;
  const { training, decided, extensions } = input;
  const evaluatedOn = extensions.flatMap(({ used, snapshotId }) => (used && snapshotId !== null ? [snapshotId] : []));
  const { version } = await createVersion(deps.db, {
    line,
    cycleId,
    parent,
    modelSha256: training.modelSha256,
    checkpointSha256: training.checkpointSha256,
    features: config.features,
    trainingCutoffMs: manifest.splitMs,
    metrics: {
      training: training.metrics,
      examples: training.examples,
      parity: input.parity,
      evaluation: input.evaluation,
      gate: input.gate,
      extensions,
      warnings: training.warnings,
    },
    lineage: {
      parent,
      strategy: training.strategy,
      ...(decided && { training: decided }),
      trainedInFullAtMs: trainedInFullAt({
        decided: decided?.strategy,
        did: training.strategy,
        takenAtMs: manifest.eventNowMs,
        parentMs: await parentInFullAt(deps, cycle),
      }),
      snapshotId: input.snapshotId,
      ...(evaluatedOn.length > 0 && { extensions: evaluatedOn }),
      trainerManifestSha256: training.trainerManifestSha256,
      predictionsSha256: training.predictionsSha256,
      resultSha256: training.resultSha256,
      config,
      configHash,
      features: config.features,
      codeVersion: deps.codeVersion,
      seed: config.training.seed,
      threads: config.training.threads,
      environment: training.environment,
      cycleId,
      workflowId,
      runId,
    },
    effectKey: `${cycleId}/register`,
  });
  return { version, cardUrl: cardUrl(deps.reportsUrl, { line, version }) };
}

async function parentInFullAt(
  { db }: Pick<DataDependencies, 'db'>,
  { line, parent }: Pick<CycleRecord, 'line' | 'parent'>,
): Promise<number | null> {
  if (parent === null) return null;
  return (await readVersion(db, { line, version: parent })).lineage.trainedInFullAtMs ?? null;
}
