import { afterEach, beforeEach, expect, it } from 'vitest';
import { transaction } from '../../store/database.ts';
import { deliverDue, enqueueAlert, pendingAlerts, type AlertChannel } from '../../store/outbox.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alert } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

/** A channel that remembers what it took; `failures` deliveries fail first. */
function channel(name: string, failures = 0): AlertChannel & { took: string[] } {
  const took: string[] = [];
  let left = failures;
  return {
    name,
    took,
    async deliver({ dedupKey }) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (left > 0) {
        left -= 1;
        throw new Error(`${name} answered 503`);
      }
      took.push(dedupKey);
    },
  };
}

async function soon(ms: number): Promise<Date> {
  const { rows } = await test.db.query<{ now: Date }>('select clock_timestamp() as now');
  return new Date((rows[0]?.now.getTime() ?? 0) + ms);
}

it('delivers each alert once to each channel, with any number of deliverers', async () => {
  const { db } = test;
  const keys = Array.from({ length: 40 }, (_, index) => `alert-${String(index).padStart(2, '0')}`);
  for (const key of keys) await enqueueAlert(db, alert(key));
  const channels = [channel('slack'), channel('pagerduty')];
  const reports = await Promise.all([1, 2, 3].map(() => deliverDue(db, { channels })));
  expect(reports.reduce((sum, { delivered }) => sum + delivered, 0)).toBe(40);
  for (const { took } of channels) expect([...took].sort()).toEqual(keys);
  expect(await deliverDue(db, { channels })).toEqual({ delivered: 0, failed: [] });
});

it('passes over the alerts that another deliverer is claiming', async () => {
  const { db } = test;
  await enqueueAlert(db, alert('a'));
  const slack = channel('slack');
  await transaction(db, async (tx) => {
    await tx.query('select from outbox for update');
    expect(await deliverDue(db, { channels: [slack] })).toEqual({ delivered: 0, failed: [] });
  });
  expect(slack.took).toEqual([]);
});

it('retries only the channel that failed, each time later', async () => {
  const { db } = test;
  await enqueueAlert(db, alert('a'));
  const [slack, pagerduty] = [channel('slack'), channel('pagerduty', 2)];
  const channels = [slack, pagerduty];
  const start = await soon(0);
  const after = (ms: number): Promise<unknown> => deliverDue(db, { channels, now: new Date(start.getTime() + ms) });
  const failed = { delivered: 0, failed: [{ dedupKey: 'a', error: 'pagerduty: pagerduty answered 503' }] };
  const nothing = { delivered: 0, failed: [] };
  expect(await after(0)).toEqual(failed);
  expect(await after(999)).toEqual(nothing);
  expect(await after(1_000)).toEqual(failed);
  expect(await after(2_999)).toEqual(nothing);
  expect(await pendingAlerts(db)).toMatchObject([{ attempts: 2, lastError: 'pagerduty: pagerduty answered 503' }]);
  expect(await after(3_000)).toEqual({ delivered: 1, failed: [] });
  expect([slack.took, pagerduty.took]).toEqual([['a'], ['a']]);
  expect(await pendingAlerts(db)).toEqual([]);
});

it('goes on trying for ever, at least once a minute', async () => {
  const { db } = test;
  await enqueueAlert(db, alert('a'));
  const slack = channel('slack', 30);
  const start = await soon(0);
  for (let minute = 0; minute <= 30; minute += 1) {
    await deliverDue(db, { channels: [slack], now: new Date(start.getTime() + minute * 60_000) });
  }
  expect(slack.took).toEqual(['a']);
});

it('takes over the alerts of a deliverer that died', async () => {
  const { db } = test;
  await enqueueAlert(db, alert('a'));
  let release = (): void => undefined;
  const dead: AlertChannel = {
    name: 'slack',
    deliver: () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  };
  const dying = deliverDue(db, { channels: [dead] });
  const slack = channel('slack');
  const now = await soon(0);
  while ((await pendingAlerts(db))[0]?.attempts !== 1) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await deliverDue(db, { channels: [slack], now })).toEqual({ delivered: 0, failed: [] });
  expect(await deliverDue(db, { channels: [slack], now: await soon(61_000) })).toEqual({ delivered: 1, failed: [] });
  expect(slack.took).toEqual(['a']);
  release();
  await dying;
});

it('keeps one alert a key, only if the change it reports is committed, and keeps it while there is no channel', async () => {
  const { db } = test;
  await Promise.all([1, 2, 3].map(() => enqueueAlert(db, alert('a'))));
  const failing = transaction(db, async (tx) => {
    await enqueueAlert(tx, alert('b'));
    throw new Error('the change failed');
  });
  await expect(failing).rejects.toThrow('the change failed');
  expect(await deliverDue(db, { channels: [] })).toEqual({ delivered: 0, failed: [] });
  expect((await pendingAlerts(db)).map((row) => row.alert)).toEqual([alert('a')]);
});
