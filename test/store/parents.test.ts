import { afterEach, beforeEach, expect, it } from 'vitest';
import { closeCycle } from '../../store/cycles.ts';
import { newestTrainedWhole } from '../../store/training-history.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { currentRoute } from '../../store/routes.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import { taintSnapshot } from '../../store/taints.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import {
  alert,
  canary,
  claim,
  LINE,
  lineWithStable,
  move,
  moved,
  promoteCandidate,
  register,
  rollback,
} from './stage.ts';

/** A version that was rolled back is a parent only when a person says so. */

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await lineWithStable(test.db);
});
afterEach(() => test.drop());

/** A cycle that ends with its candidate as stable, trained from `parent` on a snapshot of its own. */
async function promoted(
  cycleId: string,
  { parent, strategy }: { parent: number; strategy?: 'online' },
): Promise<number> {
  const { db } = test;
  await claim(db, cycleId);
  const snapshotId = snapshotOf(cycleId);
  const manifest = { windowStartMs: 0, splitMs: 0, cutoffMs: 0 };
  await saveSnapshot(db, { snapshotId, line: LINE, cycleId, manifest });
  const { version } = await register(db, cycleId, parent, { snapshotId, ...(strategy && { strategy }) });
  const { epoch, stable } = await currentRoute(db, LINE);
  const route = moved(await move(db, { cycleId, next: canary(stable, version), expectedEpoch: epoch }));
  moved(await promoteCandidate(db, { cycleId, version, expectedEpoch: route.epoch }));
  return version;
}

const snapshotOf = (cycleId: string): string => Buffer.from(cycleId).toString('hex').padEnd(64, '0');

async function rollBackTo(toVersion?: number): Promise<void> {
  const key = `op-${String(Math.random())}`;
  const to = toVersion === undefined ? {} : { toVersion };
  await operatorRollback(test.db, { line: LINE, ...to, who: 'ann', why: 'worse', alert: alert(key) });
}

/** What a cycle that begins now trains from. */
async function nextParent(): Promise<number | null> {
  const { cycleId, parent } = await claim(test.db, `next-${String(Math.random())}`);
  await closeCycle(test.db, { cycleId, outcome: 'aborted', reasons: [] });
  return parent;
}

it('is the stable that a rollback returned to, not the one that was rolled back', async () => {
  await promoted('c2', { parent: 1 });
  await promoted('c3', { parent: 2 });
  await rollBackTo();
  expect(await nextParent()).toBe(2);
  await rollBackTo();
  expect(await nextParent()).toBe(1);
});

it('is the stable after a canary that the monitor rolled back', async () => {
  const { db } = test;
  const { epoch } = await currentRoute(db, LINE);
  await claim(db, 'c2');
  const { version } = await register(db, 'c2', 1);
  moved(await move(db, { cycleId: 'c2', next: canary(1, version), expectedEpoch: epoch }));
  await rollback(db, 'c2');
  expect(await nextParent()).toBe(1);
});

it('is a version that was rolled back once an operator named it', async () => {
  await promoted('c2', { parent: 1 });
  await rollBackTo();
  expect(await nextParent()).toBe(1);
  await rollBackTo(2);
  expect(await nextParent()).toBe(2);
});

it('is none after a rollback to the input order', async () => {
  await promoted('c2', { parent: 1 });
  await rollBackTo(0);
  expect(await nextParent()).toBeNull();
});

it.each([
  ['never a rolled-back ancestor of a tainted stable', false, 1],
  ['an ancestor that an operator named after its rollback', true, 2],
])('is %s', async (_, named, expected) => {
  await promoted('c2', { parent: 1 });
  if (named) {
    await rollBackTo(1);
    await rollBackTo(2);
    await promoted('c3', { parent: 2 });
  } else {
    await promoted('c3', { parent: 2 });
    // Its promotion is undone late: a newer version is stable by then.
    await rollback(test.db, 'c2');
  }
  await taintSnapshot(test.db, { snapshotId: snapshotOf('c3'), who: 'ann', reason: 'half loaded' });
  expect(await nextParent()).toBe(expected);
});

it('leaves rolled-back versions out where a whole training follows online updates', async () => {
  await promoted('c2', { parent: 1 });
  await promoted('c3', { parent: 2, strategy: 'online' });
  expect(await newestTrainedWhole(test.db, { line: LINE, version: 3 })).toBe(2);
  await rollback(test.db, 'c2');
  expect(await newestTrainedWhole(test.db, { line: LINE, version: 3 })).toBe(1);
  await rollBackTo(2);
  expect(await newestTrainedWhole(test.db, { line: LINE, version: 2 })).toBe(2);
});
