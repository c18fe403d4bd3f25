import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import { readCycle } from '../../store/cycles.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { currentRoute, routeHistory } from '../../store/routes.ts';
import { readVersion } from '../../store/versions.ts';
import {
  approveUpdate,
  forceRollbackSignal,
  pauseSignal,
  resumeSignal,
  type CycleStatus,
} from '../../workflows/messages.ts';
import {
  createInstallation,
  fixtureTrainer,
  servesAlone,
  untilStatus,
  type CycleHandle,
  type TestInstallation,
} from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

const ann = { who: 'ann', reason: 'the editors complain' };
/** Quickly into a watch that is long enough to act in. */
const WATCH: Partial<LineConfigInput> = {
  shadow: { minRequests: 1 },
  canary: { steps: [50], window: '2s', holdback: 0.3 },
  health: { minImpressions: 5 },
  watch: { window: '60s' },
};
/** Ranks the wrong way round, unless readers click the other way round as well. */
const REVERSED: Partial<LineConfigInput> = {
  training: { command: fixtureTrainer('falling') },
  gate: { tolerance: 1, thresholds: [] },
  silences: (['shadow.divergence', 'drift.concept'] as const).map((guard) => {
    return { guard, until: '2999-01-01T00:00:00Z', reason: 'test: let it reach the canary' };
  }),
};

let freshet: TestInstallation;
/** The stable before each test. */
const stable = 1;

beforeAll(async () => {
  freshet = await createInstallation({ sharePreparation: true });
  await freshet.coldStart();
});
afterEach(async () => {
  freshet.traffic.setClickSlope(1);
  await freshet.settle();
  if ((await currentRoute(freshet.db, freshet.line)).stable !== stable) await putBack(stable, 'for the next test');
});
afterAll(async () => {
  await freshet.close();
});

async function start(change: Partial<LineConfigInput> = {}): Promise<CycleHandle> {
  await freshet.configure({ ...WATCH, ...change });
  return freshet.startCycle();
}

/** By an operator, without the workflow. */
function putBack(toVersion: number, why: string): ReturnType<typeof operatorRollback> {
  const { db, line } = freshet;
  return operatorRollback(db, {
    ...{ line, who: 'ann', why, toVersion },
    alert: {
      ...{ dedupKey: randomUUID(), severity: 'info', page: false, line },
      ...{ title: 't', text: '', fields: {} },
    },
  });
}

async function untilWatched(handle: CycleHandle): Promise<{ handle: CycleHandle; status: CycleStatus }> {
  const status = await untilStatus(handle, ({ holdbackPercent }) => holdbackPercent !== null);
  expect(status).toMatchObject({ phase: 'watch', holdbackPercent: 30, canaryPercent: null });
  const { version } = status;
  const route = { stable: version, canary: null, holdback: 0.3, holdbackVersion: stable, salt: status.cycleId };
  expect(await currentRoute(freshet.db, freshet.line)).toMatchObject(route);
  return { handle, status };
}

describe('operators in the watch', () => {
  it('who force a rollback get the old stable back, also in a pause, in which checks go on', async () => {
    const { handle, status } = await untilWatched(await start());
    await handle.signal(pauseSignal, ann);
    const paused = await untilStatus(handle, (now) => now.paused !== null);
    await untilStatus(handle, ({ checks }) => checks.total >= paused.checks.total + 3);
    const decision = { version: status.version ?? NaN, ...ann };
    await expect(handle.executeUpdate(approveUpdate, { args: [decision] })).rejects.toThrow();
    await handle.signal(forceRollbackSignal, ann);

    const result = await handle.result();
    await replay(handle);
    expect(result.outcome).toBe('rolledBack');
    expect(result.reasons[0]?.code).toBe('operator.forceRollback');
    await servesAlone(freshet, stable);
  });

  it('resume lets it end, in a pause it does not', async () => {
    const { handle } = await untilWatched(await start({ watch: { window: '600ms' } }));
    await handle.signal(pauseSignal, ann);
    const paused = await untilStatus(handle, (now) => now.paused !== null);
    // Twice the watch and its extension.
    await untilStatus(handle, ({ checks }) => checks.total >= paused.checks.total + 12);
    await handle.signal(resumeSignal, ann);

    expect((await handle.result()).outcome).toBe('promoted');
    await replay(handle);
  });

  it('who keep it by hand end the cycle, which writes nothing more', async () => {
    const { handle, status } = await untilWatched(await start());
    const { route } = await putBack(status.version ?? NaN, 'seen enough');

    const result = await handle.result();
    await replay(handle);
    expect(result.outcome).toBe('aborted');
    expect(await currentRoute(freshet.db, freshet.line)).toEqual(route);
    await servesAlone(freshet, status.version ?? NaN);
  });
});

