import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeCycle } from '../../store/cycles.ts';
import { readAncestry, readVersionFacts } from '../../store/lineage.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { routeHistory } from '../../store/routes.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import { taintSnapshot } from '../../store/taints.ts';
import { versionHistories, versionHistory } from '../../store/version-history.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import {
  alert,
  alone,
  canary,
  claim,
  LINE,
  lineWithCandidate,
  lineWithStable,
  move,
  moved,
  promoteCandidate,
  register,
  rollback,
  shadow,
} from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

describe('the history of a version', () => {
  it('has each status and each route, from when to when, as what, by whom and why', async () => {
    const { db } = test;
    const { epoch } = await lineWithStable(db);
    await claim(db, 'c');
    await register(db, 'c', 1);
    const first = moved(await move(db, { cycleId: 'c', next: shadow(1, 2), expectedEpoch: epoch, why: 'looking' }));
    const second = moved(
      await move(db, { cycleId: 'c', next: canary(1, 2, 0.25), expectedEpoch: first.epoch, who: 'ramp' }),
    );
    const third = moved(await promoteCandidate(db, { cycleId: 'c', version: 2, expectedEpoch: second.epoch }));
    await operatorRollback(db, { line: LINE, who: 'ann', why: 'bad', alert: alert('op') });
    const fourth = (await routeHistory(db, { line: LINE, limit: 1 }))[0];

    const { statuses, routes } = await versionHistory(db, { line: LINE, version: 2 });

    expect(statuses.map(({ from, to }) => [from, to])).toEqual([
      [null, 'candidate'],
      ['candidate', 'shadow'],
      ['shadow', 'canary'],
      ['canary', 'stable'],
      ['stable', 'rolledBack'],
    ]);
    expect(routes).toEqual([
      {
        epoch: first.epoch,
        role: 'shadow',
        share: 1,
        fromAt: first.at,
        toAt: second.at,
        cycleId: 'c',
        who: 'test',
        why: 'looking',
      },
      {
        epoch: second.epoch,
        role: 'canary',
        share: 0.25,
        fromAt: second.at,
        toAt: third.at,
        cycleId: 'c',
        who: 'ramp',
        why: 'test',
      },
      {
        epoch: third.epoch,
        role: 'stable',
        share: 1,
        fromAt: third.at,
        toAt: fourth?.at,
        cycleId: 'c',
        who: 'test',
        why: 'better',
      },
    ]);
    const stable = (await versionHistory(db, { line: LINE, version: 1 })).routes;
    expect(stable.map(({ role, share, toAt }) => [role, share, toAt === null])).toEqual([
      ['stable', 1, false],
      ['stable', 1, false],
      ['stable', 0.75, false],
      ['stable', 1, true],
    ]);
  });

  it('is empty of what never was, and one query serves many', async () => {
    const { db } = test;
    await lineWithStable(db);
    const histories = await versionHistories(db, { line: LINE, versions: [0, 1, 9] });
    expect(histories.get(9)).toEqual({ statuses: [], routes: [] });
    expect(histories.get(0)?.statuses.map(({ to }) => to)).toEqual(['stable', 'archived']);
    expect(histories.get(1)?.statuses.map(({ to }) => to)).toEqual(['candidate', 'stable']);
  });

  it('is not written by a move that was undone, and not by a status that stays', async () => {
    const { db } = test;
    const { route, candidate } = await lineWithCandidate(db, { cycleId: 'c' });
    const before = await versionHistory(db, { line: LINE, version: candidate });
    moved(await move(db, { cycleId: 'c', next: canary(1, candidate, 0.5), expectedEpoch: route.epoch }));
    expect(
      await move(db, { cycleId: 'c', next: alone(1), expectedEpoch: route.epoch, effectKey: 'late' }),
    ).toMatchObject({ kind: 'epochMoved' });
    const after = await versionHistory(db, { line: LINE, version: candidate });
    expect(after.statuses).toEqual(before.statuses);
    expect(after.routes).toHaveLength(before.routes.length + 1);
  });
});

describe('the facts of versions', () => {
  it('are its parents down to the cold start, with window, cycle and taint', async () => {
    const { db } = test;
    await lineWithStable(db);
    for (const [cycleId, parent, snapshotId] of [
      ['c2', 1, 'b'.repeat(64)],
      ['c3', 1, 'c'.repeat(64)],
      ['c4', 2, 'd'.repeat(64)],
    ] as const) {
      await claim(db, cycleId);
      const manifest = { windowStartMs: parent * 10, splitMs: parent * 10 + 5, cutoffMs: parent * 10 + 7 };
      await saveSnapshot(db, { snapshotId, line: LINE, cycleId, manifest });
      await register(db, cycleId, parent, { snapshotId });
      if (cycleId === 'c4') await rollback(db, cycleId);
      else await closeCycle(db, { cycleId, outcome: 'rejected', reasons: [{ code: 'x', message: 'worse' }] });
    }
    await taintSnapshot(db, { snapshotId: 'b'.repeat(64), who: 'ann', reason: 'half loaded' });

    expect(await readAncestry(db, { line: LINE, version: 4 })).toEqual([4, 2, 1]);
    expect(await readAncestry(db, { line: LINE, version: 0 })).toEqual([0]);
    await expect(readAncestry(db, { line: LINE, version: 9 })).rejects.toThrow('has no version 9');
    const facts = await readVersionFacts(db, { line: LINE, versions: [4, 2, 1, 0, 9] });
    expect(facts.map(({ version }) => version.version)).toEqual([4, 2, 1, 0]);
    expect(facts[0]).toMatchObject({
      version: { status: 'rolledBack' },
      window: { fromMs: 20, splitMs: 25, toMs: 27 },
      cycle: { cycleId: 'c4', trigger: 'test', outcome: 'rolledBack' },
      contamination: { how: 'descends', parent: 2 },
    });
    expect(facts[1]).toMatchObject({
      cycle: { outcome: 'rejected', reasons: [{ message: 'worse' }] },
      contamination: { how: 'trainedOn' },
    });
    expect(facts[2]).toMatchObject({ window: null, contamination: null });
    expect(facts[3]).toMatchObject({ cycle: null, window: null });
  });
});
