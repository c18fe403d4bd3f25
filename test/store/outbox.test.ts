import { afterEach, beforeEach, expect, it } from 'vitest';
import { transaction } from '../../store/database.ts';
import { deliverDue, undeliveredAlerts } from '../../store/deliveries.ts';
import { openIncidents } from '../../store/incidents.ts';
import { enqueueAlert, pendingAlerts, type AlertChannel, type DeliveryFailure } from '../../store/outbox.ts';
import type { Alert } from '../../store/types.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alert, LINE } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

const NOTHING = { delivered: 0, taken: 0, failed: [], refused: [] };

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
  expect(await deliverDue(db, { channels })).toEqual(NOTHING);
});

it('retries only the channel that failed, each time later', async () => {
  const { db } = test;
  await enqueueAlert(db, alert('a'));
  const [slack, pagerduty] = [channel('slack'), channel('pagerduty', 2)];
  const channels = [slack, pagerduty];
  const start = await soon(0);
  const after = (ms: number): Promise<unknown> => deliverDue(db, { channels, now: new Date(start.getTime() + ms) });
  const failed = { delivered: 0, failed: [{ dedupKey: 'a', error: 'pagerduty: pagerduty answered 503' }] };
  expect(await after(0)).toMatchObject({ ...failed, taken: 1 });
  expect(await after(999)).toEqual(NOTHING);
  expect(await after(1_000)).toMatchObject({ ...failed, taken: 0 });
  expect(await after(2_999)).toEqual(NOTHING);
  expect(await pendingAlerts(db)).toMatchObject([{ attempts: 2, lastError: 'pagerduty: pagerduty answered 503' }]);
  expect(await after(3_000)).toMatchObject({ delivered: 1, failed: [] });
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
  expect(await deliverDue(db, { channels: [slack], now })).toEqual(NOTHING);
  expect(await deliverDue(db, { channels: [slack], now: await soon(61_000) })).toMatchObject({ delivered: 1 });
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
  expect(await deliverDue(db, { channels: [] })).toEqual(NOTHING);
  expect((await pendingAlerts(db)).map((row) => row.alert)).toEqual([alert('a')]);
});

/** A channel that fails with what `failure` says of an alert; null takes it. */
function refusing(
  name: string,
  failure: (key: string) => Partial<DeliveryFailure> | null,
): AlertChannel & { asked: string[]; took: string[] } {
  const [asked, took]: [string[], string[]] = [[], []];
  return {
    ...{ name, asked, took },
    deliver({ dedupKey }) {
      asked.push(dedupKey);
      const failed = failure(dedupKey);
      if (failed !== null) return Promise.reject(Object.assign(new Error(`${name} says no`), failed));
      took.push(dedupKey);
      return Promise.resolve();
    },
  };
}

