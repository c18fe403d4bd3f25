import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { pendingAlerts } from '../../store/outbox.ts';
import { lineDescent, windowsToLeaveOut } from '../../store/parents.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { findSnapshot, saveSnapshot } from '../../store/snapshots.ts';
import { listTaints, removeTaint, taintedWindows, taintSnapshot } from '../../store/taints.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alert, canary, claim, LINE, lineWithStable, move, moved, promoteCandidate, register } from './stage.ts';

const who = 'ann';
const reason = 'half loaded';
let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

/** Version 1 from nothing known, version 2 on (10, 20] with holdout to 22, version 3 (stable) on (20, 30] with holdout to 32. */
async function threeVersions(db: Database): Promise<{ s2: string; s3: string }> {
  await lineWithStable(db);
  const s2 = await nextVersion(db, { cycleId: 'c2', parent: 1, fromMs: 10 });
  const s3 = await nextVersion(db, { cycleId: 'c3', parent: 2, fromMs: 20 });
  return { s2, s3 };
}

async function nextVersion(
  db: Database,
  { cycleId, parent, fromMs }: { cycleId: string; parent: number; fromMs: number },
): Promise<string> {
  const { epoch } = await claimAndSnapshot(db, cycleId, fromMs);
  const { version } = await register(db, cycleId, parent, { snapshotId: idOf(cycleId) });
  const route = moved(await move(db, { cycleId, next: canary(parent, version), expectedEpoch: epoch }));
  moved(await promoteCandidate(db, { cycleId, version, expectedEpoch: route.epoch }));
  return idOf(cycleId);
}

async function claimAndSnapshot(db: Database, cycleId: string, fromMs: number): Promise<{ epoch: number }> {
  await claim(db, cycleId);
  await saveSnapshot(db, {
    ...{ snapshotId: idOf(cycleId), line: LINE, cycleId },
    manifest: { windowStartMs: fromMs, splitMs: fromMs + 10, cutoffMs: fromMs + 12 },
  });
  const { rows } = await db.query<{ epoch: number }>('select epoch from route_heads');
  return { epoch: rows[0]?.epoch ?? 0 };
}

/** 64 hexadecimal digits that begin with those of the cycle's number. */
function idOf(cycleId: string): string {
  return `${cycleId.replace(/\D/g, '').padStart(2, '0')}abcdef`.padEnd(64, '0');
}

describe('a taint', () => {
  it('names who has the data, bars them as parents from the next claim on, and tells people when it serves', async () => {
    const { db } = test;
    const { s2 } = await threeVersions(db);

    const { new: isNew, impact } = await taintSnapshot(db, { snapshotId: s2, who, reason });

    expect(isNew).toBe(true);
    expect(impact).toMatchObject({ stable: 3, cleanStable: 1, runningCycle: null, next: { parent: 1 } });
    expect(impact.contaminated.map(({ version, how, status }) => [version, how, status])).toEqual([
      [2, 'trainedOn', 'archived'],
      [3, 'descends', 'stable'],
    ]);
    const alerts = (await pendingAlerts(db)).map((pending) => pending.alert.text);
    expect(alerts.filter((text) => text.includes('freshet rollback news-feed --to 1'))).toHaveLength(1);
    const next = await claim(db, 'c4');
    expect(next).toMatchObject({ stableAtStart: 3, parent: 1 });
    expect(next.parentReason).toMatch(/version 3, descends from version 2 .* half loaded; .* version 1/);
  });

  it('of the stable alone leaves its own parent, and of nothing that serves tells nobody', async () => {
    const { db } = test;
    const { s3 } = await threeVersions(db);
    expect((await taintSnapshot(db, { snapshotId: s3, who, reason })).impact.next.parent).toBe(2);
    await operatorRollback(db, { line: LINE, who, why: 'bad', alert: alert('back') });
    const before = (await pendingAlerts(db)).length;
    await removeTaint(db, { snapshotId: s3, who, reason: 'test' });
    const { impact } = await taintSnapshot(db, { snapshotId: s3, who, reason });
    expect(impact).toMatchObject({ stable: 2, next: { parent: 2, reason: null } });
    expect(await pendingAlerts(db)).toHaveLength(before);
  });

  it('is made once, ends with who and why on record, and can be made again', async () => {
    const { db } = test;
    const { s2 } = await threeVersions(db);
    await taintSnapshot(db, { snapshotId: s2, who, reason });
    expect(await taintSnapshot(db, { snapshotId: s2, who: 'bob', reason: 'me too' })).toMatchObject({
      new: false,
      taint: { who, reason },
    });
    const { impact } = await removeTaint(db, { snapshotId: s2, who: 'bob', reason: 'the dashboard was wrong' });
    expect(impact).toMatchObject({ contaminated: [], next: { parent: 3, reason: null } });
    await expect(removeTaint(db, { snapshotId: s2, who, reason })).rejects.toThrow('is not tainted');
    expect(await listTaints(db)).toEqual([]);
    expect(await listTaints(db, { removed: true })).toMatchObject([
      { snapshotId: s2, who, removedBy: 'bob', removedReason: 'the dashboard was wrong' },
    ]);
    expect((await taintSnapshot(db, { snapshotId: s2, who, reason })).new).toBe(true);
  });

  it('names the running cycle that trains with the data, and not one that has no snapshot yet', async () => {
    const { db } = test;
    const { s2 } = await threeVersions(db);
    await operatorRollback(db, { line: LINE, toVersion: 1, who, why: 'bad', alert: alert('back') });
    await claim(db, 'c4');
    expect((await taintSnapshot(db, { snapshotId: s2, who, reason })).impact.runningCycle).toBeNull();
    await removeTaint(db, { snapshotId: s2, who, reason });
    await closeCycle(db, { cycleId: 'c4', outcome: 'aborted', reasons: [] });
    await claimAndSnapshot(db, 'c5', 12);
    const { impact, taint } = await taintSnapshot(db, { snapshotId: s2, who, reason });
    expect(impact.runningCycle).toBe('c5');
    const told = (await pendingAlerts(db)).find(({ alert: { dedupKey } }) => dedupKey.endsWith(String(taint.id)));
    expect(told?.alert.text).toContain('freshet abort news-feed');
  });
});

