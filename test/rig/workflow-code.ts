import type { WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { replayOptions } from './workflow-bundle.ts';

// The workers' own log drowns the test's.
Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'ERROR' } } });

/** Replays an execution's history on today's code: fails where the workflow is not deterministic. */
export async function replay(handle: Pick<WorkflowHandle, 'fetchHistory' | 'workflowId'>): Promise<void> {
  await Worker.runReplayHistory(await replayOptions(), await handle.fetchHistory(), handle.workflowId);
}
