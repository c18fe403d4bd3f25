import type { Reason } from '../policy/verdict.ts';
import type { Alert, CycleRecord, Outcome } from '../store/types.ts';
import type { CoreDependencies } from './dependencies.ts';

const TITLES: Record<Outcome, string> = {
  promoted: 'promoted',
  rejected: 'rejected its challenger',
  skipped: 'skipped a cycle',
  rolledBack: 'rolled back',
  aborted: 'aborted a cycle',
  failed: 'failed a cycle',
};

/**
 * The alert of a closed cycle. A rollback, a failure and a skip (the incident this product exists for) are warnings;
 * a promotion and a rejection are news. One a cycle and outcome, whoever writes it.
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
  const numbers = Object.fromEntries(
    reasons.flatMap((reason) =>
      Object.entries(reason.numbers ?? {}).map(([name, value]) => [name, value ?? 'none'] as const),
    ),
  );
  const url = runUrl(deps.uiUrl, cycle);
  return {
    dedupKey: `${cycle.cycleId}/${outcome}`,
    severity: outcome === 'promoted' || outcome === 'rejected' ? 'info' : outcome === 'failed' ? 'critical' : 'warning',
    page: outcome === 'failed',
    line: cycle.line,
    title: `${cycle.line} ${TITLES[outcome]}${version === null ? '' : ` (version ${String(version)})`}`,
    text: reasons.map((reason) => reason.message).join('\n'),
    fields: { outcome, stableAtStart: cycle.stableAtStart, ...(version === null ? {} : { version }), ...numbers },
    ...(url === null ? {} : { url }),
  };
}

/** Link to a run in the Temporal UI. */
export function runUrl(uiUrl: string | null, run: { workflowId: string; runId: string }): string | null {
  return uiUrl === null
    ? null
    : `${uiUrl}/namespaces/default/workflows/${encodeURIComponent(run.workflowId)}/${run.runId}`;
}
