import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { applySchedule, applyTriggerSchedule, deleteSchedules, pauseSchedule } from '../../activities/schedule.ts';
import { scheduleId, taskQueue, triggerScheduleId, TRIGGERS_WORKFLOW } from '../../config/names.ts';
import { listCycles, openCycle } from '../../store/cycles.ts';
import { writeHealthSums, type HealthSumRow } from '../../store/health-sums.ts';
import { NO_TRAFFIC } from '../../policy/health.ts';
import { stableSince } from '../../store/triggers.ts';
import { searchAttributes } from '../../workflows/messages.ts';
import type { watchTriggers, WatchResult } from '../../workflows/watch-triggers.ts';
import { createInstallation, type TestInstallation } from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

const HOUR_MS = 3_600_000;
const PATIENCE = { timeout: 120_000, interval: 100 };
const CONFIG = {
  schedule: { every: '1h' },
  triggers: { window: '1s', minImpressions: 30, performance: { reference: '1s' } },
  // Skipped at the check: these tests are about starting.
  snapshot: { minRows: 10_000_000 },
} as const;

describe('a look at the triggers', { timeout: 180_000 }, () => {
  let freshet: TestInstallation;

  beforeAll(async () => {
    freshet = await createInstallation();
    await freshet.coldStart();
    const config = await freshet.configure(CONFIG);
    const { client, queuePrefix } = freshet;
    await applySchedule(client, config, { queuePrefix, firstAtMs: Date.now() + HOUR_MS });
    // A busy machine's gateway may load the version only after its "first hours" of a second.
    const { at } = await stableSince(freshet.db, freshet.line);
    await addImpressions(100, { bucketAtMs: at.getTime() + 100 });
  });
  afterAll(async () => {
    await deleteSchedules(freshet.client, freshet.line);
    await freshet.close();
  });

  it('starts nothing without a reason, and says what it compared', async () => {
    const result = await vi.waitFor(async () => {
      const seen = await look();
      expect(seen).toMatchObject({ kind: 'wait', held: null });
      // Both are known once the version has served for as long as they look back.
      expect(messages(seen).performance).toContain('log loss over entropy');
      return seen;
    }, PATIENCE);
    expect(messages(result).drift).toMatch(/version 1: mean score 0\.\d+ against 0\.\d+ in its evaluation/);
    expect(messages(result).newExamples).toMatch(/^[\d,]+ new labelled examples \(10,000 start a cycle\)/);
    expect(await listCycles(freshet.db, { line: freshet.line })).toHaveLength(1);
  });

  it('starts nothing while the schedule is paused', async () => {
    await addImpressions(10_000);
    await startsLieBack();
    await pauseSchedule(freshet.client, { line: freshet.line, note: 'ann: a sale is on' });

    const result = await look();

    await freshet.client.schedule.getHandle(scheduleId(freshet.line)).unpause();
    expect(result).toMatchObject({ kind: 'wait', held: { code: 'schedule.paused' } });
    expect(messages(result).newExamples).toMatch(/^1\d,\d{3} new/);
    expect(await listCycles(freshet.db, { line: freshet.line })).toHaveLength(1);
  });

  it('starts exactly one cycle on 10,000 new labelled examples, whoever looks how often', async () => {
    const { client, db, line, queuePrefix } = freshet;
    const config = await freshet.configure({ ...CONFIG, triggers: { ...CONFIG.triggers, every: '1s' } });
    expect(await applyTriggerSchedule(client, config, { queuePrefix })).toBe('created');
    await Promise.all([look(), look(), look()]);
    const cycle = await endedCycle(2);

    expect(cycle.trigger).toMatch(
      /^newExamples: 1\d,\d{3} new labelled examples \(10,000 start a cycle\) \(watchTriggers\)$/,
    );
    const run = client.workflow.getHandle(cycle.workflowId, cycle.runId);
    expect((await run.describe()).typedSearchAttributes.get(searchAttributes.trigger)).toBe('newExamples');
    await replay(run);

    // As many again, and the start long ago: the interval since it asked has still to pass.
    await addImpressions(10_000);
    await startsLieBack();
    const looks = await looksBySchedule();
    await vi.waitFor(async () => {
      expect((await looksBySchedule()).length).toBeGreaterThan(looks.length + 1);
    }, PATIENCE);
    const again = await look();
    expect(messages(again).newExamples).toMatch(/it asked .* ago/);
    expect(await listCycles(db, { line })).toHaveLength(2);

    const off = await freshet.configure({ ...CONFIG, triggers: { ...CONFIG.triggers, watch: [] } });
    expect(await applyTriggerSchedule(client, off, { queuePrefix })).toBe('deleted');
    expect(await applyTriggerSchedule(client, off, { queuePrefix })).toBe('deleted');
    for (const handle of await looksBySchedule()) await replay(handle);
  });

  it('starts a cycle when the scores of the stable version drift from its evaluation', async () => {
    await freshet.configure(CONFIG);
    const result = await vi.waitFor(async () => {
      await addImpressions(50_000, { scoreSum: 49_000, bucketAtMs: Date.now() - 800 });
      const seen = await look();
      expect(seen.kind).toBe('start');
      return seen;
    }, PATIENCE);
    expect(result).toMatchObject({ triggers: ['drift'] });
    expect((await endedCycle(3)).trigger).toMatch(/^drift: version 1: mean score 0\.\d+ against/);
  });

  async function look(): Promise<WatchResult> {
    const handle = await freshet.client.workflow.start<typeof watchTriggers>(TRIGGERS_WORKFLOW, {
      workflowId: `look-${freshet.line}-${randomBytes(4).toString('hex')}`,
      taskQueue: taskQueue('rollout', freshet.queuePrefix),
      args: [{ line: freshet.line }],
    });
    const result = await handle.result();
    await replay(handle);
    return result;
  }

  /** The completed looks that the trigger schedule started. */
  async function looksBySchedule() {
    const { client, line } = freshet;
    const query = `WorkflowId STARTS_WITH "${triggerScheduleId(line)}" and ExecutionStatus = "Completed"`;
    const handles = [];
    for await (const { workflowId, runId } of client.workflow.list({ query }))
      handles.push(client.workflow.getHandle(workflowId, runId));
    return handles;
  }

  async function endedCycle(count: number) {
    return vi.waitFor(async () => {
      const cycles = await listCycles(freshet.db, { line: freshet.line });
      expect(cycles).toHaveLength(count);
      expect(await openCycle(freshet.db, freshet.line)).toBeNull();
      const [newest] = cycles;
      if (newest === undefined) throw new Error('there is no cycle');
      return newest;
    }, PATIENCE);
  }

  /** Labelled impressions of the stable version, as a gateway sums them. */
  async function addImpressions(impressions: number, change: Partial<HealthSumRow> = {}): Promise<void> {
    const row: HealthSumRow = {
      ...NO_TRAFFIC,
      ...{ line: freshet.line, processId: 'another', boot: randomBytes(4).toString('hex'), version: 1, epoch: 2 },
      ...{ arm: 'stable', bucketAtMs: Date.now() - 500, impressions, clicks: impressions / 2 },
      ...{ scoreSum: impressions / 2, logLossSum: impressions * 0.4, logLossSquareSum: impressions },
      ...{ latencyBuckets: [], scoreDifferenceSum: 0, stableLatencyMsSum: 0, dropped: 0 },
    };
    await writeHealthSums(freshet.db, [{ ...row, ...change }]);
  }

  /** Time passes: what began, began two intervals ago. */
  async function startsLieBack(): Promise<void> {
    await freshet.db.query(`update cycles set started_at = clock_timestamp() - interval '2 hours'`);
  }
});

function messages(result: WatchResult): Record<string, string> {
  if (!('findings' in result)) throw new Error(`expected findings, got ${JSON.stringify(result)}`);
  return Object.fromEntries(result.findings.map(({ trigger, reason }) => [trigger, reason.message]));
}
