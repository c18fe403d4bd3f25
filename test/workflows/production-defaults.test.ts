import { temporal } from '@temporalio/proto';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RolloutActivities } from '../../activities/index.ts';
import { CYCLE_WORKFLOW } from '../../config/names.ts';
import { findTimeSkippingServer } from '../../scripts/stack/time-skipping-server.ts';
import { assessCheck } from '../../policy/breaker.ts';
import type { HealthVerdict } from '../../policy/health.ts';
import { watchBreaker } from '../../policy/watch.ts';
import { searchAttributes, type CycleResult, type TrainingCycleInput } from '../../workflows/messages.ts';
import { well } from '../policy/gate-cases.ts';
import { lineConfig } from '../policy/line-config.ts';
import { workflowBundle } from '../rig/workflow-bundle.ts';
import { replay } from '../rig/workflow-code.ts';

/**
 * The production defaults of time - 15 minutes of shadow, 30 minutes of ramp, a check every 60 s - under skipped time.
 * What the activities answer is scripted: databases do not skip time.
 */
const server = await findTimeSkippingServer({ say: console.log });
if (server.kind !== 'found') console.warn(`production defaults are not tested: ${server.reason}`);

const { INDEXED_VALUE_TYPE_INT: INT, INDEXED_VALUE_TYPE_KEYWORD: KEYWORD } = temporal.api.enums.v1.IndexedValueType;
const { canary, watch, shadow, gate } = lineConfig();
const moved = { kind: 'moved' as const, epoch: 2, movedAtMs: 0 };

interface Recorded {
  checksAtMs: number[];
  /** How many of them were of the watch. */
  watched: number;
  shares: number[];
  calls: string[];
}

/** Activities that answer as a healthy installation would, but for the verdict of each check. */
function scripted(verdictOf: (check: number) => HealthVerdict['status'], now: () => Promise<number>) {
  const recorded: Recorded = { checksAtMs: [], watched: 0, shares: [], calls: [] };
  const rollout: Omit<RolloutActivities, 'readTriggers' | 'startTriggeredCycle'> = {
    beginCycle: () =>
      Promise.resolve({
        kind: 'claimed',
        plan: {
          champion: 1,
          trigger: 'test',
          epoch: 1,
          ...{
            gate,
            shadow,
            canary,
            watch,
            trainingTimeoutMs: 7_200_000,
            minScoreChange: 0.005,
            shadowDivergenceSilenced: false,
            silences: [],
          },
        },
      }),
    setRoute: ({ change }) => {
      if (change.kind === 'canary') recorded.shares.push(change.share);
      return Promise.resolve(moved);
    },
    readShadow: () => Promise.resolve({ verdict: { status: 'pass', reasons: [] }, refused: null }),
    checkHealth: async ({ breaker, phase }) => {
      const atMs = await now();
      recorded.checksAtMs.push(atMs);
      if (phase === 'watch') recorded.watched += 1;
      const verdict = { status: verdictOf(recorded.checksAtMs.length), reasons: [] };
      const { state, decision } = assessCheck({
        ...{ state: breaker, check: { ...verdict, atMs } },
        config: phase === 'watch' ? watchBreaker(canary) : canary,
      });
      return { verdict, breaker: state, decision, refused: null };
    },
    promote: () => {
      recorded.calls.push('promote');
      return Promise.resolve(moved);
    },
    settle: ({ undecided }) => {
      recorded.calls.push(undecided === null ? 'settle' : 'settle undecided');
      return Promise.resolve(moved);
    },
    rollback: () => {
      recorded.calls.push('rollback');
      return Promise.resolve({ epoch: 9, stable: 1 });
    },
    confirmRoute: async () => ({ confirmedAtMs: await now() }),
    reportLateRollback: () => {
      recorded.calls.push('late');
      return Promise.resolve();
    },
    reportRollbackConfirmed: () => Promise.resolve(),
    endCycle: ({ outcome }) => Promise.resolve({ outcome }),
    savePhases: () => Promise.resolve(),
    askForApproval: () => Promise.resolve(),
    recordApproval: () => Promise.resolve({ decision: 1 }),
  };
  const others = {
    takeSnapshot: () =>
      Promise.resolve({ snapshotId: 's', rows: { train: 1, replay: 0, holdout: 1 }, windowStartMs: 0, cutoffMs: 1 }),
    checkSnapshot: () => Promise.resolve({ verdict: 'pass', reasons: [], warnings: [], silenced: [], reportUrl: null }),
    trainChallenger: () => Promise.resolve({ modelSha256: 'm', predictionsSha256: 'p', metrics: {}, warnings: [] }),
    checkParity: () =>
      Promise.resolve({
        ...{ problem: null, trainRows: 10_000, predictions: 10_000, rows: 10_000, unknownRow: null },
        ...{ notNumbers: 0, firstNotNumber: null, maxDelta: 1e-7, meanDelta: 1e-8, worst: null },
      }),
    evaluateChallenger: () => Promise.resolve({ ...well, champion: 1 }),
    registerVersion: () => Promise.resolve({ version: 2 }),
  };
  return { recorded, activities: { ...rollout, ...others } };
}

