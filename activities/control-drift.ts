import { setImmediate as breathe } from 'node:timers/promises';
import type { LineConfig } from '../config/schema.ts';
import type { Drift } from '../policy/sequential/backstop.ts';
import {
  HEALTH_METRICS,
  SEQUENTIAL_METRICS,
  slowestBuckets,
  type HealthLook,
  type SequentialMetric,
} from '../policy/sequential/health-metrics.ts';
import { once } from '../store/effects.ts';
import { readControlHistory, readStableLatencies } from '../store/health-looks.ts';
import type { CheckHealthInput } from './check-health.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { blockLooksOf } from './watch-health.ts';

/** What stable was like before a ramp. */
export interface ControlDrift {
  /** First latency bucket that counts as slow; null when stable had no traffic. */
  slowFrom: number | null;
  drifts: Record<SequentialMetric, Drift>;
}

/** Of the newest history: more of it says little more, and takes time. */
const MOST_LOOKS = 3_000;
const LATENCIES_MS = 3_600_000;

/**
 * How far two arms of one version drift apart on this line: the holdback beside stable in the ramps of
 * `health.sequential.history`, whatever became of them. Worked out once a cycle, from before its ramp.
 */
export async function readControlDrift(
  { db }: Pick<RolloutDependencies, 'db'>,
  { input, rampStartedAtMs, config }: { input: CheckHealthInput; rampStartedAtMs: number; config: LineConfig },
): Promise<ControlDrift> {
  const { line, cycleId } = input;
  const { bucket, sequential } = config.health;
  return once(db, `${cycleId}/control-drift`, async (tx) => {
    const toMs = rampStartedAtMs;
    const slowFrom = slowestBuckets(await readStableLatencies(tx, { line, fromMs: toMs - LATENCIES_MS, toMs }));
    const history = newest(
      await readControlHistory(tx, {
        ...{ line, toMs, bucketMs: bucket },
        fromMs: toMs - sequential.history,
        slowFrom: slowFrom ?? 0,
      }),
    );
    const drifts: Partial<ControlDrift['drifts']> = {};
    for (const metric of SEQUENTIAL_METRICS) {
      await breathe(); // so that no rollback of another line waits for all of it
      const settings = { blockLooks: blockLooksOf(config), prior: sequential.dispersion };
      drifts[metric] = HEALTH_METRICS[metric].drift(history, settings);
    }
    return { slowFrom, drifts: drifts as ControlDrift['drifts'] };
  });
}

function newest(runs: HealthLook[][]): HealthLook[][] {
  let looks = 0;
  return runs.reverse().filter((run) => (looks += run.length) <= MOST_LOOKS);
}
