import { writeFile } from 'node:fs/promises';
import type { TrafficStats } from '../../simulator/traffic-stats.ts';
import type { CycleResult } from '../../workflows/messages.ts';
import type { PlayedScene } from './story.ts';

/** The document that `--json` writes. Times in milliseconds. */
export interface DemoReport {
  cycles: Pick<CycleResult & { workflowId: string }, 'workflowId' | 'outcome' | 'version' | 'reasons' | 'phases'>[];
  /** Of the cycle that the monitor rolled back; null when none was. */
  rollback: { firstFailedCheckToConfirmedMs: number; decisionToConfirmedMs: number } | null;
  traffic: { requests: number; failed: number };
  dataSource: string;
}

export function demoReport({
  scenes,
  traffic,
  dataSource,
}: {
  scenes: readonly PlayedScene[];
  traffic: TrafficStats;
  dataSource: string;
}): DemoReport {
  const [byMonitor] = scenes.flatMap(({ result }) => monitorRollback(result.rollback));
  return {
    cycles: scenes.map(({ workflowId, result }) => ({
      workflowId,
      outcome: result.outcome,
      version: result.version,
      reasons: result.reasons,
      phases: result.phases,
    })),
    rollback: byMonitor ?? null,
    traffic: { requests: traffic.requests, failed: traffic.failed },
    dataSource,
  };
}

/** The times of a rollback that the monitor decided; none of one that an operator did. */
function monitorRollback(times: CycleResult['rollback']): NonNullable<DemoReport['rollback']>[] {
  if (times === null || times.firstFailedCheckAtMs === null) return [];
  const { firstFailedCheckAtMs, decidedAtMs, confirmedAtMs } = times;
  return [
    {
      firstFailedCheckToConfirmedMs: confirmedAtMs - firstFailedCheckAtMs,
      decisionToConfirmedMs: confirmedAtMs - decidedAtMs,
    },
  ];
}

export async function writeReport(path: string, report: DemoReport): Promise<void> {
  await writeFile(path, `${JSON.stringify(report, null, 2)}\n`);
}

/** The report for people: a block a cycle, then the two figures that matter. */
export function formatReport(report: DemoReport): string {
  const lines = report.cycles.flatMap((cycle, index) => [
    `${String(index + 1)}. ${cycle.outcome.padEnd(10)} ${cycle.version === null ? 'no version' : `version ${String(cycle.version)}`}`.padEnd(
      34,
    ) + phaseTimes(cycle.phases),
    ...cycle.reasons.map((reason) => `     ${reason.code}: ${reason.message}`),
  ]);
  const { rollback, traffic } = report;
  return [
    'cycle outcome    version          seconds by phase',
    ...lines,
    '',
    rollback === null
      ? 'rollback: the monitor rolled nothing back'
      : `rollback: ${seconds(rollback.firstFailedCheckToConfirmedMs)} from the first failed check to the confirmed rollback, ${seconds(rollback.decisionToConfirmedMs)} from the decision`,
    `traffic: ${String(traffic.requests)} requests, ${String(traffic.failed)} failed (${report.dataSource})`,
  ].join('\n');
}

function phaseTimes(phases: CycleResult['phases']): string {
  return phases
    .filter((phase) => phase.endedAt !== null)
    .map(
      ({ phase, startedAt, endedAt }) =>
        `${phase} ${((Date.parse(endedAt ?? startedAt) - Date.parse(startedAt)) / 1_000).toFixed(1)}`,
    )
    .join(', ');
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}
