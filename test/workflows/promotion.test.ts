import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listCycles } from '../../store/cycles.ts';
import { currentRoute, routeHistory } from '../../store/routes.ts';
import { listVersions, readVersion } from '../../store/versions.ts';
import { createInstallation, type TestInstallation } from '../rig/installation.ts';

let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation();
});

afterAll(async () => {
  await freshet.close();
});

describe('a cycle that goes well', () => {
  it('trains the first version from scratch and makes it stable without a canary', async () => {
    const result = await freshet.coldStart();

    expect(result).toMatchObject({ outcome: 'promoted', version: 1 });
    expect(result.phases.map(({ phase }) => phase)).toEqual([
      ...['begin', 'snapshot', 'check', 'train', 'parity', 'evaluate', 'gate', 'register', 'promote'],
    ]);
    expect(await currentRoute(freshet.db, freshet.line)).toMatchObject({ stable: 1, canary: null, epoch: 2 });
    expect(await readVersion(freshet.db, { line: freshet.line, version: 1 })).toMatchObject({
      status: 'stable',
      parent: null,
    });
  });

  it('shadows, ramps, monitors, promotes and watches the next one', async () => {
    // Long enough for the holdback's fifth of the traffic to be judged on a machine that is slow just then.
    const result = await freshet.runCycle({ watch: { window: '3s' } });

    expect(result, JSON.stringify(result.reasons)).toMatchObject({ outcome: 'promoted', version: 2, rollback: null });
    // The fixture trainer hands in the champion's own model.
    expect(result.notes.join()).toMatch(/no score differs.*learningRate is most likely too small/);
    const routes = await routeHistory(freshet.db, { line: freshet.line });
    expect(
      routes.map(({ stable, canary, canaryShare, holdback, holdbackVersion, shadow }) => [
        stable,
        canary,
        canaryShare,
        holdback,
        holdbackVersion,
        shadow,
      ]),
    ).toEqual([
      [2, null, 0, 0, null, null],
      [2, null, 0, 0.2, 1, null],
      [1, 2, 0.8, 0.2, null, null],
      [1, 2, 0.5, 0.2, null, null],
      [1, null, 0, 0, null, 2],
      [1, null, 0, 0, null, null],
      [0, null, 0, 0, null, null],
    ]);
    expect(result.phases.map(({ phase }) => phase).slice(-4)).toEqual(['shadow', 'canary', 'promote', 'watch']);
    expect(result.reasons.slice(0, 2).map(({ code }) => code)).toEqual(['promoted', 'watch.passed']);
    expect(freshet.traffic.stats.byArm['holdback']).toBeGreaterThan(20);
    expect(freshet.traffic.stats.byArm['canary']).toBeGreaterThan(20);
    expect(freshet.traffic.stats.failed).toBe(0);
  });

  it('records the whole lineage, and the phases with the cycle', async () => {
    const [newest] = await listVersions(freshet.db, freshet.line);
    const [cycle] = await listCycles(freshet.db, { line: freshet.line });

    expect(newest?.parent).toBe(1);
    expect(newest?.lineage).toMatchObject({
      parent: 1,
      strategy: 'incremental',
      seed: 1,
      threads: 1,
      environment: { trainer: 'fixture' },
      cycleId: cycle?.cycleId,
      workflowId: cycle?.workflowId,
      runId: cycle?.runId,
    });
    expect(newest?.lineage.snapshotId).toMatch(/^[0-9a-f]{64}$/);
    expect(newest?.lineage.trainerManifestSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(newest?.lineage.predictionsSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(newest?.lineage.resultSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(newest?.lineage.codeVersion).toMatch(/^0\./);
    expect(newest?.trainingCutoffMs).toBeGreaterThan(0);
    expect(cycle?.phases.at(-1)?.phase).toBe('watch');
    expect(cycle?.outcome).toBe('promoted');
  });
});