describe.skipIf(server.kind !== 'found')('the production defaults', () => {
  let environment: TestWorkflowEnvironment;

  beforeAll(async () => {
    if (server.kind !== 'found') return;
    environment = await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path: server.path } },
    });
    await environment.connection.operatorService.addSearchAttributes({
      namespace: 'default',
      searchAttributes: Object.fromEntries(
        Object.values(searchAttributes).map(({ name, type }) => [name, type === 'INT' ? INT : KEYWORD]),
      ),
    });
  });

  afterAll(async () => {
    await environment.teardown();
  });

  async function play(
    verdictOf: (check: number) => HealthVerdict['status'],
  ): Promise<{ result: CycleResult; recorded: Recorded }> {
    const { recorded, activities } = scripted(verdictOf, () => environment.currentTimeMs());
    const connection = environment.nativeConnection;
    const queues = ['data', 'gpu', 'rollout'].map((role) => `defaults-${role}`);
    const workers = await Promise.all(
      queues.map(async (taskQueue) =>
        Worker.create({ connection, taskQueue, workflowBundle: await workflowBundle(), activities }),
      ),
    );
    const running = workers.map((worker) => worker.run());
    try {
      const handle = await environment.client.workflow.start<(input: TrainingCycleInput) => Promise<CycleResult>>(
        CYCLE_WORKFLOW,
        {
          workflowId: `defaults-${String(Math.random())}`,
          taskQueue: 'defaults-rollout',
          args: [{ line: 'test-line', trigger: 'test' }],
        },
      );
      const result = await handle.result();
      await replay(handle);
      return { result, recorded };
    } finally {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
    }
  }

  it('check health 30 times, every 60 s, over steps of 1, 5, 25, 50 and 95 %, promote, and check 30 times more', async () => {
    const { result, recorded } = await play(() => 'pass');

    expect(result.outcome).toBe('promoted');
    expect(recorded.checksAtMs).toHaveLength(60);
    expect(recorded.watched).toBe(30);
    expect(recorded.shares).toEqual([0.01, 0.05, 0.25, 0.5, 0.95]);
    const gaps = recorded.checksAtMs.slice(1).map((atMs, index) => atMs - (recorded.checksAtMs[index] ?? 0));
    for (const gap of gaps) expect(Math.abs(gap - 60_000)).toBeLessThan(2_000);
    expect(recorded.calls).toEqual(['promote', 'settle']);
  });

  it('roll back on the third failed check in a row, within three minutes of the first', async () => {
    const { result, recorded } = await play((check) => (check >= 10 ? 'fail' : 'pass'));

    expect(result.outcome).toBe('rolledBack');
    expect(recorded.checksAtMs).toHaveLength(12);
    const { confirmedAtMs, firstFailedCheckAtMs } = result.rollback ?? {
      confirmedAtMs: Infinity,
      firstFailedCheckAtMs: 0,
    };
    expect(confirmedAtMs - (firstFailedCheckAtMs ?? 0)).toBeLessThan(180_000);
    expect(recorded.calls).toEqual(['rollback']);
  });

  it('roll back a promoted version on the third failed check in a row', async () => {
    const { result, recorded } = await play((check) => (check > 40 ? 'fail' : 'pass'));

    expect(result.outcome).toBe('rolledBack');
    expect(recorded.watched).toBe(13);
    expect(recorded.calls).toEqual(['promote', 'rollback']);
  });

  it.each(['insufficient', 'unknown'] as const)(
    'keep a promoted version of which nothing is known (%s) once the watch is over twice',
    async (status) => {
      const { result, recorded } = await play((check) => (check > 30 ? status : 'pass'));

      expect(result.outcome).toBe('promoted');
      expect(recorded.watched).toBe(60);
      expect(recorded.calls).toEqual(['promote', 'settle undecided']);
      expect(result.notes.join()).toMatch(/passed the ramp and stays/);
    },
  );

  it('hold a step while the data is insufficient, and roll back when the extended window is over', async () => {
    const { result, recorded } = await play(() => 'insufficient');

    expect(result.outcome).toBe('rolledBack');
    expect(recorded.shares).toEqual([0.01]);
    expect(recorded.checksAtMs).toHaveLength(60);
  });
});
