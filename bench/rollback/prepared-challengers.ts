import { randomUUID } from 'node:crypto';
import type { NativeConnection } from '@temporalio/worker';
import { Worker } from '@temporalio/worker';
import type { DataActivities, GpuActivities } from '../../activities/index.ts';
import { taskQueue } from '../../config/names.ts';
import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  type Estimate,
  type Evaluation,
  type Figures,
} from '../../policy/evaluation.ts';
import { readCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { INPUT_ORDER_VERSION, type Lineage } from '../../store/types.ts';
import { createVersion } from '../../store/versions.ts';
import { FEATURES } from '../gateway/ranking-model.ts';

export interface PreparedChallengers {
  stop(): Promise<void>;
}

/**
 * Answers for the data and gpu workers: each cycle gets one of `models` as its challenger at once, with an evaluation that
 * passes the gate. What a rollback does not wait for is left out of it; everything from shadow on is the real one's.
 */
export async function prepareChallengers(of: {
  connection: NativeConnection;
  queuePrefix: string;
  db: Database;
  /** Artifacts, taken in turn. */
  models: readonly string[];
}): Promise<PreparedChallengers> {
  const { connection, queuePrefix, db, models } = of;
  let taken = 0;
  const gpu: GpuActivities = {
    trainChallenger: ({ training }) => {
      const modelSha256 = models[taken++ % models.length] ?? '';
      return Promise.resolve({
        ...{ modelSha256, checkpointSha256: modelSha256, predictionsSha256: modelSha256, resultSha256: modelSha256 },
        ...{ trainerManifestSha256: modelSha256, parent: null, strategy: training?.strategy ?? 'full' },
        ...{ examples: ROWS, metrics: {}, environment: {}, warnings: [] },
      });
    },
  };
  const data: Omit<DataActivities, 'extendHoldout'> = {
    takeSnapshot: () => {
      const rows = { train: ROWS, replay: 0, holdout: ROWS };
      return Promise.resolve({ snapshotId: randomUUID(), rows, windowStartMs: 0, cutoffMs: 1 });
    },
    checkSnapshot: () => Promise.resolve({ verdict: 'pass', reasons: [], warnings: [], silenced: [], reportUrl: null }),
    checkParity: () =>
      Promise.resolve({
        ...{ problem: null, trainRows: ROWS, predictions: ROWS, rows: ROWS, unknownRow: null },
        ...{ notNumbers: 0, firstNotNumber: null, maxDelta: 0, meanDelta: 0, worst: null },
      }),
    evaluateChallenger: async ({ cycleId }) => {
      const { stableAtStart } = await readCycle(db, cycleId);
      return evaluationOver(stableAtStart === INPUT_ORDER_VERSION ? null : stableAtStart);
    },
    registerVersion: async ({ cycleId, training }) => {
      const { line, parent } = await readCycle(db, cycleId);
      const { version } = await createVersion(db, {
        ...{ line, cycleId, parent, modelSha256: training.modelSha256, checkpointSha256: null, features: FEATURES },
        ...{ effectKey: `${cycleId}/register`, trainingCutoffMs: 0, lineage: {} as Lineage, metrics: {} },
      });
      return { version };
    },
  };
  const workers = [
    await Worker.create({ connection, taskQueue: taskQueue('data', queuePrefix), activities: data }),
    await Worker.create({ connection, taskQueue: taskQueue('gpu', queuePrefix), activities: gpu }),
  ];
  const done = workers.map((worker) => worker.run());
  for (const one of done) one.catch(() => undefined);
  return {
    async stop() {
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await Promise.allSettled(done);
    },
  };
}

const ROWS = 10_000;

/** A little better than the champion in everything, and known to be. */
function evaluationOver(champion: number | null): Evaluation {
  const estimate = (value: number): Estimate => ({
    ...{ estimate: value, lower: value - 0.001, upper: value + 0.001, standardError: 0.0005 },
  });
  const each = <Name extends string>(names: readonly Name[], value: (name: Name) => number): Record<Name, Estimate> =>
    Object.fromEntries(names.map((name) => [name, estimate(value(name))])) as Record<Name, Estimate>;
  const metrics = each(EVALUATION_METRICS, (name) => (name === 'calibration' ? 1 : 0.7));
  const overall: Figures = {
    ...{ rows: ROWS, positives: ROWS / 10, users: 1_000, groups: 1_000, groupsWithoutPositive: 100 },
    challenger: metrics,
    champion: champion === null ? null : metrics,
    gain: champion === null ? null : each(COMPARED_METRICS, () => 0.01),
  };
  return {
    ...{ champion, overall, slices: [], gaps: [], notes: [], calibrationCurve: { challenger: [], champion: null } },
    ...{ maxScoreChange: 0.1, championMissing: [], historical: null, latency: [], modelBytes: 1, championBytes: 1 },
    ...{ k: 10, replicates: 1_000, seed: 1 },
  };
}
