import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { transaction } from '../store/database.ts';
import { recordDecision } from '../store/decisions.ts';
import { enqueueAlert } from '../store/outbox.ts';
import type { Alert, CycleRecord } from '../store/types.ts';
import { alertFigures } from './alert-figures.ts';
import { runUrl } from './cycle-alert.ts';
import type { RolloutDependencies } from './dependencies.ts';

/** A version that waits for a person, and what they are shown of it. */
export interface ApprovalRequest {
  cycleId: string;
  version: number;
  /** ISO time after which no answer counts as a rejection. */
  until: string;
  gate: { kind: string; reasons: Reason[] };
  /** The gate's numbers in one line. */
  summary: string;
}

/** Leaves an alert that a version waits, with the commands that decide. `reminder` is 0 for the first; one each, whoever repeats it. */
export async function askForApproval(
  deps: RolloutDependencies,
  { reminder, ...request }: ApprovalRequest & { reminder: number },
): Promise<void> {
  const cycle = await readCycle(deps.db, request.cycleId);
  // A cycle that was closed from outside asks nobody.
  if (cycle.outcome !== null) return;
  const { line } = cycle;
  const still = reminder === 0 ? 'waits' : 'still waits';
  await enqueueAlert(deps.db, {
    ...alertOf(deps, cycle, request),
    dedupKey: `${cycle.cycleId}/approval/${String(reminder)}`,
    severity: 'warning',
    title: `${line}: version ${String(request.version)} ${still} for approval`,
    text: [
      `The gate says ${request.gate.kind}: ${request.summary}`,
      ...request.gate.reasons.map(({ message }) => message),
      `Whoever may run the freshet command here can decide until ${request.until}; without an answer it is rejected.`,
      ...['approve', 'reject'].map((verb) => decisionCommand(verb, line, request.version)),
      `The whole reasoning: freshet gate explain ${line}`,
    ].join('\n'),
  });
}

export interface RecordApprovalInput extends ApprovalRequest {
  kind: 'approved' | 'rejected' | 'expired';
  /** Of `expired`: what let it pass. */
  who: string;
  why: string;
}

/**
 * Keeps a decision about a version with what whoever took it was shown, once a cycle: a repeated call changes nothing.
 * That nobody decided in time leaves an alert in the same transaction.
 */
export async function recordApproval(
  deps: RolloutDependencies,
  { kind, who, why, ...request }: RecordApprovalInput,
): Promise<{ decision: number }> {
  const cycle = await readCycle(deps.db, request.cycleId);
  const { line, cycleId } = cycle;
  const { version, gate, summary, until } = request;
  return transaction(deps.db, async (tx) => {
    const { id } = await recordDecision(tx, {
      ...{ line, version, cycleId, kind, who, why },
      details: { gate, summary, until },
      effectKey: `${cycleId}/approval`,
    });
    if (kind === 'expired') {
      await enqueueAlert(tx, {
        ...alertOf(deps, cycle, request),
        dedupKey: `${cycleId}/approval/expired`,
        severity: 'warning',
        title: `${line}: nobody decided about version ${String(version)}`,
        text: `${why}: it is rejected, the champion goes on serving. The gate said ${gate.kind}: ${summary}`,
      });
    }
    return { decision: id };
  });
}

/** What to type; `freshet` refuses it without a name or a reason. */
function decisionCommand(verb: string, line: string, version: number): string {
  return `freshet ${verb} ${line} --version ${String(version)} --who NAME --reason TEXT`;
}

function alertOf(
  deps: Pick<RolloutDependencies, 'uiUrl'>,
  cycle: CycleRecord,
  { version, until, gate }: ApprovalRequest,
): Pick<Alert, 'page' | 'line' | 'fields' | 'url' | 'kind'> {
  const url = runUrl(deps.uiUrl, cycle);
  return {
    page: false,
    line: cycle.line,
    kind: 'approval',
    fields: { version, champion: cycle.stableAtStart, verdict: gate.kind, ...alertFigures(gate.reasons), until },
    ...(url === null ? {} : { url }),
  };
}
