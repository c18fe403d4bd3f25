import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type Client,
  type ScheduleOptions,
} from '@temporalio/client';
import {
  CYCLE_WORKFLOW,
  cycleWorkflowId,
  DEFAULT_QUEUE_PREFIX,
  scheduleId,
  taskQueue,
  TRIGGERS_WORKFLOW,
  triggerScheduleId,
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
 * Creates the line's Temporal Schedule or brings it in line with the config: every `schedule.every`, or as often as online
 * updates come (each start decides which it is), overlap SKIP (one cycle a line), catch-up of one interval. A paused schedule
 * stays paused.
 */
export async function applySchedule(
  client: Client,
  config: Pick<LineConfig, 'line' | 'schedule'> & { training?: Pick<LineConfig['training'], 'online'> },
  { queuePrefix = DEFAULT_QUEUE_PREFIX, firstAtMs, paused = false }: ApplyScheduleOptions = {},
): Promise<'created' | 'updated'> {
  const { line, schedule, training } = config;
  const every = wholeSeconds(training?.online?.every ?? schedule.every);
  const spec = { intervals: [{ every, ...phase(firstAtMs, every) }], ...start(firstAtMs) };
  const action = {
    type: 'startWorkflow' as const,
    workflowType: CYCLE_WORKFLOW,
    workflowId: cycleWorkflowId(line),
    taskQueue: taskQueue(WORKFLOW_ROLE, queuePrefix),
    args: [{ line, trigger: 'schedule' }],
  };
  const policies = { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: Math.max(10_000, schedule.catchUp) };
  const state = { paused, ...(paused ? { note: 'applied paused' } : {}) };
  return putSchedule(client, { scheduleId: scheduleId(line), spec, action, policies, state });
}

/**
 * Creates the schedule on which a line's triggers are looked at, brings it in line with the config, or deletes it where
 * `triggers.watch` is empty. Looks that were missed are not made up for.
 */
export async function applyTriggerSchedule(
  client: Client,
  config: Pick<LineConfig, 'line' | 'triggers'>,
  { queuePrefix = DEFAULT_QUEUE_PREFIX }: Pick<ApplyScheduleOptions, 'queuePrefix'> = {},
): Promise<'created' | 'updated' | 'deleted'> {
  const { line, triggers } = config;
  const id = triggerScheduleId(line);
  if (triggers.watch.length === 0) {
    await deleteSchedule(client, id);
    return 'deleted';
  }
  return putSchedule(client, {
    scheduleId: id,
    spec: { intervals: [{ every: wholeSeconds(triggers.every) }] },
    action: {
      type: 'startWorkflow',
      workflowType: TRIGGERS_WORKFLOW,
      workflowId: id,
      taskQueue: taskQueue(WORKFLOW_ROLE, queuePrefix),
      // A look takes less than a second; one that no worker takes makes room for the next.
      workflowRunTimeout: '5m',
      args: [{ line }],
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: 10_000 },
  });
}

/** Deletes both schedules of a line; those it does not have are no error. Running cycles go on. */
export async function deleteSchedules(client: Client, line: string): Promise<void> {
  await Promise.all([scheduleId(line), triggerScheduleId(line)].map((id) => deleteSchedule(client, id)));
}

async function deleteSchedule(client: Client, id: string): Promise<void> {
  try {
    await client.schedule.getHandle(id).delete();
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
  }
}

/** The state, whether it is paused above all, is the operator's once the schedule is there. */
async function putSchedule(client: Client, options: ScheduleOptions): Promise<'created' | 'updated'> {
  try {
    await client.schedule.create(options);
    return 'created';
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
  const { scheduleId: id, spec, action, policies } = options;
  const update = { spec, action: action, ...(policies && { policies }) };
  await client.schedule.getHandle(id).update((previous) => ({ ...previous, ...update }));
  return 'updated';
}

function wholeSeconds(ms: number): number {
  return Math.max(1_000, Math.round(ms / 1_000) * 1_000);
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

/** Why the line's schedule is paused; null when it is not, or when there is none. */
export async function pauseNote(client: Client, line: string): Promise<string | null> {
  try {
    const { state } = await client.schedule.getHandle(scheduleId(line)).describe();
    return state.paused ? (state.note ?? 'no reason given') : null;
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
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
