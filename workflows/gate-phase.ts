import { isCancellation, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { ExtensionRecord, HoldoutExtension } from '../activities/extend-holdout.ts';
import type { DataActivities } from '../activities/index.ts';
import type { Evaluation } from '../policy/evaluation.ts';
import { count, milliseconds } from '../policy/figures.ts';
import { decideGate, type GateVerdict } from '../policy/gate.ts';
import { waitForApproval } from './approval-phase.ts';
import { enterPhase, holdWhilePaused, runPhase, show, waitUntil, type CycleContext } from './cycle-context.ts';
import { failureReason, reject } from './end-of-cycle.ts';
import { summariseGate } from './gate-summary.ts';

type Data = ActivityInterfaceFor<DataActivities>;

/** What is judged: a trained model, on the holdout of the snapshot that it was trained with. */
export interface Contender {
  snapshotId: string;
  modelSha256: string;
}

/** The final verdict of the evaluation. What a person says to it comes after the version is registered. */
export interface Judgement {
  evaluation: Evaluation;
  gate: GateVerdict;
  extensions: ExtensionRecord[];
}

/**
 * Evaluates a challenger and lets the gate decide. Where the config says so, an inconclusive verdict waits for more
 * labelled rows, at most `gate.extend.times`, and is taken again on the holdout and all that came since.
 */
export async function judgeChallenger(context: CycleContext, data: Data, contender: Contender): Promise<Judgement> {
  const { onInconclusive, extend } = context.plan.gate;
  const extensions: ExtensionRecord[] = [];
  let judged = await evaluateAndDecide(context, data, { contender, extensions });
  if (onInconclusive !== 'extend') return { ...judged, extensions };
  for (let attempt = 1; attempt <= extend.times && moreRowsWouldDecide(judged.gate); attempt += 1) {
    await waitForRows(context, { attempt, judged });
    const extension = await takeExtension(context, data, { contender, extensions, attempt });
    extensions.push(recordOf(extension, { attempt, judged }));
    tell(context, extensions.at(-1), extension);
    if (extension.kind === 'used') judged = await evaluateAndDecide(context, data, { contender, extensions });
  }
  return { ...judged, extensions };
}

/**
 * Lets a passing challenger through, asks a person where the config says so, and rejects everything else. Only `pass` and
 * `inconclusive` can be approved: what was found worse, or could not be judged, is nobody's to wave through.
 */
export async function passGate(
  context: CycleContext,
  { version, judgement: { gate } }: { version: number; judgement: Judgement },
): Promise<void> {
  const { approval, onInconclusive, extend } = context.plan.gate;
  if (gate.kind === 'reject' || gate.kind === 'hold') throw reject(gate.reasons);
  const inTheEnd = onInconclusive === 'extend' ? extend.then : onInconclusive;
  const asks = approval === 'always' || (gate.kind === 'inconclusive' && (approval !== 'never' || inTheEnd === 'ask'));
  if (gate.kind === 'inconclusive' && !asks) throw reject(gate.reasons);
  if (asks) await waitForApproval(context, { version, gate });
}

async function evaluateAndDecide(
  context: CycleContext,
  data: Data,
  { contender, extensions }: { contender: Contender; extensions: readonly ExtensionRecord[] },
): Promise<Pick<Judgement, 'evaluation' | 'gate'>> {
  const { cycleId, plan, journal } = context;
  const used = idsOf(extensions);
  const rows =
    used.length === 0
      ? 'the holdout'
      : `the holdout, extended ${used.length === 1 ? 'once' : `${String(used.length)} times`}`;
  const evaluation = await runPhase(context, 'evaluate', () =>
    data.evaluateChallenger.executeWithOptions({ summary: `champion and challenger on ${rows}` }, [
      { cycleId, ...contender, extensions: used },
    ]),
  );
  enterPhase(context, 'gate');
  const gate = decideGate({ evaluation, config: plan.gate, hasChampion: plan.champion !== null });
  journal.gate = summariseGate({ evaluation, gate, metric: plan.gate.metric, extensions: used.length });
  show(context);
  return { evaluation, gate };
}

/** An inconclusive verdict that names no size has another cause than too few rows. */
function moreRowsWouldDecide({ kind, neededRows }: GateVerdict): boolean {
  return kind === 'inconclusive' && neededRows !== undefined;
}

/** Snapshots that the evaluation reads besides the one that was trained on, oldest first. */
function idsOf(extensions: readonly ExtensionRecord[]): string[] {
  return extensions.flatMap(({ used, snapshotId }) => (used && snapshotId !== null ? [snapshotId] : []));
}

async function waitForRows(
  context: CycleContext,
  { attempt, judged }: { attempt: number; judged: Pick<Judgement, 'evaluation' | 'gate'> },
): Promise<void> {
  const { journal, plan } = context;
  const { every, times } = plan.gate.extend;
  const neededRows = judged.gate.neededRows ?? null;
  const { rows } = judged.evaluation.overall;
  const untilMs = Date.now() + every;
  enterPhase(context, 'extend');
  journal.waitingForRows = { attempt, of: times, until: new Date(untilMs).toISOString(), rows, neededRows };
  show(context);
  const wanted = neededRows === null ? '' : `, about ${count(neededRows)} would decide`;
  try {
    await waitUntil(context, untilMs, `more rows, ${String(attempt)} of ${String(times)}: ${count(rows)} now${wanted}`);
  } finally {
    journal.waitingForRows = null;
  }
}

/** Rows that can not be had end no cycle: the verdict stays what it is. */
async function takeExtension(
  context: CycleContext,
  data: Data,
  of: { contender: Contender; extensions: readonly ExtensionRecord[]; attempt: number },
): Promise<HoldoutExtension> {
  await holdWhilePaused(context);
  const { attempt, contender, extensions } = of;
  try {
    return await data.extendHoldout.executeWithOptions({ summary: `rows that matured since, ${String(attempt)}` }, [
      { cycleId: context.cycleId, snapshotId: contender.snapshotId, extensions: idsOf(extensions), attempt },
    ]);
  } catch (error) {
    if (isCancellation(error)) throw error;
    return { kind: 'notUsed', snapshotId: null, reasons: [failureReason('extend.failed', error)], reportUrl: null };
  }
}

function recordOf(
  extension: HoldoutExtension,
  { attempt, judged }: { attempt: number; judged: Pick<Judgement, 'evaluation' | 'gate'> },
): ExtensionRecord {
  const { kind, reasons } = judged.gate;
  const { snapshotId } = extension;
  const before = { kind, reasons };
  if (extension.kind === 'used') {
    const { rows } = extension;
    const message = `${count(rows)} more rows to evaluate on, besides ${count(judged.evaluation.overall.rows)}`;
    return { attempt, used: true, snapshotId, rows, message, before };
  }
  const why = extension.reasons.map(({ message }) => message).join('; ');
  return { attempt, used: false, snapshotId, rows: 0, message: `no rows to add: ${why}`, before };
}

function tell(
  { journal, plan }: CycleContext,
  record: ExtensionRecord | undefined,
  { reportUrl, ...extension }: HoldoutExtension,
): void {
  if (record === undefined) return;
  const after = milliseconds(plan.gate.extend.every);
  const report = reportUrl === null ? '' : ` (${reportUrl})`;
  journal.notes.push(`extension ${String(record.attempt)}, after ${after}: ${record.message}${report}`);
  if (extension.kind === 'used')
    journal.notes.push(...extension.warnings.map(({ code, message }) => `${code}: ${message}`));
}
