import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import type { LineConfigInput } from '../../config/schema.ts';
import { currentRoute } from '../../store/routes.ts';
import { statusQuery } from '../../workflows/messages.ts';
import {
  createInstallation,
  servesAlone,
  untilStatus,
  type CycleHandle,
  type TestInstallation,
} from '../rig/installation.ts';
import { RolloutProcess } from '../rig/rollout-process.ts';
import { replay } from '../rig/workflow-code.ts';

const CHECK_MS = 4_000;
const LONG_CHECKS = {
  shadow: { minRequests: 1 },
  canary: { steps: [50], window: `${String(2 * CHECK_MS)}ms`, checkEvery: `${String(CHECK_MS)}ms`, lease: '39s' },
  watch: { window: '0s' },
  // No evidence is an alarm.
  health: { mode: 'sequential', sequential: { alpha: 1e-300 } },
} as const satisfies Partial<LineConfigInput>;

// Temporal takes ten seconds to notice that the worker is gone.
vi.setConfig({ testTimeout: 180_000 });

let freshet: TestInstallation;
let rollout: RolloutProcess;

beforeAll(async () => {
  freshet = await createInstallation({ sharePreparation: true });
  await freshet.coldStart();
  await freshet.stopWorker('rollout');
  rollout = new RolloutProcess(freshet.env);
});

afterEach(async () => {
  await freshet.settle();
});

afterAll(async () => {
  await rollout.kill();
  await freshet.close();
});

const heartbeatSchema = z.object({ peakEvidence: z.number().optional() });

interface RunningCheck {
  attempt: number;
  /** The most evidence that its last heartbeat told of; 0 when it told of none. */
  peak: number;
}

async function runningCheck(handle: CycleHandle): Promise<RunningCheck | null> {
  const { raw } = await handle.describe();
  const check = raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'checkHealth');
  if (check === undefined) return null;
  const data = check.heartbeatDetails?.payloads?.[0]?.data;
  const told = data == null ? {} : heartbeatSchema.parse(JSON.parse(Buffer.from(data).toString()));
  return { attempt: check.attempt ?? 0, peak: told.peakEvidence ?? 0 };
}

/** Waits until a health check runs, its lease renewed and its heartbeat seen. */
async function untilChecked(handle: CycleHandle, seen: (check: RunningCheck) => boolean): Promise<RunningCheck> {
  for (;;) {
    const check = await runningCheck(handle);
    if (check !== null && seen(check) && (await lease()).renewed) return check;
    const { outcome, reasons } = await handle.query(statusQuery);
    if (outcome !== null) throw new Error(`the cycle ended ${outcome} before that: ${JSON.stringify(reasons)}`);
    await wait(50);
  }
}

interface Lease {
  /** Unix ms. */
  until: number;
  /** Whether a check of the canary renewed it. */
  renewed: boolean;
}

async function lease(): Promise<Lease> {
  const { rows } = await freshet.db.query<Lease>(
    `select (extract(epoch from l.expires_at) * 1000)::float8 as until, l.renewed_at > r.at as renewed
     from leases l join route_heads h using (line) join routes r using (line, epoch) where line = $1`,
    [freshet.line],
  );
  return rows[0] ?? { until: 0, renewed: false };
}

/** Sums of a process that counted many errors of the canary in each of the last buckets. */
async function plantErrors(): Promise<void> {
  const { canary, epoch } = await currentRoute(freshet.db, freshet.line);
  await freshet.db.query(
    `insert into health_sums (line, process_id, boot, bucket_at, version, arm, epoch, requests, errors)
     select $1, 'planted', 'b', date_bin('100ms', now() - ago * interval '100ms', 'epoch'), $2, 'canary', $3, 6, 6
     from generate_series(1, 15) as ago`,
    [freshet.line, canary, epoch],
  );
}

describe('a rollout worker that is killed in the middle of a sequential health check', () => {
  it('loses neither the check nor the evidence there was: the next worker does it again, and the canary is promoted', async () => {
    await rollout.start();
    await freshet.configure(LONG_CHECKS);
    const handle = await freshet.startCycle();
    await untilStatus(handle, ({ canaryPercent }) => canaryPercent !== null);
    await wait(1_700);
    await plantErrors();
    const { peak } = await untilChecked(handle, (check) => check.peak > 1);

    await rollout.kill();
    const before = await lease();
    // What is made anew of the sums is nothing: only the heartbeat knows.
    await freshet.db.query(`delete from health_sums where process_id = 'planted'`);
    await rollout.start();
    for (;;) {
      const now = await lease();
      if ((await runningCheck(handle))?.attempt !== 1) break;
      expect(now).toEqual(before);
      await wait(100);
    }

    const { checks } = await untilStatus(handle, (status) => status.checks.last?.reasons.some(isRewritten) === true);
    expect(checks.breaker?.peakEvidence).toBeGreaterThanOrEqual(peak);
    const result = await handle.result();
    expect(result.outcome, JSON.stringify(result.reasons)).toBe('promoted');
    expect(freshet.traffic.stats.failed).toBe(0);
    await replay(handle);
  });

  it('can not keep a canary whose lease runs out before anybody notices: stable serves, and the cycle rolls back', async () => {
    await rollout.kill();
    await rollout.start();
    const { stable } = await currentRoute(freshet.db, freshet.line);
    await freshet.configure({ ...LONG_CHECKS, canary: { ...LONG_CHECKS.canary, window: '60s', lease: '5s' } });
    const handle = await freshet.startCycle();
    await untilChecked(handle, () => true);

    await rollout.kill();
    const before = await lease();
    await rollout.start();
    const restMs = before.until - Date.now();
    await wait(Math.max(0, restMs) + 500);
    expect(await lease()).toEqual(before);
    // The route still names the canary; no gateway serves it.
    expect((await currentRoute(freshet.db, freshet.line)).canary).not.toBeNull();
    const answered = freshet.traffic.stats.byArm['canary'];
    await wait(500);
    expect(freshet.traffic.stats.byArm['canary']).toBe(answered);

    const result = await handle.result();
    expect([result.outcome, result.reasons[0]?.code]).toEqual(['rolledBack', 'lease.expired']);
    await servesAlone(freshet, stable);
    expect(freshet.traffic.stats.failed).toBe(0);
    await replay(handle);
  });
});

const isRewritten = ({ code }: { code: string }): boolean => code === 'health.sequential.rewritten';
