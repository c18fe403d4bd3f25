import { Context } from '@temporalio/activity';
import { evaluate } from '../data/evaluation/evaluate.ts';
import type { Evaluation } from '../policy/gate.ts';
import { readCycle } from '../store/cycles.ts';
import { INPUT_ORDER_VERSION } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';
import { localFiles, snapshotManifest } from './snapshot-files.ts';

export interface EvaluateChallengerInput {
  cycleId: string;
  snapshotId: string;
  modelSha256: string;
}

/**
 * Scores the challenger, and the champion anew, on the same rows of the snapshot's time-based holdout, with intervals
 * from a paired bootstrap clustered by user.
 */
export async function evaluateChallenger(deps: DataDependencies, input: EvaluateChallengerInput): Promise<Evaluation> {
  const { config, line, stableAtStart } = await readCycle(deps.db, input.cycleId);
  const { holdout, historical } = await localFiles(deps.artifacts, await snapshotManifest(deps.db, input.snapshotId));
  const champion =
    stableAtStart === INPUT_ORDER_VERSION ? null : await readVersion(deps.db, { line, version: stableAtStart });
  const beat = setInterval(() => {
    Context.current().heartbeat();
  }, 2_000);
  try {
    const evaluation = {
      holdout,
      historical,
      challenger: { model: await deps.artifacts.path(input.modelSha256), features: config.features },
      champion:
        champion?.modelSha256 == null
          ? null
          : {
              version: champion.version,
              model: await deps.artifacts.path(champion.modelSha256),
              features: champion.features,
            },
      gate: config.gate,
      seed: config.training.seed,
    };
    return await evaluate(evaluation, { signal: Context.current().cancellationSignal });
  } finally {
    clearInterval(beat);
  }
}
