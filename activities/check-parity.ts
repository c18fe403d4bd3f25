import { compareWithTrainer } from '../data/evaluation/parity.ts';
import type { Parity } from '../policy/parity.ts';
import { readCycle } from '../store/cycles.ts';
import type { DataDependencies } from './dependencies.ts';
import { localFiles, snapshotManifest } from './snapshot-files.ts';

export interface CheckParityInput {
  cycleId: string;
  snapshotId: string;
  modelSha256: string;
  /** The trainer's `predictions.parquet`. */
  predictionsSha256: string;
}

/** Compares what the trainer says of rows of its snapshot with what `model.onnx` says of them in ONNX Runtime. */
export async function checkParity(deps: DataDependencies, input: CheckParityInput): Promise<Parity> {
  const { config } = await readCycle(deps.db, input.cycleId);
  const { train, replay } = await localFiles(deps.artifacts, await snapshotManifest(deps.db, input.snapshotId));
  return compareWithTrainer({
    predictions: await deps.artifacts.path(input.predictionsSha256),
    train,
    replay,
    model: await deps.artifacts.path(input.modelSha256),
    features: config.features,
  });
}
