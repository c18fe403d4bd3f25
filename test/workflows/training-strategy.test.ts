import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { snapshotManifest } from '../../activities/snapshot-files.ts';
import { CYCLE_WORKFLOW, taskQueue } from '../../config/names.ts';
import type { LineConfigInput } from '../../config/schema.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import { requestCycle } from '../../store/cycle-requests.ts';
import { readCycle } from '../../store/cycles.ts';
import { currentRoute } from '../../store/routes.ts';
import type { VersionRecord } from '../../store/types.ts';
import { readVersion } from '../../store/versions.ts';
import type { CycleResult } from '../../workflows/messages.ts';
import type { trainingCycle } from '../../workflows/training-cycle.ts';
import { createInstallation, servesAlone, type TestInstallation } from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';

/** Rejected by its gate: registered, and never routed. */
const REJECTED: Partial<LineConfigInput> = { gate: { thresholds: [{ metric: 'auc', min: 0.99 }] } };
/** A whole cycle would take hours: what ends soon took the shorter way. */
const ONLINE: Partial<LineConfigInput> = {
  schedule: { every: '12h' },
  training: { online: { every: '2h', shadow: '1s', window: '2s' } },
  shadow: { duration: '1h' },
  canary: { window: '1h' },
};

describe('how a line trains', () => {
  let freshet: TestInstallation;

  beforeAll(async () => {
    freshet = await createInstallation();
    expect(await freshet.coldStart()).toMatchObject({ outcome: 'promoted', version: 1 });
  });
  afterAll(() => freshet.close());

  it('trains the first version in full, on its window alone', async () => {
    const { lineage, manifest } = await trained(1);

    expect(lineage).toMatchObject({ strategy: 'full', training: { strategy: 'full', repair: null } });
    expect(lineage.training?.reasons[0]?.code).toBe('training.coldStart');
    expect(lineage.trainedInFullAtMs).toBe(manifest.eventNowMs);
    expect(manifest.replay).toBe('sample');
  });

  it('trains on from it, and records why', async () => {
    const result = await freshet.runCycle(REJECTED);

    expect(result.notes.join()).toMatch(
      /training incremental: incremental from version 1, which goes back to a training/,
    );
    const { lineage, manifest } = await trained(result.version);
    expect(lineage).toMatchObject({ strategy: 'incremental', training: { strategy: 'incremental' } });
    expect(lineage.trainedInFullAtMs).toBe((await trained(1)).manifest.eventNowMs);
    expect(manifest.replay).toBe('sample');
  });

  it('trains in full on a drift trigger, on all of history', async () => {
    const { db, line } = freshet;
    await requestCycle(db, { line, request: { trigger: 'drift', who: 'watchTriggers', why: 'scores moved' } });

    const result = await freshet.runCycle(REJECTED);

    expect(result.notes.join()).toContain('training full: the drift trigger started this cycle');
    const { parent, lineage, manifest } = await trained(result.version);
    expect(parent).toBe(1);
    expect(lineage).toMatchObject({ strategy: 'full', trainedInFullAtMs: manifest.eventNowMs });
    expect(manifest.replay).toBe('all');
    const first = await trained(1);
    // All that the first version was trained on, and its holdout is fresh now.
    expect(manifest.counts.replay).toBeGreaterThanOrEqual(first.manifest.counts.train);
    expect(manifest.windowStartMs).toBe(first.trainingCutoffMs);
  });

  it('updates the model online between two whole cycles, by a shorter shadow and canary', async () => {
    await freshet.configure(ONLINE);

    const result = await runBySchedule();

    expect(result, JSON.stringify(result.reasons)).toMatchObject({ outcome: 'promoted' });
    expect(result.phases.map(({ phase }) => phase)).toEqual(expect.arrayContaining(['shadow', 'canary', 'promote']));
    expect(result.notes.join()).toMatch(/training online: an online update of version 1/);
    const { parent, lineage, manifest } = await trained(result.version);
    expect(parent).toBe(1);
    expect(lineage).toMatchObject({ strategy: 'online', training: { strategy: 'online' } });
    expect(lineage.trainedInFullAtMs).toBe((await trained(1)).manifest.eventNowMs);
    expect(manifest.replay).toBe('sample');
    await servesAlone(freshet, result.version ?? -1);
  });

  it('re-anchors when it is due, from the newest version that was trained whole', async () => {
    const { stable: online } = await currentRoute(freshet.db, freshet.line);

    const result = await freshet.runCycle({
      ...REJECTED,
      training: { reanchorEvery: '1s' },
      snapshot: { season: '1s' },
    });

    expect(result.notes.join()).toMatch(/training full: version 1 goes back to a training in full/);
    expect(result.notes.join()).toMatch(/the parent is version 1, the newest that was trained whole/);
    const { parent, lineage, manifest } = await trained(result.version);
    expect(parent).toBe(1);
    expect(lineage.strategy).toBe('full');
    expect(await readCycle(freshet.db, result.cycleId)).toMatchObject({ stableAtStart: online, parent: 1 });
    // What the champion was trained on is not held out.
    expect(manifest.splitMs).toBeGreaterThanOrEqual((await trained(online)).trainingCutoffMs ?? Infinity);
  });

  async function runBySchedule(): Promise<CycleResult> {
    const { client, line, queuePrefix } = freshet;
    const handle = await client.workflow.start<typeof trainingCycle>(CYCLE_WORKFLOW, {
      workflowId: `freshet-${line}-${randomBytes(4).toString('hex')}`,
      taskQueue: taskQueue('rollout', queuePrefix),
      args: [{ line, trigger: 'schedule' }],
    });
    const result = await handle.result();
    await replay(handle);
    return result;
  }

  async function trained(version: number | null): Promise<VersionRecord & { manifest: SnapshotManifest }> {
    const { db, line } = freshet;
    const record = await readVersion(db, { line, version: version ?? -1 });
    return { ...record, manifest: await snapshotManifest(db, record.lineage.snapshotId ?? '') };
  }
});
