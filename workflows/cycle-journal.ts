import type { Reason } from '../policy/verdict.ts';
import type { BreakerState } from '../policy/breaker.ts';
import { describeGate, describeWait } from './gate-summary.ts';
import type {
  CycleResult,
  CycleStatus,
  GateSummary,
  Phase,
  PhaseTimes,
  RollbackTimes,
  TrainingSummary,
} from './messages.ts';
import { describeTraining } from './training-summary.ts';

/**
 * What one cycle has done so far: the answer of the `status` query, the Markdown shown in the Temporal UI, and in the end
 * the workflow's result. State only.
 */
export class CycleJournal {
  readonly line: string;
  readonly cycleId: string;
  trigger: string;
  phase: Phase = 'begin';
  phases: PhaseTimes[] = [];
  champion: number | null = null;
  version: number | null = null;
  training: TrainingSummary | null = null;
  gate: GateSummary | null = null;
  canaryPercent: number | null = null;
  holdbackPercent: number | null = null;
  checks: CycleStatus['checks'] = { total: 0, last: null, breaker: null };
  outcome: CycleStatus['outcome'] = null;
  reasons: Reason[] = [];
  notes: string[] = [];
  /** Of the snapshot's checks. */
  reportUrl: string | null = null;
  /** The model card of the version, once it is registered. */
  cardUrl: string | null = null;
  rollback: RollbackTimes | null = null;
  waitingForRows: CycleStatus['waitingForRows'] = null;
  waitingForApproval: CycleStatus['waitingForApproval'] = null;

  constructor({ line, cycleId, trigger }: { line: string; cycleId: string; trigger: string }) {
    this.line = line;
    this.cycleId = cycleId;
    this.trigger = trigger;
  }

  enter(phase: Phase, nowMs: number): void {
    const now = new Date(nowMs).toISOString();
    const open = this.phases.at(-1);
    if (open?.endedAt === null) open.endedAt = now;
    this.phase = phase;
    this.canaryPercent = null;
    this.holdbackPercent = null;
    if (phase !== 'closed') this.phases.push({ phase, startedAt: now, endedAt: null });
  }

  checked({ status, reasons, breaker }: { status: string; reasons: Reason[]; breaker: BreakerState | null }): void {
    this.checks = { total: this.checks.total + 1, last: { status, reasons }, breaker };
  }

  end(outcome: NonNullable<CycleStatus['outcome']>, reasons: Reason[]): void {
    this.outcome = outcome;
    this.reasons = reasons;
    this.waitingForRows = null;
    this.waitingForApproval = null;
  }

  status(paused: CycleStatus['paused']): CycleStatus {
    const {
      line,
      cycleId,
      trigger,
      phase,
      phases,
      champion,
      version,
      training,
      gate,
      canaryPercent,
      holdbackPercent,
      waitingForRows,
      waitingForApproval,
      checks,
      outcome,
      reasons,
    } = this;
    return {
      line,
      cycleId,
      trigger,
      phase,
      phases,
      champion,
      version,
      training,
      gate,
      canaryPercent,
      holdbackPercent,
      paused,
      waitingForRows,
      waitingForApproval,
      checks,
      outcome,
      reasons,
    };
  }

  result(outcome: CycleResult['outcome']): CycleResult {
    const { cycleId, line, version, reasons, notes, phases, training, gate, rollback } = this;
    return { cycleId, line, outcome, version, reasons, notes, phases, training, gate, rollback };
  }

  /** Shown by the Temporal UI beside the run. */
  markdown(paused: CycleStatus['paused']): string {
    const versions = `champion ${this.champion === null ? 'none' : `v${String(this.champion)}`}, challenger ${this.version === null ? 'not yet' : `v${String(this.version)}`}`;
    const canary = this.canaryPercent === null ? '' : ` at ${String(this.canaryPercent)} % of traffic`;
    const holdback =
      this.holdbackPercent === null ? '' : `, with ${String(this.holdbackPercent)} % of traffic on the champion`;
    const approval = this.waitingForApproval;
    const { last, total } = this.checks;
    const blocks = [
      `### ${this.line}: ${this.outcome ?? `${this.phase}${canary}${holdback}`}`,
      `${versions}; started by ${this.trigger}`,
      ...(this.reportUrl === null ? [] : [`[Report on the data](${this.reportUrl})`]),
      ...(this.cardUrl === null ? [] : [`[Model card](${this.cardUrl})`]),
      ...(this.training === null ? [] : [`Trained: ${describeTraining(this.training)}`]),
      ...(this.gate === null ? [] : [`**Gate**: ${describeGate(this.gate)}`]),
      // Once the cycle has ended they are among its reasons.
      ...(this.gate === null || this.outcome !== null ? [] : [bullets(this.gate.reasons)]),
      ...(this.waitingForRows === null ? [] : [`**Waits for rows**: ${describeWait(this.waitingForRows)}`]),
      ...(paused === null ? [] : [`**Paused** by ${paused.who}: ${paused.reason}`]),
      ...(approval === null
        ? []
        : [
            `**Waits for approval** until ${approval.until}: \`${decideCommand('approve', this.line, approval.version)}\` or \`${decideCommand('reject', this.line, approval.version)}\``,
          ]),
      ...(this.reasons.length === 0 ? [] : [`**Reasons**`, bullets(this.reasons)]),
      ...(last === null ? [] : [`**Check ${String(total)}: ${last.status}**`, bullets(last.reasons)]),
      ...(this.notes.length === 0 ? [] : ['**Notes**', this.notes.map((note) => `- ${note}`).join('\n')]),
      ['| phase | started (UTC) | seconds |', '| --- | --- | --- |', ...this.phases.map(phaseRow)].join('\n'),
    ];
    return blocks.filter((block) => block !== '').join('\n\n');
  }
}

function phaseRow({ phase, startedAt, endedAt }: PhaseTimes): string {
  const seconds = endedAt === null ? '' : ((Date.parse(endedAt) - Date.parse(startedAt)) / 1_000).toFixed(1);
  return `| ${phase} | ${startedAt.slice(0, 19).replace('T', ' ')} | ${seconds} |`;
}

function decideCommand(verb: string, line: string, version: number): string {
  return `freshet ${verb} ${line} --version ${String(version)} --who NAME --reason TEXT`;
}

function bullets(reasons: Reason[]): string {
  return reasons.map((reason) => `- \`${reason.code}\` ${reason.message}`).join('\n');
}
