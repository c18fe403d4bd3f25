import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '@temporalio/client';
import { pino } from 'pino';
import { beginCycle, type CyclePlan } from '../../activities/begin-cycle.ts';
import { decideTraining } from '../../activities/decide-training.ts';
import type { LineConfigInput } from '../../config/schema.ts';
import { lineConfigSchema } from '../../config/schema.ts';
import { createGatewayTarget } from '../../integrations/gateway-target.ts';
import type { TrainingDecision } from '../../policy/training-strategy.ts';
import { claimCycle, closeCycle, readCycle, recordPhases } from '../../store/cycles.ts';
import { setEventClock } from '../../store/event-clock.ts';
import { applyLine } from '../../store/lines.ts';
import { forgetRemoved, recordRemoved } from '../../store/removed-artifacts.ts';
import { promote } from '../../store/routes.ts';
import { saveReport, saveSnapshot } from '../../store/snapshots.ts';
import { taintSnapshot } from '../../store/taints.ts';
import type { Lineage } from '../../store/types.ts';
import { createVersion } from '../../store/versions.ts';
import { alert } from '../store/stage.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 5);
let database: TestDatabase;
let line: string;
let count = 0;
let lines = 0;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  line = `line-${String((lines += 1))}`;
  await configure();
  await at(START);
});

/** A version that was trained in full at the start, and what its children are then trained by. */
async function firstVersion(change: Partial<Lineage> = {}, metrics: Record<string, unknown> = {}): Promise<number> {
  const { cycleId } = await begin(null);
  return train(cycleId, null, { strategy: 'full', trainedInFullAtMs: START, ...change }, metrics);
}

describe('how a cycle trains', () => {
  test('is decided once: a retry gives the same, whatever came meanwhile', async () => {
    const parent = await firstVersion();
    await at(START + DAY);
    const { cycleId, decision } = await begin(parent);
    await at(START + 30 * DAY);

    expect(await decideTraining(database.db, await readCycle(database.db, cycleId))).toEqual(decision);
    expect(decision).toMatchObject({ strategy: 'incremental', repair: null });
  });

  test('is in full when retention removed the checkpoint of its parent', async () => {
    const parent = await firstVersion();
    await at(START + DAY);
    const sha256 = 'b'.repeat(64);
    await recordRemoved(database.db, [{ sha256, line, what: 'checkpoint of version 1', bytes: 1, why: 'old' }]);
    const { decision } = await begin(parent);
    await forgetRemoved(database.db, [sha256]);

    expect(decision).toMatchObject({ strategy: 'full', reasons: [{ code: 'training.noCheckpoint' }] });
  });

  test('goes back to a full training after a week, and not at once again when that was rejected', async () => {
    const parent = await firstVersion();
    await at(START + 7 * DAY);
    const anchored = await begin(parent);
    await train(anchored.cycleId, parent, { strategy: 'full' });
    await at(START + 7.5 * DAY);
    const next = await begin(parent);
    await closed(next.cycleId);
    await at(START + 8.5 * DAY);
    const later = await begin(parent);

    expect(strategies(anchored, next, later)).toEqual([
      ['full', 'training.reanchor'],
      ['incremental', 'training.continued'],
      ['full', 'training.reanchor'],
    ]);
  });

  test('does not count a training that never began', async () => {
    const parent = await firstVersion();
    await at(START + 7 * DAY);
    const skipped = await begin(parent);
    await closed(skipped.cycleId, ['begin', 'snapshot', 'check']);
    const failed = await begin(parent);
    await closed(failed.cycleId, ['begin', 'snapshot', 'check', 'train']);
    const next = await begin(parent);

    expect(strategies(skipped, failed, next).map(([strategy]) => strategy)).toEqual(['full', 'full', 'incremental']);
  });

  test('answers a drift alarm by one training in full, and the next a season later', async () => {
    const parent = await firstVersion();
    const outcomes = [];
    for (let hour = 4; hour <= 48; hour += 4) {
      await at(START + hour * HOUR);
      const { cycleId, decision } = await begin(parent);
      // Each snapshot drifts.
      await checked(cycleId, START + hour * HOUR, 'warn');
      await train(cycleId, parent, { strategy: decision.strategy });
      outcomes.push(decision.strategy === 'full' ? hour : null);
    }
    // The first cycle's snapshot rings, the second cycle answers.
    expect(outcomes.filter((hour) => hour !== null)).toEqual([8, 32]);
  });

  test.each([
    ['a warning', 'warn', 'drift.label', 'full'],
    ['a block', 'block', 'drift.features', 'full'],
    ['a silenced finding', 'silenced', 'drift.features', 'incremental'],
    ['a finding of another check', 'warn', 'missing', 'incremental'],
    ['a passed check', 'pass', 'drift.features', 'incremental'],
  ])('hears drift in %s: %s of %s', async (_name, status, check, expected) => {
    const parent = await firstVersion();
    const { cycleId } = await begin(parent);
    await checked(cycleId, START + HOUR, status, check);
    await closed(cycleId, ['snapshot', 'check']);
    expect((await begin(parent)).decision.strategy).toBe(expected);
  });

  test('does not hear the drift of data that was found bad', async () => {
    const parent = await firstVersion();
    const { cycleId } = await begin(parent);
    const snapshotId = await checked(cycleId, START + HOUR, 'warn');
    await closed(cycleId, ['snapshot', 'check']);
    await taintSnapshot(database.db, { snapshotId, who: 'ann', reason: 'half loaded' });
    expect((await begin(parent)).decision.strategy).toBe('incremental');
  });

  test('repairs a parent with dormant units once a season', async () => {
    const parent = await firstVersion({}, { training: { dormantUnits: 0.4 } });
    await at(START + HOUR);
    const first = await begin(parent);
    await train(first.cycleId, parent, { strategy: 'incremental' });
    await at(START + 2 * HOUR);
    const second = await begin(parent);
    await train(second.cycleId, parent, { strategy: 'incremental' });
    await at(START + 25 * HOUR);
    const third = await begin(parent);

    expect([first, second, third].map(({ decision }) => decision.repair)).toEqual([
      { shrink: 0.9, perturb: 0.1 },
      null,
      { shrink: 0.9, perturb: 0.1 },
    ]);
  });

  test('is full when the trainer could not use the parent', async () => {
    const parent = await firstVersion();
    const { cycleId, decision } = await begin(parent);
    await train(cycleId, parent, { strategy: 'full', training: decision });
    const next = await begin(parent);
    expect(strategies(next)).toEqual([['full', 'training.parentNotUsed']]);
  });
});

