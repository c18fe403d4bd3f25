import { ActivityCancellationType, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { ActivityInterfaceFor } from '@temporalio/workflow';
import type { CyclePlan } from '../activities/begin-cycle.ts';
import type { DataActivities, GpuActivities, RolloutActivities } from '../activities/index.ts';
import { siblingQueue } from '../config/names.ts';

/**
 * Every timeout and retry of a cycle, each with its reason. All of them are real time: `--speed` makes phases shorter,
 * not databases faster.
 */
export function cycleActivities({
  line,
  trainingTimeoutMs,
  trainingPriority,
  checkEveryMs,
}: {
  line: string;
  trainingTimeoutMs: number;
  trainingPriority: CyclePlan['trainingPriority'];
  checkEveryMs: number;
}): {
  data: ActivityInterfaceFor<DataActivities>;
  gpu: ActivityInterfaceFor<GpuActivities>;
  monitor: ActivityInterfaceFor<RolloutActivities>;
} {
  const queue = workflowInfo().taskQueue;
  return {
    data: proxyActivities<DataActivities>({
      taskQueue: siblingQueue(queue, 'data'),
      // A snapshot of a large line reads for minutes; a quarter of an hour means that the source hangs.
      startToCloseTimeout: '15m',
      // Three tries over about a minute outlast a restart; after that the cycle skips and the next one, in four hours, takes the same rows.
      // What the data itself is guilty of repeats itself.
      retry: {
        initialInterval: '2s',
        backoffCoefficient: 4,
        maximumAttempts: 3,
        nonRetryableErrorTypes: ['DataError'],
      },
      // Nothing outside the work folder is left half done: there is nothing to wait for.
      cancellationType: ActivityCancellationType.TRY_CANCEL,
    }),
    gpu: proxyActivities<GpuActivities>({
      taskQueue: siblingQueue(queue, 'gpu'),
      startToCloseTimeout: trainingTimeoutMs,
      // No free device for as long as a training may take: the fleet is too small, and the operator should hear it.
      scheduleToStartTimeout: trainingTimeoutMs,
      // All tries together, the wait included: one that saves checkpoints and never ends must not keep its line for days.
      scheduleToCloseTimeout: 2 * trainingTimeoutMs,
      // Heartbeats come every second, but a machine that swaps may stall for longer; a dead worker is noticed within half a minute.
      heartbeatTimeout: '30s',
      // Each try resumes from the last checkpoint, so tries are cheap, and a spot machine may be taken away many times. What
      // repeats itself, and five tries in a row without a checkpoint, are marked not retryable by the activity.
      retry: { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1m', maximumAttempts: 100 },
      // Which of the waiting trainings gets the next device: the first by priority, then lines in turn by their weight.
      ...(trainingPriority && { priority: { ...trainingPriority, fairnessKey: line } }),
      // The process group must be gone, its checkpoint saved, before the line is free for the next cycle.
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    }),
    monitor: proxyActivities<RolloutActivities>({
      // A check that takes longer than its interval is as good as none; below 15 s a busy machine would look like an outage.
      scheduleToCloseTimeout: Math.max(checkEveryMs, 15_000),
      startToCloseTimeout: '10s',
      retry: { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '5s' },
      // A signal must not wait for a running check.
      cancellationType: ActivityCancellationType.TRY_CANCEL,
    }),
  };
}

/** A health check of the mode `sequential`, which looks for as long as the interval between two checks lasts. */
export function watchingCheck(checkEveryMs: number) {
  return {
    // The interval, and what a busy machine adds.
    startToCloseTimeout: checkEveryMs + 15_000,
    // A try that a dying worker took along and a whole one after it; the lease ends what takes longer.
    scheduleToCloseTimeout: 2 * checkEveryMs + 30_000,
    // Heartbeats come every two seconds; a dead worker's check is done again well within the lease.
    heartbeatTimeout: '10s',
  } as const;
}

/** Claims, route moves, promotion, closing: one short transaction each, idempotent by key. */
export const rollout = proxyActivities<RolloutActivities>({
  startToCloseTimeout: '20s',
  // A database that is gone for longer than the lease ends the canary by itself: going on is the rollback's job then.
  scheduleToCloseTimeout: '100s',
  retry: { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '5s' },
  // Rollback does not wait for a hanging deploy: the closed cycle refuses whatever it commits later.
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** Rollback and closing never give up: the deadline pages, the trying goes on. */
export const compensation = proxyActivities<RolloutActivities>({
  startToCloseTimeout: '20s',
  retry: { initialInterval: '100ms', backoffCoefficient: 1.5, maximumInterval: '2s' },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** Waits until the fleet has confirmed: long, and alive by heartbeats every 100 ms. */
export const confirmationOf = proxyActivities<RolloutActivities>({
  startToCloseTimeout: '1h',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '100ms', backoffCoefficient: 1.5, maximumInterval: '2s' },
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});
