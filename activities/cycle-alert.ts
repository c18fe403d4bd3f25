import type { Reason } from '../policy/verdict.ts';
import type { Alert, CycleRecord, Outcome } from '../store/types.ts';
import { alertFigures } from './alert-figures.ts';
import type { CoreDependencies } from './dependencies.ts';

const TITLES: Record<Outcome, string> = {
  promoted: 'promoted',
  rejected: 'rejected its challenger',
  skipped: 'skipped a cycle',
  rolledBack: 'rolled back',
  aborted: 'aborted a cycle',
  failed: 'failed a cycle',
};

/** How far a cycle came: one that comes further than another shows that what ended that one is over. */
const STAGES: Record<Exclude<Outcome, 'aborted'>, number> = {
  skipped: 1,
  failed: 2,
  rejected: 3,
  rolledBack: 4,
  promoted: 10,
};
/** A rollback that is late is over when it is confirmed, or at the latest with the next promotion. */
export const LATE_STAGE = 9;
/** What people decided is no problem of the line. */
const DECIDED = /^(operator\.|pause\.|approval\.rejected$|championChanged$)/;

/**
 * The alert of a closed cycle, with the numbers that decided. A rollback, a failure and a skip (the incident this product
 * exists for) are warnings; a promotion and a rejection are news. One a cycle and outcome, whoever writes it. What ends
 * cycle after cycle in the same way is one incident, until a cycle gets past it.
 */
export function cycleAlert(
  deps: Pick<CoreDependencies, 'uiUrl'>,
  {
    cycle,
    outcome,
    version,
    reasons,
  }: { cycle: CycleRecord; outcome: Outcome; version: number | null; reasons: Reason[] },
): Alert {
  const url = runUrl(deps.uiUrl, cycle);
  return {
    dedupKey: `${cycle.cycleId}/${outcome}`,
    severity: outcome === 'promoted' || outcome === 'rejected' ? 'info' : outcome === 'failed' ? 'critical' : 'warning',
    page: outcome === 'failed',
    line: cycle.line,
    title: `${cycle.line} ${TITLES[outcome]}${version === null ? '' : ` (version ${String(version)})`}`,
    text: reasons.map((reason) => reason.message).join('\n'),
    fields: {
      outcome,
      ...(version === null ? {} : { version }),
      stableAtStart: cycle.stableAtStart,
      ...alertFigures(reasons),
      trigger: cycle.trigger,
    },
    ...(url === null ? {} : { url }),
    kind: outcome,
    ...incidentOf(cycle.line, outcome, reasons[0]?.code ?? 'unknown'),
  };
}

function incidentOf(line: string, outcome: Outcome, code: string): Pick<Alert, 'incident' | 'resolvesBefore'> {
  if (outcome === 'aborted') return {};
  const stage = STAGES[outcome];
  if (outcome === 'promoted' || DECIDED.test(code)) return { resolvesBefore: stage };
  return { resolvesBefore: stage, incident: { action: 'open', key: `${line}/${outcome}/${code}`, stage } };
}

/** Link to a run in the Temporal UI. */
export function runUrl(uiUrl: string | null, run: { workflowId: string; runId: string }): string | null {
  return uiUrl === null
    ? null
    : `${uiUrl}/namespaces/default/workflows/${encodeURIComponent(run.workflowId)}/${run.runId}`;
}
