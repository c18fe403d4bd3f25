import { afterEach, beforeEach, expect, it } from 'vitest';
import { applyLine } from '../../store/lines.ts';
import { confirmation, registerProcess, removeProcess, reportEpoch, touchProcess } from '../../store/processes.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LEASE_MS, LINE, lineConfig } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await applyLine(test.db, { config: lineConfig(), who: 'test' });
});
afterEach(() => test.drop());

const gateway = (processId: string, boot = '1'): { processId: string; line: string; boot: string } => ({
  processId,
  line: LINE,
  boot,
});
const confirmed = (epoch: number): ReturnType<typeof confirmation> =>
  confirmation(test.db, { line: LINE, epoch, leaseMs: LEASE_MS });

it('confirms an epoch when every process has reported it or a later one', async () => {
  const { db } = test;
  expect(await confirmed(5)).toEqual({ confirmed: true, waitingFor: [] });
  await registerProcess(db, gateway('a'));
  await registerProcess(db, gateway('b'));
  await reportEpoch(db, { ...gateway('a'), epoch: 5 });
  const waiting = await confirmed(5);
  expect(waiting.confirmed).toBe(false);
  expect(waiting.waitingFor).toMatchObject([{ processId: 'b', reportedEpoch: 0 }]);
  await reportEpoch(db, { ...gateway('b'), epoch: 6 });
  expect(await confirmed(5)).toEqual({ confirmed: true, waitingFor: [] });
  expect((await confirmed(6)).waitingFor).toMatchObject([{ processId: 'a', reportedEpoch: 5 }]);
});

it('waits for a silent process as long as a lease lasts, and again once it is back', async () => {
  const { db } = test;
  await registerProcess(db, gateway('a'));
  const silentFor = (ms: number): Promise<unknown> =>
    db.query(`update routing_processes set seen_at = clock_timestamp() - make_interval(secs => $1)`, [ms / 1000]);
  await silentFor(LEASE_MS - 10_000);
  expect((await confirmed(2)).confirmed).toBe(false);
  await silentFor(LEASE_MS);
  expect((await confirmed(2)).confirmed).toBe(true);
  expect(await touchProcess(db, gateway('a'))).toBe(true);
  expect((await confirmed(2)).confirmed).toBe(false);
});

it('does not wait for a process that was removed, and tells it to register again', async () => {
  const { db } = test;
  await registerProcess(db, gateway('a'));
  await removeProcess(db, gateway('a'));
  expect((await confirmed(2)).confirmed).toBe(true);
  expect(await reportEpoch(db, { ...gateway('a'), epoch: 2 })).toBe(false);
  expect(await touchProcess(db, gateway('a'))).toBe(false);
});

it('forgets what an earlier boot reported, and hears no more from it', async () => {
  const { db } = test;
  await registerProcess(db, gateway('a'));
  await reportEpoch(db, { ...gateway('a'), epoch: 7 });
  await registerProcess(db, gateway('a'));
  expect((await confirmed(7)).confirmed).toBe(true);
  await registerProcess(db, gateway('a', '2'));
  expect(await reportEpoch(db, { ...gateway('a'), epoch: 7 })).toBe(false);
  await removeProcess(db, gateway('a'));
  expect((await confirmed(7)).waitingFor).toMatchObject([{ processId: 'a', reportedEpoch: 0 }]);
});

it('never takes a report back', async () => {
  const { db } = test;
  await registerProcess(db, gateway('a'));
  await reportEpoch(db, { ...gateway('a'), epoch: 7 });
  await reportEpoch(db, { ...gateway('a'), epoch: 3 });
  expect((await confirmed(7)).confirmed).toBe(true);
});

it('knows no process of a line that does not exist', async () => {
  await expect(registerProcess(test.db, { ...gateway('a'), line: 'other' })).rejects.toThrow(/no model line "other"/);
});