describe('online updates', () => {
  beforeEach(() => configure({ training: { online: {} } }));

  test('come between two whole cycles, and these go on where the last whole one stopped', async () => {
    const whole = await firstVersion();
    await startedAgo(HOUR);
    const first = await begin(whole);
    const updated = await train(first.cycleId, whole, { strategy: 'online', trainedInFullAtMs: START });
    const second = await begin(updated);
    const again = await train(second.cycleId, updated, { strategy: 'online', trainedInFullAtMs: START });
    await startedAgo(4 * HOUR);
    const third = await begin(again);

    expect(strategies(first, second, third)).toEqual([
      ['online', 'training.online'],
      ['online', 'training.online'],
      ['incremental', 'training.continued'],
    ]);
    expect((await readCycle(database.db, second.cycleId)).parent).toBe(updated);
    const { parent, parentReason } = await readCycle(database.db, third.cycleId);
    expect(parent).toBe(whole);
    expect(parentReason).toMatch(/version 1, the newest that was trained whole/);
    expect(third.decision.reasons.at(-1)).toMatchObject({
      code: 'training.parent',
      numbers: { parent: whole, champion: again },
    });
  });

  test('whose trainer trained all layers are parents like any other', async () => {
    const whole = await firstVersion();
    await startedAgo(HOUR);
    const { cycleId } = await begin(whole);
    const updated = await train(cycleId, whole, { strategy: 'warmStart', trainedInFullAtMs: START });
    await startedAgo(4 * HOUR);
    const next = await begin(updated);
    expect((await readCycle(database.db, next.cycleId)).parent).toBe(updated);
  });

  test('take a shorter way through shadow and canary, with the same checks', async () => {
    const { cycleId } = await begin(null);
    const version = await register(cycleId, null, { strategy: 'full', trainedInFullAtMs: START });
    await promote(database.db, {
      ...{
        cycleId,
        version,
        expectedEpoch: 1,
        direct: true,
        who: 'test',
        why: 'cold start',
        effectKey: `${cycleId}/promote`,
      },
      alert: { ...alert(cycleId), line },
    });
    await startedAgo(HOUR);
    const online = await planOf('schedule');
    const whole = await planOf('manual');

    expect(online.training?.strategy).toBe('online');
    expect(whole.training?.strategy).toBe('incremental');
    expect([whole.shadow?.duration, whole.canary.window]).toEqual([900_000, 1_800_000]);
    expect(online.shadow).toEqual({ ...whole.shadow, duration: 300_000 });
    expect(online.canary).toEqual({ ...whole.canary, window: 600_000 });
    expect(online.notes?.join()).toMatch(/training online: an online update of version 1: .* 60 min ago/);
  });

  test('do not come while the champion is tainted: all layers have to learn again what it knew', async () => {
    const clean = await firstVersion();
    const { cycleId } = await begin(clean);
    const tainted = await train(cycleId, clean, { strategy: 'incremental', trainedInFullAtMs: START });

    const { decision } = await begin(clean, 'schedule', tainted);

    expect(decision.strategy).toBe('incremental');
  });

  test('do not come when somebody asks for a cycle', async () => {
    const whole = await firstVersion();
    const { decision } = await begin(whole, 'manual: a sale is on (ann)');
    expect(decision.strategy).toBe('incremental');
  });
});

