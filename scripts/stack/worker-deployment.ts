import type { Client } from '@temporalio/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from './say.ts';

const TIMEOUT_MS = 30_000;

export interface WorkerVersion {
  deploymentName: string;
  buildId: string;
}

/**
 * Makes a build the one that new cycles start on; running cycles stay on theirs (their workflow is pinned). A versioned
 * worker gets no work before its version is current or somebody's.
 *
 * @throws Error when Temporal refuses for longer than half a minute.
 */
export async function makeCurrent(client: Client, { deploymentName, buildId }: WorkerVersion): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    try {
      await client.workflowService.setWorkerDeploymentCurrentVersion({
        namespace: client.options.namespace,
        deploymentName,
        buildId,
        identity: 'freshet',
        ignoreMissingTaskQueues: true,
      });
      return;
    } catch (error) {
      // Temporal learns of a version from its first poll, some moments after the worker started.
      if (Date.now() > deadline) {
        throw new Error(`build ${buildId} of ${deploymentName} could not be made current: ${messageOf(error)}`);
      }
      await sleep(100);
    }
  }
}
