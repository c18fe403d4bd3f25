import { ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy, type Client } from '@temporalio/client';
import {
  CYCLE_WORKFLOW,
  cycleWorkflowId,
  DEFAULT_QUEUE_PREFIX,
  scheduleId,
  taskQueue,
  WORKFLOW_ROLE,
} from '../config/names.ts';
import type { LineConfig } from '../config/schema.ts';

export interface ApplyScheduleOptions {
  /** The installation's task queues; `freshet` unless several share one namespace. */
  queuePrefix?: string;
  /** When the first cycle is due, Unix ms in whole seconds; by default Temporal aligns intervals to the epoch. */
  firstAtMs?: number;
  paused?: boolean;
}

/**
 * Creates the line's Temporal Schedule or brings it in line with the config: every `schedule.every`, overlap SKIP (one
 * cycle a line), catch-up of one interval. A paused schedule stays paused.
 */
export async function applySchedule(
  client: Client,
  config: Pick<LineConfig, 'line' | 'schedule'>,
  { queuePrefix = DEFAULT_QUEUE_PREFIX, firstAtMs, paused = false }: ApplyScheduleOptions = {},
): Promise<'created' | 'updated'> {
  const { line, schedule } = config;
  const every = Math.max(1_000, Math.round(schedule.every / 1_000) * 1_000);
  const spec = { intervals: [{ every, ...phase(firstAtMs, every) }], ...start(firstAtMs) };
  const action = {
    type: 'startWorkflow' as const,
    workflowType: CYCLE_WORKFLOW,
    workflowId: cycleWorkflowId(line),
    taskQueue: taskQueue(WORKFLOW_ROLE, queuePrefix),
    args: [{ line, trigger: 'schedule' }],
  };
  const policies = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: Math.max(10_000, schedule.catchUp) };
  try {
    await client.schedule.create({
      scheduleId: scheduleId(line),
      spec,
      action,
      policies,
      state: { paused, ...(paused ? { note: 'applied paused' } : {}) },
    });
    return 'created';
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
  await client.schedule.getHandle(scheduleId(line)).update((previous) => ({ ...previous, spec, action, policies }));
  return 'updated';
}

/** Intervals are aligned to the epoch; the offset moves them so that one begins at `firstAtMs`. */
function phase(firstAtMs: number | undefined, every: number): { offset?: number } {
  return firstAtMs === undefined ? {} : { offset: (Math.round(firstAtMs / 1_000) * 1_000) % every };
}

/** Nothing is due before: one interval earlier would be in phase, too. */
function start(firstAtMs: number | undefined): { startAt?: Date } {
  return firstAtMs === undefined ? {} : { startAt: new Date(firstAtMs - 500) };
}

/**
 * Starts a cycle now, through the line's schedule, so that a running cycle is not joined by a second one (invariant 4).
 *
 * @throws Error that names the command to run when the line has no schedule.
 */
export async function triggerCycle(client: Client, line: string): Promise<void> {
  try {
    await client.schedule.getHandle(scheduleId(line)).trigger(ScheduleOverlapPolicy.SKIP);
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) {
      throw new Error(`line "${line}" has no schedule: run "freshet schedule apply FILE" with its config first`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** Pauses the line's schedule with a note for the operator; a line without one is left as it is. */
export async function pauseSchedule(client: Client, { line, note }: { line: string; note: string }): Promise<void> {
  try {
    await client.schedule.getHandle(scheduleId(line)).pause(note);
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}
