import { condition, isCancellation, upsertSearchAttributes, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { DataActivities, GpuActivities } from '../activities/index.ts';
import type { TrainChallengerResult } from '../activities/train-challenger.ts';
import { forgettingNotes } from '../policy/forgetting.ts';
import { decideGate, type Evaluation, type GateVerdict } from '../policy/gate.ts';
import { decideParity, type Parity } from '../policy/parity.ts';
import type { Reason } from '../policy/verdict.ts';
import { enterPhase, holdWhilePaused, show, type CycleContext } from './cycle-context.ts';
import { EndOfCycle, failureReason, reject, skip } from './end-of-cycle.ts';
import { searchAttributes, type Phase } from './messages.ts';
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

  const snapshot = await phase(context, 'snapshot', () =>
    data.takeSnapshot.executeWithOptions({ summary: 'matured rows since the parent, to Parquet' }, [
      { cycleId, strategy: how?.strategy },
    ]),
  );
  const { snapshotId, rows } = snapshot;

  const report = await phase(context, 'check', () =>
    data.checkSnapshot.executeWithOptions(
      { summary: `${String(rows.train)} train, ${String(rows.holdout)} holdout, ${String(rows.replay)} replayed rows` },
      [{ cycleId, snapshotId }],
    ),
  );
  journal.reportUrl = report.reportUrl;
  journal.notes.push(...[...report.silenced, ...report.warnings].map(({ code, message }) => `${code}: ${message}`));
  if (report.verdict !== 'pass') throw skip(report.reasons);

  const training = await phase(
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

  const evaluation = await phase(context, 'evaluate', () =>
    data.evaluateChallenger.executeWithOptions({ summary: 'champion and challenger on the holdout' }, [
      { cycleId, snapshotId, modelSha256: training.modelSha256 },
    ]),
  );

  enterPhase(context, 'gate');
  const { plan } = context;
  journal.notes.push(...unchangedScores(evaluation, plan.minScoreChange), ...forgettingNotes(evaluation, plan.gate));
  const gate = decideGate({ evaluation, config: plan.gate, hasChampion: plan.champion !== null });

  const version = await register(context, data, { snapshotId, training, parity, evaluation, gate });
  await passGate(context, { version, gate });
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
  const parity = await phase(context, 'parity', () =>
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
  of: {
    snapshotId: string;
    training: TrainChallengerResult;
    parity: Parity;
    evaluation: Evaluation;
    gate: GateVerdict;
  },
): Promise<number> {
  const { cycleId, journal } = context;
  const { version } = await phase(context, 'register', () =>
    data.registerVersion.executeWithOptions({ summary: `gate: ${of.gate.kind}` }, [
      { cycleId, decided: context.plan.training, ...of },
    ]),
  );
  journal.version = version;
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

/** Lets a passing challenger through, asks a person where the config says so, and rejects everything else. */
async function passGate(context: CycleContext, { version, gate }: Challenger): Promise<void> {
  const { approval, onInconclusive } = context.plan.gate;
  if (gate.kind === 'reject' || gate.kind === 'hold') throw reject(gate.reasons);
  const asksWhenInconclusive = approval === 'onInconclusive' || onInconclusive === 'ask';
  if (gate.kind === 'inconclusive' && approval !== 'always' && !asksWhenInconclusive) throw reject(gate.reasons);
  if (approval === 'always' || gate.kind === 'inconclusive') await waitForApproval(context, { version, gate });
}

async function waitForApproval(context: CycleContext, { version, gate }: Challenger): Promise<void> {
  const { desk, journal, plan } = context;
  const untilMs = Date.now() + plan.gate.approvalDeadline;
  enterPhase(context, 'approval');
  journal.waitingForApproval = { version, until: new Date(untilMs).toISOString(), reasons: gate.reasons };
  desk.askForApproval({ version, untilMs });
  show(context);
  await condition(() => desk.decision !== null, plan.gate.approvalDeadline, {
    summary: `approval of version ${String(version)}`,
  });
  const { decision } = desk;
  desk.approvalRequest = null;
  journal.waitingForApproval = null;
  if (decision === null) {
    throw reject([
      { code: 'approval.expired', message: `nobody approved version ${String(version)} before the deadline` },
      ...gate.reasons,
    ]);
  }
  const said: Reason = {
    code: `approval.${decision.kind}`,
    message: `${decision.kind} by ${decision.who}: ${decision.reason}`,
  };
  journal.notes.push(said.message);
  if (decision.kind === 'rejected') throw reject([said, ...gate.reasons]);
}

/** Runs one phase; an activity that failed for good ends the cycle with its own words, as a skip unless said otherwise. */
async function phase<T>(
  context: CycleContext,
  name: Phase,
  run: () => Promise<T>,
  endWith: (reason: Reason) => EndOfCycle = (reason) => skip([reason]),
): Promise<T> {
  await holdWhilePaused(context);
  enterPhase(context, name);
  try {
    return await run();
  } catch (error) {
    if (isCancellation(error)) throw error;
    throw endWith(failureReason(`${name}.failed`, error));
  }
}