async function configure(given: Partial<LineConfigInput> = {}): Promise<void> {
  const config = lineConfigSchema.parse({ line, features: [{ kind: 'numeric', name: 'age' }], ...given });
  await applyLine(database.db, { config, who: 'test' });
}

function at(eventMs: number): Promise<void> {
  return setEventClock(database.db, { line, eventMs, rate: 0 });
}

async function begin(
  parent: number | null,
  trigger = 'schedule',
  champion = parent,
): Promise<{ cycleId: string; decision: TrainingDecision }> {
  const cycleId = `${line}-c${String((count += 1))}`;
  const claim = await claimCycle(database.db, {
    ...{ line, cycleId, workflowId: cycleId, runId: cycleId, trigger },
    isRunOver: () => Promise.resolve(false),
  });
  if (claim.kind !== 'claimed') throw new Error(`expected to claim ${line}, got ${claim.kind}`);
  await database.db.query('update cycles set parent = $2, stable_at_start = $3 where cycle_id = $1', [
    ...[cycleId, parent, champion ?? 0],
  ]);
  return { cycleId, decision: await decideTraining(database.db, await readCycle(database.db, cycleId)) };
}

/** What a cycle would do that begins now; it ends at once. */
async function planOf(trigger: string): Promise<CyclePlan> {
  const cycleId = `${line}-c${String((count += 1))}`;
  const deps = {
    ...{ db: database.db, logger: pino({ level: 'silent' }), uiUrl: null, codeVersion: 'test' },
    // Nobody holds the line: Temporal is not asked.
    ...{
      temporal: null as unknown as Client,
      serving: createGatewayTarget(database.db),
      channels: [],
      prometheusUrl: null,
    },
  };
  const begun = await beginCycle(deps, { line, cycleId, workflowId: cycleId, runId: cycleId, trigger });
  if (begun.kind !== 'claimed') throw new Error(`expected to claim ${line}, got ${begun.kind}`);
  await closed(cycleId);
  return begun.plan;
}

/** Registers what the cycle trained, and ends it. */
async function train(
  cycleId: string,
  ...of: [parent: number | null, Partial<Lineage>, metrics?: object]
): Promise<number> {
  const version = await register(cycleId, ...of);
  await closed(cycleId);
  return version;
}

async function register(
  cycleId: string,
  parent: number | null,
  change: Partial<Lineage>,
  metrics: object = {},
): Promise<number> {
  const { config, configHash } = await readCycle(database.db, cycleId);
  const { version } = await createVersion(database.db, {
    ...{
      line,
      cycleId,
      parent,
      modelSha256: 'a'.repeat(64),
      checkpointSha256: 'b'.repeat(64),
      metrics: { ...metrics },
    },
    ...{ features: config.features, trainingCutoffMs: START, effectKey: `${cycleId}/register` },
    lineage: {
      ...{ parent, strategy: 'incremental', snapshotId: 's', trainerManifestSha256: 't', config, configHash },
      ...{ features: config.features, codeVersion: 'test', seed: 1, threads: 1, environment: {} },
      ...{ cycleId, workflowId: cycleId, runId: cycleId, ...change },
    },
  });
  return version;
}

async function closed(cycleId: string, phases: string[] = []): Promise<void> {
  const startedAt = new Date().toISOString();
  await recordPhases(database.db, { cycleId, phases: phases.map((phase) => ({ phase, startedAt, endedAt: null })) });
  await closeCycle(database.db, { cycleId, outcome: 'rejected', reasons: [] });
}

async function checked(cycleId: string, eventNowMs: number, status: string, check = 'drift.features'): Promise<string> {
  const snapshotId = `snapshot-of-${cycleId}`;
  const manifest = { eventNowMs, windowStartMs: eventNowMs - HOUR, splitMs: eventNowMs, cutoffMs: eventNowMs };
  await saveSnapshot(database.db, { snapshotId, line, cycleId, manifest });
  const results = [
    { check: 'volume', status: 'pass', message: 'enough' },
    { check, status, message: 'moved by 0.4' },
  ];
  await saveReport(database.db, { snapshotId, report: { verdict: 'pass', results } });
  return snapshotId;
}

/** Time passes: what began, began so long ago. */
async function startedAgo(ms: number): Promise<void> {
  await database.db.query(
    `update cycles set started_at = clock_timestamp() - make_interval(secs => $2 / 1000.0) where line = $1`,
    [line, ms],
  );
}

function strategies(...cycles: { decision: TrainingDecision }[]): (string | undefined)[][] {
  return cycles.map(({ decision }) => [decision.strategy, decision.reasons[0]?.code]);
}