it('lets one channel go on while another hangs', async () => {
  const { db } = test;
  for (const key of ['a', 'b']) await enqueueAlert(db, alert(key));
  let release = (): void => undefined;
  const hanging = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slack: AlertChannel = { name: 'slack', deliver: () => hanging };
  const pagerduty = channel('pagerduty');
  const delivery = deliverDue(db, { channels: [slack, pagerduty] });
  while (pagerduty.took.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  await enqueueAlert(db, alert('c'));
  await deliverDue(db, { channels: [slack, pagerduty], only: pagerduty });
  expect(pagerduty.took.toSorted()).toEqual(['a', 'b', 'c']);
  release();
  expect(await delivery).toMatchObject({ delivered: 3 });
});

it('leaves a channel alone, other alerts included, for as long as it asks', async () => {
  const { db } = test;
  for (let index = 0; index < 9; index += 1) await enqueueAlert(db, alert(`alert-${String(index)}`));
  let busy = true;
  const slack = refusing('slack', (key) => (busy && key === 'alert-0' ? { retryAfterMs: 30_000 } : null));
  const pagerduty = channel('pagerduty');
  const channels = [slack, pagerduty];
  const start = await soon(0);
  const after = (ms: number) => deliverDue(db, { channels, now: new Date(start.getTime() + ms) });
  await after(0);
  // A batch was under way; the ninth was not begun.
  expect(slack.asked).toHaveLength(8);
  expect(pagerduty.took).toHaveLength(9);
  busy = false;
  await after(29_000);
  expect(slack.asked).toHaveLength(8);
  await after(31_000);
  expect(slack.took).toHaveLength(9);
  expect(await pendingAlerts(db)).toEqual([]);
});

it('gives up what a channel refuses for good, says so, and goes on with the others', async () => {
  const { db } = test;
  for (const key of ['bad', 'good']) await enqueueAlert(db, alert(key));
  const slack = refusing('slack', (key) => (key === 'bad' ? { permanent: true } : null));
  const pagerduty = channel('pagerduty');
  const channels = [slack, pagerduty];
  expect(await deliverDue(db, { channels })).toEqual({
    ...{ delivered: 2, taken: 3, failed: [] },
    refused: [{ alert: alert('bad'), error: 'slack: slack says no' }],
  });
  await deliverDue(db, { channels, now: await soon(3_600_000) });
  expect(slack.asked).toEqual(['bad', 'good']);
  const refused = [{ channel: 'slack', alerts: 1, lastError: 'slack says no' }];
  expect(await undeliveredAlerts(db)).toEqual({ untried: 0, waiting: [], refused });
  expect(await undeliveredAlerts(db, { line: 'another' })).toEqual({ untried: 0, waiting: [], refused: [] });
});

it('tells what waits, and what nobody tried to deliver', async () => {
  const { db } = test;
  await enqueueAlert(db, alert('a'));
  expect(await undeliveredAlerts(db)).toEqual({ untried: 0, waiting: [], refused: [] });
  await db.query(`update outbox set created_at = now() - interval '2 minutes'`);
  expect((await undeliveredAlerts(db)).untried).toBe(1);
  await deliverDue(db, { channels: [channel('slack', 1)] });
  const waiting = [{ channel: 'slack', alerts: 1, lastError: 'slack answered 503' }];
  expect(await undeliveredAlerts(db, { line: LINE })).toEqual({ untried: 0, waiting, refused: [] });
});

const problem = (dedupKey: string, change: Partial<Alert> = {}): Alert => ({
  ...alert(dedupKey),
  ...{ severity: 'warning', title: 'skipped', incident: { action: 'open', key: `${LINE}/skipped/volume`, stage: 1 } },
  ...change,
});
const wellEnded = (dedupKey: string, resolvesBefore: number): Alert => ({ ...alert(dedupKey), resolvesBefore });

async function outbox(): Promise<Alert[]> {
  return (await pendingAlerts(test.db)).map((pending) => pending.alert);
}

it('makes one incident of a problem that repeats, and wakes somebody at the third time', async () => {
  const { db } = test;
  for (const key of ['c1', 'c2', 'c3', 'c4']) await enqueueAlert(db, problem(key));
  // Whoever reports it again: the same event.
  await enqueueAlert(db, problem('c4'));
  const told = await outbox();
  expect(told.map(({ page, title }) => [page, title])).toEqual([
    [false, 'skipped'],
    [false, 'skipped, 2 in a row'],
    [true, 'skipped, 3 in a row'],
    [true, 'skipped, 4 in a row'],
  ]);
  expect(new Set(told.map(({ incident }) => incident?.key)).size).toBe(1);
  expect(await openIncidents(db, LINE)).toMatchObject([{ alerts: 4, paged: true }]);
});

it('resolves what a cycle got past, once, and wakes only those who were woken', async () => {
  const { db } = test;
  await enqueueAlert(db, problem('c1'));
  const failing: Alert['incident'] = { action: 'open', key: `${LINE}/failed/x`, stage: 2 };
  await enqueueAlert(db, problem('c2', { page: true, incident: failing }));
  await enqueueAlert(db, problem('other', { line: 'sports', incident: { action: 'open', key: 'sports/x', stage: 1 } }));
  await enqueueAlert(db, wellEnded('c3', 2));
  expect(await openIncidents(db, LINE)).toMatchObject([{ key: `${LINE}/failed/x` }]);
  await enqueueAlert(db, wellEnded('c4', 10));
  await enqueueAlert(db, wellEnded('c4', 10));
  await enqueueAlert(db, wellEnded('c5', 10));
  expect(await openIncidents(db)).toMatchObject([{ line: 'sports' }]);
  const resolved = (await outbox()).filter(({ incident }) => incident?.action === 'resolve');
  expect(resolved.map(({ page, title, incident }) => [page, title, incident?.key])).toEqual([
    [false, 'Resolved: skipped', `${LINE}/skipped/volume`],
    [true, 'Resolved: skipped', `${LINE}/failed/x`],
  ]);
  // The next time it is a new incident, which begins to count again.
  await enqueueAlert(db, problem('c6'));
  expect((await outbox()).at(-1)).toMatchObject({ title: 'skipped', page: false });
});

it('keeps the incident with the change that it reports', async () => {
  const { db } = test;
  const failing = transaction(db, async (tx) => {
    await enqueueAlert(tx, problem('c1'));
    throw new Error('the change failed');
  });
  await expect(failing).rejects.toThrow('the change failed');
  expect(await openIncidents(db)).toEqual([]);
});

it('sends a resolution to no channel before that took what it resolves', async () => {
  const { db } = test;
  await enqueueAlert(db, problem('c1'));
  await enqueueAlert(db, wellEnded('c2', 10));
  await enqueueAlert(db, problem('c3'));
  const [slack, pagerduty] = [refusing('slack', () => null), channel('pagerduty', 1)];
  let down = true;
  const order: string[] = [];
  const pager: AlertChannel = {
    name: pagerduty.name,
    deliver({ dedupKey }) {
      if (dedupKey === 'c1' && down) return Promise.reject(new Error('down'));
      order.push(dedupKey);
      return Promise.resolve();
    },
  };
  const channels = [slack, pager];
  const start = await soon(0);
  const after = (ms: number) => deliverDue(db, { channels, now: new Date(start.getTime() + ms) });
  await after(0);
  const resolution = expect.stringMatching(/\/resolved\//) as string;
  expect(slack.took).toEqual(['c1', 'c2', resolution, 'c3']);
  expect(order).toEqual(['c2']);
  down = false;
  await after(5_000);
  expect(order).toEqual(['c2', 'c1', resolution, 'c3']);
});
