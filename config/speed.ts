import type { LineConfig } from './schema.ts';

/** A lease shorter than this could run out between two checks on a busy machine. */
const LEASE_FLOOR_MS = 15_000;
const ROLLBACK_DEADLINE_FLOOR_MS = 30_000;
const CHECK_FLOOR_MS = 100;
const BUCKET_FLOOR_MS = 250;
/** A look at the triggers is a workflow of its own. */
const WATCH_FLOOR_MS = 5_000;

/**
 * The same config with its operating durations divided by `speed`: cadence, online updates, triggers, shadow, ramp, watch, check interval,
 * health buckets, the gate's waiting, approval and pause limits. How long files are kept and event durations stay; leases and the rollback deadline stop at a floor in real
 * time, because processes and networks do not get faster.
 *
 * @param speed at least 1; 1 changes nothing.
 */
export function atSpeed(config: LineConfig, speed: number): LineConfig {
  if (!(speed >= 1)) throw new Error(`speed must be a number of at least 1, got ${String(speed)}`);
  if (speed === 1) return config;
  const faster = (ms: number, floor = 0): number => Math.max(floor, ms / speed);
  const { schedule, triggers, training, shadow, canary, watch, health, gate } = config;
  const { online } = training;
  return {
    ...config,
    schedule: { every: faster(schedule.every, 1_000), catchUp: faster(schedule.catchUp, 10_000) },
    triggers: {
      ...triggers,
      every: faster(triggers.every, WATCH_FLOOR_MS),
      window: faster(triggers.window),
      performance: { ...triggers.performance, reference: faster(triggers.performance.reference) },
    },
    training: {
      ...training,
      online: online && {
        every: faster(online.every, 1_000),
        shadow: faster(online.shadow),
        window: faster(online.window),
      },
    },
    gate: {
      ...gate,
      extend: { ...gate.extend, every: faster(gate.extend.every) },
      approvalDeadline: faster(gate.approvalDeadline),
      approvalReminder: faster(gate.approvalReminder),
    },
    shadow: { ...shadow, duration: faster(shadow.duration) },
    canary: {
      ...canary,
      window: faster(canary.window),
      checkEvery: faster(canary.checkEvery, CHECK_FLOOR_MS),
      maxUnknown: faster(canary.maxUnknown, 1_000),
      pauseLimit: faster(canary.pauseLimit),
      lease: faster(canary.lease, LEASE_FLOOR_MS),
      rollbackDeadline: faster(canary.rollbackDeadline, ROLLBACK_DEADLINE_FLOOR_MS),
    },
    watch: { window: faster(watch.window) },
    health: { ...health, bucket: faster(health.bucket, BUCKET_FLOOR_MS), feedbackDelay: faster(health.feedbackDelay) },
  };
}
