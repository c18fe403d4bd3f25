import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeCycleRequest } from '../../store/cycle-requests.ts';
import { closeCycle } from '../../store/cycles.ts';
import { databaseNow } from '../../store/database.ts';
import { readClocks, setEventClock } from '../../store/event-clock.ts';
import { newestSnapshot, readTriggerState, recordFiring, stableSince, type Firing } from '../../store/triggers.ts';
import { currentRoute, operatorRollback, routeHistory } from '../../store/routes.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alert, canary, claim, LINE, lineWithStable, move, moved, register } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await lineWithStable(test.db);
});
afterEach(() => test.drop());

async function fire(effectKey: string, decidedAtMs?: number): Promise<Firing> {
  const now = decidedAtMs ?? (await databaseNow(test.db)).getTime() + 1;
  return recordFiring(test.db, {
    ...{ line: LINE, triggers: ['drift', 'newExamples'], why: 'it drifts', decidedAtMs: now, effectKey },
  });
}

describe('a trigger that asks for a cycle', () => {
  it('leaves the reason for the cycle, and every trigger that was met has asked', async () => {
    const { db } = test;
    expect((await fire('a')).kind).toBe('asked');
    expect(await takeCycleRequest(db, { line: LINE, freshMs: 60_000 })).toEqual({
      ...{ trigger: 'drift', who: 'watchTriggers', why: 'it drifts' },
    });
    const { firings } = await readTriggerState(db, LINE);
    expect(Object.keys(firings).sort()).toEqual(['drift', 'newExamples']);
  });

  it('asks once a key, and once of several looks that saw the same', async () => {
    const decidedAtMs = (await databaseNow(test.db)).getTime() + 1;
    const [first, second] = await Promise.all([fire('a', decidedAtMs), fire('b', decidedAtMs)]);
    expect([first.kind, second.kind].sort()).toEqual(['asked', 'overtaken']);
    const asked = first.kind === 'asked' ? { key: 'a', answer: first } : { key: 'b', answer: second };
    expect(await fire(asked.key)).toEqual(asked.answer);
    const { rows } = await test.db.query('select from trigger_firings');
    expect(rows).toHaveLength(2);
  });

  it('does not ask when a cycle is running, or began and ended since the decision', async () => {
    const { db } = test;
    const decidedAtMs = (await databaseNow(db)).getTime();
    await claim(db, 'other');
    expect(await fire('a')).toEqual({ kind: 'overtaken', why: 'cycle other is running' });
    await closeCycle(db, { cycleId: 'other', outcome: 'aborted', reasons: [] });
    expect(await fire('b', decidedAtMs)).toEqual({ kind: 'overtaken', why: 'a cycle began meanwhile' });
    expect(await takeCycleRequest(db, { line: LINE, freshMs: 60_000 })).toBeNull();
  });
});

describe('what triggers look at', () => {
  it('is the newest snapshot, whatever became of its cycle', async () => {
    const { db } = test;
    expect(await newestSnapshot(db, LINE)).toBeNull();
    for (const cutoffMs of [1_000, 2_000]) {
      const snapshotId = String(cutoffMs).padStart(64, '0');
      await saveSnapshot(db, {
        snapshotId,
        line: LINE,
        cycleId: 'cold',
        manifest: { cutoffMs, eventNowMs: 3_000, maturityMs: 10 },
      });
    }
    expect(await newestSnapshot(db, LINE)).toEqual({ cutoffMs: 2_000, takenAtMs: 3_000, maturityMs: 10 });
  });

  it('is the stable version since it last became it, whatever was tried beside it', async () => {
    const { db } = test;
    const since = await stableSince(db, LINE);
    expect(since.version).toBe(1);
    const { epoch } = await currentRoute(db, LINE);
    await claim(db, 'c2');
    const { version } = await register(db, 'c2', 1);
    moved(await move(db, { cycleId: 'c2', next: canary(1, version), expectedEpoch: epoch }));
    expect(await stableSince(db, LINE)).toEqual(since);
    const back = { line: LINE, who: 'ann', why: 'test', alert: alert('back') };
    await operatorRollback(db, { ...back, toVersion: 0, alert: alert('0') });
    await operatorRollback(db, { ...back, toVersion: 1, alert: alert('1') });
    const [newest] = await routeHistory(db, { line: LINE, limit: 1 });
    expect(await stableSince(db, LINE)).toEqual({ version: 1, at: newest?.at });
  });

  it('has both clocks: the same where nothing drives the event time', async () => {
    const { db } = test;
    const wall = await readClocks(db, LINE);
    expect(wall).toMatchObject({ rate: 1, eventMs: wall.operatingMs });
    await setEventClock(db, { line: LINE, eventMs: 5_000, operatingMs: wall.operatingMs - 1_000, rate: 24 });
    const { eventMs, operatingMs, rate } = await readClocks(db, LINE);
    expect(rate).toBe(24);
    expect(eventMs).toBeCloseTo(5_000 + (operatingMs - Math.round(wall.operatingMs - 1_000)) * 24, -1);
  });
});
