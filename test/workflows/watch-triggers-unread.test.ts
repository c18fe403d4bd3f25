import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it, vi } from 'vitest';
import { taskQueue, TRIGGERS_WORKFLOW } from '../../config/names.ts';
import type { watchTriggers } from '../../workflows/watch-triggers.ts';
import { useTemporalRig } from '../rig/temporal.ts';

describe('a look that can not read', () => {
  const rig = useTemporalRig();

  it('starts nothing and says why', async () => {
    const startTriggeredCycle = vi.fn();
    await rig.startWorker('rollout', {
      activities: {
        readTriggers: () => Promise.reject(ApplicationFailure.nonRetryable('Postgres can not be reached')),
        startTriggeredCycle,
      },
    });
    const result = await rig.client.workflow.execute<typeof watchTriggers>(TRIGGERS_WORKFLOW, {
      workflowId: `look-${rig.queuePrefix}`,
      taskQueue: taskQueue('rollout', rig.queuePrefix),
      args: [{ line: 'feed' }],
    });
    expect(result).toEqual({
      line: 'feed',
      kind: 'failed',
      reason: { code: 'watch.failed', message: 'Postgres can not be reached' },
    });
    expect(startTriggeredCycle).not.toHaveBeenCalled();
  });
});
