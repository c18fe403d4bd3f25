/** The names Freshet goes by in Temporal, built in one place. */

export const WORKER_ROLES = ['data', 'gpu', 'rollout'] as const;
export type WorkerRole = (typeof WORKER_ROLES)[number];

/** Workflow tasks run on the rollout worker, so that a rollback needs no other process to be alive. */
export const WORKFLOW_ROLE: WorkerRole = 'rollout';
export const DEFAULT_QUEUE_PREFIX = 'freshet';
export const CYCLE_WORKFLOW = 'trainingCycle';
export const TRIGGERS_WORKFLOW = 'watchTriggers';

/** The task queue of a worker: `freshet-data`, `freshet-gpu`, `freshet-rollout`. */
export function taskQueue(role: WorkerRole, prefix = DEFAULT_QUEUE_PREFIX): string {
  return `${prefix}-${role}`;
}

/** The queue of another worker of the same installation, from the queue that a workflow runs on. */
export function siblingQueue(workflowQueue: string, role: WorkerRole): string {
  return taskQueue(role, workflowQueue.slice(0, -(WORKFLOW_ROLE.length + 1)));
}

/** The Temporal Schedule of a line. */
export function scheduleId(line: string): string {
  return `freshet-${line}`;
}

/** The Temporal Schedule of a line's triggers. No line's name has a dot. */
export function triggerScheduleId(line: string): string {
  return `freshet-${line}.triggers`;
}

/** The id a schedule gives its workflows; Temporal appends the scheduled time. */
export function cycleWorkflowId(line: string): string {
  return `freshet-${line}`;
}

/** The cycle's id: readable by its workflow, unique by its run (a reset or a second run is another cycle). */
export function cycleId(run: { workflowId: string; runId: string }): string {
  return `${run.workflowId}/${run.runId.slice(0, 8)}`;
}