describe('the end of a watch', () => {
  it('of which nothing could be known keeps the version, with a note and a warning', async () => {
    // A thousandth of 500 users: nobody, or one.
    const canary = { ...WATCH.canary, holdback: 0.001 };
    const result = await freshet.runCycle({ ...WATCH, canary, watch: { window: '400ms' } });

    expect(result.outcome, JSON.stringify(result.reasons)).toBe('promoted');
    expect(result.reasons.slice(0, 2).map(({ code }) => code)).toEqual(['promoted', 'watch.undecided']);
    expect(result.notes.join()).toMatch(/nothing shows that the version is well/);
    const { rows } = await freshet.db.query<{ severity: string; text: string }>(
      `select severity, alert->>'text' as text from outbox where dedup_key = $1`,
      [`${result.cycleId}/watchUndecided`],
    );
    expect(rows).toEqual([
      {
        severity: 'warning',
        text: expect.stringContaining(`freshet rollback ${freshet.line} --to ${String(stable)}`) as string,
      },
    ]);
    await servesAlone(freshet, result.version ?? NaN);
  });

  it('comes with the promotion where watch.window is 0', async () => {
    const result = await freshet.runCycle({ ...WATCH, watch: { window: '0s' } });
    expect(result.outcome, JSON.stringify(result.reasons)).toBe('promoted');
    expect(result.phases.at(-1)?.phase).toBe('promote');
    const [newest] = await routeHistory(freshet.db, { line: freshet.line, cycleId: result.cycleId });
    expect(newest?.why).toMatch(/passed the whole ramp/);
  });
});

// Two cycles long.
const TWICE = { timeout: 120_000 };

it(
  'a run that is terminated in its watch leaves the version promoted: the next cycle removes the holdback',
  TWICE,
  async () => {
    const { handle, status } = await untilWatched(await start());
    await handle.terminate('by hand');
    expect((await currentRoute(freshet.db, freshet.line)).holdbackVersion).toBe(stable);

    const result = await freshet.runCycle({ ...WATCH, gate: { thresholds: [{ metric: 'auc', min: 0.99 }] } });

    expect(result.outcome).toBe('rejected');
    await servesAlone(freshet, status.version ?? NaN);
    const { outcome, reasons } = await readCycle(freshet.db, status.cycleId ?? '');
    expect([outcome, reasons[0]?.code]).toEqual(['promoted', 'watch.interrupted']);
  },
);

describe('a promoted version that turns bad', () => {
  it.each([
    ['after three failed checks', {}, 'breaker.failures', /^health\.log-loss/],
    [
      'at an alarm of the evidence since its promotion',
      {
        health: { mode: 'sequential' },
        canary: { ...WATCH.canary, window: '4s', checkEvery: '1s', failuresToRollBack: 50 },
      },
      'breaker.alarm',
      /^health\.sequential\.\w+\.alarm$/,
    ],
  ] as const)('gives way to the old stable %s', async (_, change, code, evidence) => {
    const started = await start({ ...REVERSED, ...change });
    await untilStatus(started, ({ phase }) => phase === 'shadow');
    freshet.traffic.setClickSlope(-1);
    const { handle, status } = await untilWatched(started);
    const { version } = status;
    freshet.traffic.setClickSlope(1);

    const result = await handle.result();
    await replay(handle);
    expect(result).toMatchObject({ outcome: 'rolledBack', version });
    expect(result.reasons[0]?.code).toBe(code);
    expect(result.reasons.map((reason) => reason.code).join('\n')).toMatch(new RegExp(evidence, 'm'));
    expect(result.phases.map(({ phase }) => phase).slice(-4)).toEqual(['canary', 'promote', 'watch', 'rollback']);
    expect(result.rollback?.firstFailedCheckAtMs).not.toBeNull();
    await servesAlone(freshet, stable);
    const versions = await Promise.all(
      [stable, version ?? NaN].map((number) => readVersion(freshet.db, { line: freshet.line, version: number })),
    );
    expect(versions.map((record) => record.status)).toEqual(['stable', 'rolledBack']);
    expect(freshet.traffic.stats.failed).toBe(0);
  });
});
