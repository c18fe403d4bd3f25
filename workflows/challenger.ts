import { upsertSearchAttributes, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { DataActivities, GpuActivities } from '../activities/index.ts';
import type { TrainChallengerResult } from '../activities/train-challenger.ts';
import { forgettingNotes } from '../policy/forgetting.ts';
import type { Evaluation } from '../policy/evaluation.ts';
import type { GateVerdict } from '../policy/gate.ts';
import { decideParity, type Parity } from '../policy/parity.ts';
import { runPhase, type CycleContext } from './cycle-context.ts';
import { EndOfCycle, reject, skip } from './end-of-cycle.ts';
import { judgeChallenger, passGate, type Judgement } from './gate-phase.ts';
import { searchAttributes } from './messages.ts';
import { summariseTraining } from './training-summary.ts';

export interface Challenger {
  version: number;
  gate: GateVerdict;
}

interface Activities {
  data: ActivityInterfaceFor<DataActivities>;
  gpu: ActivityInterfaceFor<GpuActivities>;
}

/**
 * From the newest traffic to a registered challenger that passed its gate: snapshot, check, train, parity, evaluate, gate,
 * register, and a person's approval where the config asks for one. Nothing is served yet.
 */
export async function prepareChallenger(context: CycleContext, { data, gpu }: Activities): Promise<Challenger> {
  const { cycleId, journal } = context;
  const how = context.plan.training;

  const snapshot = await runPhase(context, 'snapshot', () =>
    data.takeSnapshot.executeWithOptions({ summary: 'matured rows since the parent, to Parquet' }, [
      { cycleId, strategy: how?.strategy },
    ]),
  );
  const { snapshotId, rows } = snapshot;

  const report = await runPhase(context, 'check', () =>
    data.checkSnapshot.executeWithOptions(
      { summary: `${String(rows.train)} train, ${String(rows.holdout)} holdout, ${String(rows.replay)} replayed rows` },
      [{ cycleId, snapshotId }],
    ),
  );
  journal.reportUrl = report.reportUrl;
  journal.notes.push(...[...report.silenced, ...report.warnings].map(({ code, message }) => `${code}: ${message}`));
  if (report.verdict !== 'pass') throw skip(report.reasons);

  const training = await runPhase(
    context,
    'train',
    () =>
      gpu.trainChallenger.executeWithOptions({ summary: `trainer process: ${how?.strategy ?? 'as configured'}` }, [
        { cycleId, snapshotId, ...(how && { training: how }) },
      ]),
    (reason) => new EndOfCycle({ kind: 'failed', reasons: [reason] }),
  );
  journal.notes.push(...training.warnings.map((reason) => reason.message));
  const parity = await compareWithTrainer(context, data, { snapshotId, training });

  const judgement = await judgeChallenger(context, data, { snapshotId, modelSha256: training.modelSha256 });
  const { evaluation, gate } = judgement;
  journal.notes.push(
    ...unchangedScores(evaluation, context.plan.minScoreChange),
    ...forgettingNotes(evaluation, context.plan.gate),
  );

  const version = await register(context, data, { snapshotId, training, parity, judgement });
  await passGate(context, { version, judgement });
  return { version, gate };
}

/** What will be served is what was trained, or the cycle ends here: no figure of another model means anything. */
async function compareWithTrainer(
  context: CycleContext,
  data: Activities['data'],
  { snapshotId, training }: { snapshotId: string; training: TrainChallengerResult },
): Promise<Parity> {
  const { cycleId, journal, plan } = context;
  const { modelSha256, predictionsSha256 } = training;
  const summary = { training, decision: plan.training };
  journal.training = summariseTraining({ ...summary, parity: null });
  const parity = await runPhase(context, 'parity', () =>
    data.checkParity.executeWithOptions({ summary: 'model.onnx against the trainer' }, [
      { cycleId, snapshotId, modelSha256, predictionsSha256 },
    ]),
  );
  journal.training = summariseTraining({ ...summary, parity });
  const { kind, reasons } = decideParity({ parity, config: plan.gate.parity });
  if (kind === 'pass') return parity;
  journal.notes.push(
    `of the rejected model, artifact ${modelSha256} is model.onnx, ${predictionsSha256} is predictions.parquet`,
  );
  throw reject(reasons);
}

async function register(
  context: CycleContext,
  data: Activities['data'],
  { judgement, ...of }: { snapshotId: string; training: TrainChallengerResult; parity: Parity; judgement: Judgement },
): Promise<number> {
  const { cycleId, journal } = context;
  const { version, cardUrl = null } = await runPhase(context, 'register', () =>
    data.registerVersion.executeWithOptions({ summary: `gate: ${judgement.gate.kind}` }, [
      { cycleId, decided: context.plan.training, ...of, ...judgement },
    ]),
  );
  journal.version = version;
  journal.cardUrl = cardUrl;
  upsertSearchAttributes([{ key: searchAttributes.version, value: version }]);
  return version;
}

/** A rate that is too small for the data trains a copy of the champion: it would pass every gate and refresh nothing. */
function unchangedScores({ maxScoreChange }: Evaluation, minScoreChange: number): string[] {
  if (maxScoreChange === null || maxScoreChange >= minScoreChange) return [];
  return [
    `warned: no score differs from the champion's by more than ${maxScoreChange.toFixed(4)} (expected ${String(minScoreChange)} somewhere): training.learningRate is most likely too small for this line`,
  ];
}