describe('the rows of a tainted snapshot', () => {
  it('are all its fresh ones, the holdout too, as long as the taint is in force', async () => {
    const { db } = test;
    const { s2, s3 } = await threeVersions(db);
    await taintSnapshot(db, { snapshotId: s3, who, reason: 'doubled' });
    await taintSnapshot(db, { snapshotId: s2, who, reason });
    expect(await taintedWindows(db, LINE)).toEqual([
      { snapshotId: s2, reason, fromMs: 10, toMs: 22 },
      { snapshotId: s3, reason: 'doubled', fromMs: 20, toMs: 32 },
    ]);
    await removeTaint(db, { snapshotId: s3, who, reason });
    expect(await taintedWindows(db, LINE)).toHaveLength(1);
    expect(await taintedWindows(db, 'other')).toEqual([]);
  });

  it('are left out the same on a retry, and a version that left them out is clean', async () => {
    const { db } = test;
    const { s2 } = await threeVersions(db);
    await operatorRollback(db, { line: LINE, toVersion: 1, who, why: 'bad', alert: alert('back') });
    await taintSnapshot(db, { snapshotId: s2, who, reason });
    const first = await windowsToLeaveOut(db, { line: LINE, cycleId: 'c4' });
    expect(first.map(({ snapshotId }) => snapshotId)).toEqual([s2]);
    await nextVersion(db, { cycleId: 'c4', parent: 1, fromMs: 12 });
    expect((await lineDescent(db, LINE)).contaminated.has(4)).toBe(false);
    await removeTaint(db, { snapshotId: s2, who, reason });
    expect(await windowsToLeaveOut(db, { line: LINE, cycleId: 'c4' })).toEqual(first);

    await taintSnapshot(db, { snapshotId: s2, who, reason });
    await nextVersion(db, { cycleId: 'c5', parent: 4, fromMs: 15 });
    expect((await lineDescent(db, LINE)).contaminated.get(5)?.how).toBe('sameRows');
  });
});

describe('a snapshot is named', () => {
  it('by its id or the beginning of it, if that is one alone', async () => {
    const { db } = test;
    const { s2 } = await threeVersions(db);
    expect(await findSnapshot(db, s2)).toBe(s2);
    expect(await findSnapshot(db, s2.slice(0, 8).toUpperCase())).toBe(s2);
    await claim(db, 'c4');
    await saveSnapshot(db, { snapshotId: `${s2.slice(0, 63)}1`, line: LINE, cycleId: 'c4', manifest: {} });
    await expect(findSnapshot(db, s2.slice(0, 8))).rejects.toThrow(/several snapshots begin .* write more digits/);
    await expect(findSnapshot(db, 'ffffffff')).rejects.toThrow(/no snapshot "ffffffff": each version's lineage/);
    await expect(findSnapshot(db, '02ab')).rejects.toThrow('first 8 or more');
    await expect(findSnapshot(db, "02abcdef' or true")).rejects.toThrow('is no snapshot id');
  });
});
