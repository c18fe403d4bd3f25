import type { FaultFigures } from './dead-monitors.ts';
import type { AnswersAfter, RollbackFigures } from './rollbacks.ts';

export interface Part {
  figures: RollbackFigures;
  after: AnswersAfter;
}

export interface Measured {
  announced: Part | null;
  polled: Part | null;
  restartMs: number[];
  faults: FaultFigures[];
  requests: number;
  failedRequests: number;
  /** Of the requests. */
  statuses: Record<string, number>;
}

/** For people: rollbacks, then what dies. */
export function tableOf({
  announced,
  polled,
  restartMs,
  faults,
  requests,
  failedRequests,
  statuses,
  factor,
}: Measured & { factor: number }): string {
  return [
    ...(announced === null ? [] : [...rollbackTable({ announced, polled, restartMs }), '']),
    ...(faults.length === 0 ? [] : [...faultTable(faults, factor), '']),
    `${String(failedRequests)} of ${String(requests)} requests failed ${JSON.stringify(statuses)}`,
  ].join('\n');
}

function rollbackTable({
  announced,
  polled,
  restartMs,
}: Pick<Measured, 'announced' | 'polled' | 'restartMs'>): string[] {
  const line = (name: string, part: Part | null): string[] => {
    if (part === null) return [];
    const { count, p50Ms, p99Ms, maxMs, workflowP50Ms, workflowP99Ms } = part.figures;
    const { lastCanaryAnswerP50Ms, lastCanaryAnswerP99Ms } = part.figures;
    const times = [p50Ms, p99Ms, maxMs, workflowP50Ms, workflowP99Ms, lastCanaryAnswerP50Ms, lastCanaryAnswerP99Ms];
    const { canary, canaryForSure, earlierRoute } = part.after;
    const cells = [count, ...times, canary, canaryForSure, earlierRoute];
    return [`${name.padEnd(34)}${cells.map((cell) => cell.toFixed(0).padStart(9)).join('')}`];
  };
  const header = [
    'count',
    'p50 ms',
    'p99 ms',
    'max ms',
    'flow p50',
    'flow p99',
    'last p50',
    'last p99',
    'late',
    'for sure',
    'stale',
  ];
  const times = restartMs.map((ms) => ms.toFixed(0)).join(', ');
  return [
    `${'from signal to all confirmed'.padEnd(34)}${header.map((cell) => cell.padStart(9)).join('')}`,
    ...line('announced routes', announced),
    ...line('routes found by polling each 1 s', polled),
    `flow: from the workflow's decision; last: from the signal to the canary's last answer; late: answers of the canary seen after`,
    `the confirmation, for sure: that can not have come in before; stale: by any arm, routed before it`,
    ...(restartMs.length === 0 ? [] : [`rolling restart of the gateways, ms: ${times}`]),
  ];
}

function faultTable(faults: readonly FaultFigures[], factor: number): string[] {
  return [
    `lease, checks and ramp at 1/${String(factor)} of production's; seconds times ${String(factor)}, recovery in real seconds`,
    `${'what died'.padEnd(38)}${['on stable s', 'confirmed s', 'recovered s'].map((cell) => cell.padStart(13)).join('')}  end`,
    ...faults.map((fault) => {
      const { name, stableSeconds, confirmedSeconds, recoveredSeconds, outcome, why, alerts, after } = fault;
      const cells = [stableSeconds.toFixed(0), confirmedSeconds?.toFixed(0) ?? '', recoveredSeconds.toFixed(1)];
      const end = [
        `${outcome} (${why})`,
        fault.stableServesAlone ? 'stable alone' : 'STABLE NOT ALONE',
        `alerts ${alerts.join(', ') || 'NONE'}`,
        `failed ${String(fault.failedRequests)}`,
        `late ${String(after.canary)}, stale ${String(after.earlierRoute)}`,
      ].join('; ');
      return `${name.padEnd(38)}${cells.map((cell) => cell.padStart(13)).join('')}  ${end}`;
    }),
  ];
}
