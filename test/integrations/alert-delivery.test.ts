import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { pino, type Logger } from 'pino';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createPagerDutyChannel } from '../../integrations/pagerduty.ts';
import { createSlackChannel } from '../../integrations/slack.ts';
import { undeliveredAlerts } from '../../store/deliveries.ts';
import { enqueueAlert, pendingAlerts } from '../../store/outbox.ts';
import type { Alert } from '../../store/types.ts';
import { startAlertDelivery } from '../../workers/alert-delivery.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alert, LINE } from '../store/stage.ts';
import { startReceiver, type Answer, type Receiver } from './http-receiver.ts';

const PATIENCE = { timeout: 10_000, interval: 20 };
let database: TestDatabase;
let slack: Receiver;
let pagerDuty: Receiver;
let slackAnswer: Answer;
let logged: Record<string, unknown>[];
let stop: () => Promise<void>;

beforeEach(async () => {
  database = await createTestDatabase();
  slackAnswer = { status: 200, body: 'ok' };
  slack = await startReceiver(() => slackAnswer);
  pagerDuty = await startReceiver(() => ({ status: 202 }));
  logged = [];
});

function start({ slackTimeoutMs = 300 }: { slackTimeoutMs?: number } = {}): void {
  const channels = [
    createSlackChannel({ webhookUrl: `${slack.url}/hook`, timeoutMs: slackTimeoutMs }),
    createPagerDutyChannel({ routingKey: 'key', url: `${pagerDuty.url}/v2/enqueue` }),
  ];
  ({ stop } = startAlertDelivery({ db: database.db, channels, logger: logger() }));
}

afterEach(async () => {
  await stop();
  await Promise.all([slack.close(), pagerDuty.close()]);
  await database.drop();
});

function logger(): Logger {
  const stream = new Writable({
    write(chunk, _, done) {
      logged.push(JSON.parse(String(chunk)) as Record<string, unknown>);
      done();
    },
  });
  return pino({}, stream);
}

const key = `${LINE}/failed/x`;
const failed = (dedupKey: string): Alert => ({
  ...alert(dedupKey),
  ...{ severity: 'critical', page: true, incident: { action: 'open', key, stage: 2 } },
});
const actions = (): unknown[] => pagerDuty.received.map(({ body }) => (body as { event_action: string }).event_action);

it('pages while Slack is dead, says so in the log, and brings Slack everything in order when it is back', async () => {
  slackAnswer = () => undefined;
  start();
  for (const one of [failed('c1'), failed('c2'), { ...alert('c3'), resolvesBefore: 10 }]) {
    await enqueueAlert(database.db, one);
  }
  await vi.waitFor(() => {
    expect(actions()).toEqual(['trigger', 'trigger', 'resolve']);
  }, PATIENCE);
  await vi.waitFor(() => {
    expect(slack.received.length).toBeGreaterThan(0);
    expect(logged).toMatchObject([
      { level: 40, channel: 'slack', reason: expect.stringContaining('no answer') as string },
    ]);
  }, PATIENCE);

  slackAnswer = { status: 200 };
  await vi.waitFor(async () => {
    expect(await pendingAlerts(database.db)).toEqual([]);
  }, PATIENCE);
  const titles = slack.received.map(({ body }) => (body as { text: string }).text.replace(/^\[\w+\] news-feed: /, ''));
  const thread = titles.filter((title) => !title.startsWith('c3'));
  expect(thread.filter((title, index) => title !== thread[index - 1])).toEqual([
    'c1',
    'c2, 2 in a row',
    'Resolved: c2',
  ]);
});

it('takes page after page to PagerDuty while Slack has not answered the first', async () => {
  const open: ServerResponse[] = [];
  slackAnswer = (response) => void open.push(response);
  start({ slackTimeoutMs: 25_000 });
  for (let page = 1; page <= 4; page += 1) {
    await enqueueAlert(database.db, failed(`c${String(page)}`));
    await vi.waitFor(() => {
      expect(actions()).toHaveLength(page);
    }, PATIENCE);
  }
  expect(open).toHaveLength(1);
  slackAnswer = { status: 200 };
  for (const response of open) response.end();
  await vi.waitFor(async () => {
    expect(await pendingAlerts(database.db)).toEqual([]);
  }, PATIENCE);
  expect(slack.received).toHaveLength(4);
});

it('sends what is refused for good once, logs it whole, and goes on', async () => {
  slackAnswer = { status: 404, body: 'no_service' };
  start();
  await enqueueAlert(database.db, failed('c1'));
  await vi.waitFor(() => {
    expect(logged).toMatchObject([{ level: 50, channel: 'slack', alert: { dedupKey: 'c1' } }]);
  }, PATIENCE);
  slackAnswer = { status: 200 };
  await enqueueAlert(database.db, alert('c2'));
  await vi.waitFor(async () => {
    expect(await pendingAlerts(database.db)).toEqual([]);
  }, PATIENCE);
  expect(slack.received).toHaveLength(2);
  expect((await undeliveredAlerts(database.db)).refused).toMatchObject([
    { channel: 'slack', alerts: 1, lastError: expect.stringContaining('404') as string },
  ]);
});

it('leaves Slack alone for as long as it asks', async () => {
  slackAnswer = { status: 429, headers: { 'retry-after': '2' } };
  start();
  await enqueueAlert(database.db, alert('a'));
  await vi.waitFor(async () => {
    expect((await undeliveredAlerts(database.db)).waiting).toHaveLength(1);
  }, PATIENCE);
  slackAnswer = { status: 200 };
  await enqueueAlert(database.db, alert('b'));
  await vi.waitFor(async () => {
    expect(await pendingAlerts(database.db)).toEqual([]);
  }, PATIENCE);
  const { rows } = await database.db.query<{ held: boolean }>(
    `select min(d.settled_at) - min(o.created_at) > interval '1.9 s' as held
     from deliveries d join outbox o on o.id = d.alert_id where d.channel = 'slack'`,
  );
  expect(rows).toEqual([{ held: true }]);
  expect(slack.received).toHaveLength(3);
});
