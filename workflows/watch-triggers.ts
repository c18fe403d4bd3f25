import {
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { RolloutActivities } from '../activities/index.ts';
import { decideTriggers, type TriggerDecision } from '../policy/triggers.ts';
import type { Reason } from '../policy/verdict.ts';
import { failureReason } from './end-of-cycle.ts';
import { searchAttributes } from './messages.ts';

/** What one look at the triggers came to. */
export type WatchResult = { line: string } & (
  TriggerDecision | { kind: 'overtaken'; why: string } | { kind: 'failed'; reason: Reason }
);

/** Nothing waits for a look: the next one comes by itself. */
const activities = proxyActivities<Pick<RolloutActivities, 'readTriggers' | 'startTriggeredCycle'>>({
  startToCloseTimeout: '20s',
  // Longer than a restart of Postgres, shorter than the time to the next look.
  scheduleToCloseTimeout: '60s',
  retry: { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '10s' },
});

/**
 * One look at the triggers of a line, on a schedule of its own: reads, decides, and starts a cycle through the line's
 * schedule. What can not be read triggers nothing; the result says so.
 */
export async function watchTriggers({ line }: { line: string }): Promise<WatchResult> {
  upsertSearchAttributes([{ key: searchAttributes.line, value: line }]);
  const result = await look(line);
  setCurrentDetails(markdown(result));
  return result;
}

setWorkflowOptions(
  () => (workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: 'PINNED' } : {}),
  watchTriggers,
);

async function look(line: string): Promise<WatchResult> {
  try {
    const { reading, config } = await activities.readTriggers.executeWithOptions({ summary: `live sums of ${line}` }, [
      { line },
    ]);
    const decision = decideTriggers({ reading, config });
    const [first, ...others] = decision.kind === 'start' ? decision.triggers : [];
    if (decision.kind === 'wait' || first === undefined) return { line, ...decision };
    const { workflowId, runId } = workflowInfo();
    const { why } = decision;
    const started = await activities.startTriggeredCycle.executeWithOptions({ summary: `start a cycle: ${first}` }, [
      { line, triggers: [first, ...others], why, decidedAtMs: reading.nowMs, key: `${workflowId}/${runId}` },
    ]);
    return started.kind === 'started' ? { line, ...decision } : { line, ...started };
  } catch (error) {
    if (isCancellation(error)) throw error;
    return { line, kind: 'failed', reason: failureReason('watch.failed', error) };
  }
}

function markdown(result: WatchResult): string {
  const head = `### ${result.line}: `;
  switch (result.kind) {
    case 'failed':
      return `${head}the triggers could not be looked at\n\n${result.reason.message}`;
    case 'overtaken':
      return `${head}no cycle started\n\n${result.why}`;
    case 'start':
      return `${head}started a cycle\n\n${result.why}\n\n${findings(result)}`;
    case 'wait':
      return `${head}no cycle started${result.held === null ? '' : `: ${result.held.message}`}\n\n${findings(result)}`;
  }
}

function findings({ findings: all }: TriggerDecision): string {
  return all.map(({ trigger, status, reason }) => `- ${trigger} (${status}): ${reason.message}`).join('\n');
}
