import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { LineConfigInput } from '../../config/schema.ts';
import { readCycle } from '../../store/cycles.ts';
import { lineDescent } from '../../store/parents.ts';
import { readVersion } from '../../store/versions.ts';
import { snapshotManifest } from '../../activities/snapshot-files.ts';
import { runFreshet } from '../rig/freshet.ts';
import { createInstallation, servesAlone, type TestInstallation } from '../rig/installation.ts';
import type { CycleResult } from '../../workflows/messages.ts';

/** Rejected by its gate: registered, and never routed. */
const REJECTED: Partial<LineConfigInput> = { gate: { thresholds: [{ metric: 'auc', min: 0.99 }] } };
const QUICK: Partial<LineConfigInput> = { shadow: { duration: '1s' }, canary: { window: '2s' } };
let freshet: TestInstallation;

beforeAll(async () => {
  freshet = await createInstallation();
  expect(await freshet.coldStart()).toMatchObject({ outcome: 'promoted', version: 1 });
  expect(await freshet.runCycle(QUICK)).toMatchObject({ outcome: 'promoted', version: 2 });
});
afterAll(() => freshet.close());
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', freshet.env.DATABASE_URL);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test('a tainted parent is skipped: the next cycle trains from the clean ancestor and compares with the champion', async () => {
  const { line } = freshet;
  const id = await snapshotOf(2);
  const tainted = await runFreshet('taint', id.slice(0, 8), '--reason', 'half loaded', '--who', 'ann');
  expect(tainted.code).toBe(0);
  expect(tainted.out).toMatch(/2 +stable +was trained on snapshot [0-9a-f]{12}, which is tainted: half loaded/);
  expect(tainted.out).toContain(`VERSION 2 SERVES. To put back version 1`);
  expect(tainted.out).toContain(`freshet rollback ${line} --to 1 --reason`);

  const result = await freshet.runCycle(REJECTED);

  expect(result).toMatchObject({ outcome: 'rejected', version: 3 });
  expect(result.notes.join()).toMatch(/champion, version 2, was trained on .*half loaded; .*from version 1/);
  const [parent, version] = [await versionOf(1), await versionOf(3)];
  expect(version).toMatchObject({ parent: 1, lineage: { parent: 1, strategy: 'incremental' } });
  expect(championOf(version.metrics)).toBe(2);
  const { windowStartMs, counts } = await snapshotManifest(freshet.db, await snapshotOf(3));
  expect(windowStartMs).toBe(parent.trainingCutoffMs);
  // The bad rows lie in its window, and were left out: it is clean.
  expect(counts.tainted).toBeGreaterThan(0);
  const { contaminated } = await lineDescent(freshet.db, line);
  expect([...contaminated.keys()]).toEqual([2]);
  expect(await cycleOf(result)).toMatchObject({ stableAtStart: 2, parent: 1 });
  await servesAlone(freshet, 2);
});

test('without a clean ancestor the next cycle starts from scratch, and still compares with the champion', async () => {
  await runFreshet('taint', await snapshotOf(1), '--reason', 'clock jumped');
  const listed = await runFreshet('taint', 'list', freshet.line);
  expect(listed.out).toContain('half loaded');
  expect(listed.out).toMatch(/2 +stable +was trained on/);
  expect(listed.out).toContain('No clean version served before');

  const result = await freshet.runCycle(REJECTED);

  expect(result.notes.join()).toContain('from scratch');
  const version = await versionOf(result.version ?? -1);
  expect(version).toMatchObject({ parent: null, lineage: { parent: null, strategy: 'full' } });
  expect(championOf(version.metrics)).toBe(2);
});

test('a taint that is removed is kept on record, and the champion is the parent again', async () => {
  for (const version of [1, 2]) {
    const removed = await runFreshet('taint', 'remove', await snapshotOf(version), '--reason', 'a wrong alarm');
    expect(removed.code).toBe(0);
  }
  expect((await runFreshet('taint', 'list')).out).toBe('no snapshot is tainted');
  expect((await runFreshet('taint', 'list', '--all')).out).toMatch(/half loaded \(removed .* by .*: a wrong alarm\)/);

  const result = await freshet.runCycle(REJECTED);

  expect(await versionOf(result.version ?? -1)).toMatchObject({ parent: 2 });
});

test.each([
  [['taint', 'ffffffff', '--reason', 'x'], 'no snapshot "ffffffff"'],
  [['taint', 'abc', '--reason', 'x'], 'first 8 or more'],
  [['taint', 'remove', 'ffffffff', '--reason', 'x'], 'no snapshot "ffffffff"'],
  [['taint', 'list', 'nowhere'], 'no model line "nowhere"'],
])('freshet %j is refused with one message and code 1', async (args, message) => {
  const { code, err } = await runFreshet(...args);
  expect(code).toBe(1);
  expect(err).toContain(message);
  expect(err).not.toMatch(/\n\s+at /);
});

function versionOf(version: number) {
  return readVersion(freshet.db, { line: freshet.line, version });
}

async function snapshotOf(version: number): Promise<string> {
  const { lineage } = await versionOf(version);
  return lineage.snapshotId ?? '';
}

function cycleOf({ cycleId }: CycleResult) {
  return readCycle(freshet.db, cycleId);
}

function championOf(metrics: Record<string, unknown>): number | null {
  return z.object({ evaluation: z.object({ champion: z.number().nullable() }) }).parse(metrics).evaluation.champion;
}
