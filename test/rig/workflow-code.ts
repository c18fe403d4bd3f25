import type { WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { workflowBundle } from './workflow-bundle.ts';

// The workers' own log drowns the test's.
Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'ERROR' } } });

/** Replays an execution's history on today's code: fails where the workflow is not deterministic. */
export async function replay(handle: Pick<WorkflowHandle, 'fetchHistory' | 'workflowId'>): Promise<void> {
  const history = await handle.fetchHistory();
  await Worker.runReplayHistory({ workflowBundle: await workflowBundle() }, history, handle.workflowId);
}
