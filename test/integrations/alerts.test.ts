import { Writable } from 'node:stream';
import { pino, type Logger } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { alertChannelsFromEnv } from '../../integrations/alert-channels.ts';
import { createPagerDutyChannel } from '../../integrations/pagerduty.ts';
import { createSlackChannel, slackMessage } from '../../integrations/slack.ts';
import type { Alert } from '../../store/types.ts';
import { startReceiver, type Answer, type Received, type Receiver } from './http-receiver.ts';

const alert: Alert = {
  dedupKey: 'cycle-7/rollback',
  severity: 'critical',
  page: true,
  line: 'news-feed',
  title: 'Version 7 was rolled back',
  text: 'The canary had a larger log loss than stable <5 %> & more.',
  fields: { version: 7, stable: 6, z: 3.1, expected: 'at most 2.33' },
  url: 'http://127.0.0.1:8233/namespaces/default/workflows/cycle-7',
};

let open: Receiver[] = [];
afterEach(async () => {
  await Promise.all(open.map((receiver) => receiver.close()));
  open = [];
});

async function receiver(answer?: (index: number, request: Received) => Answer): Promise<Receiver> {
  const started = await startReceiver(answer);
  open.push(started);
  return started;
}

const slack = (url: string, timeoutMs = 5_000): ReturnType<typeof createSlackChannel> =>
  createSlackChannel({ webhookUrl: `${url}/services/T000/B000/secretwebhook`, timeoutMs });
const pagerDuty = (url: string, timeoutMs = 5_000): ReturnType<typeof createPagerDutyChannel> =>
  createPagerDutyChannel({ routingKey: 'secretroutingkey', url: `${url}/v2/enqueue`, timeoutMs });

describe('Slack', () => {
  it('gets the alert as blocks, with its fields, the link and what to quote', async () => {
    const { url, received } = await receiver();
    await slack(url).deliver(alert);
    expect(received).toEqual([
      {
        method: 'POST',
        path: '/services/T000/B000/secretwebhook',
        contentType: 'application/json',
        body: {
          text: '[critical] news-feed: Version 7 was rolled back',
          blocks: [
            { type: 'header', text: { type: 'plain_text', text: '🚨 Version 7 was rolled back', emoji: true } },
            {
              type: 'section',
              text: { type: 'mrkdwn', text: 'The canary had a larger log loss than stable &lt;5 %&gt; &amp; more.' },
            },
            {
              type: 'section',
              fields: [
                { type: 'mrkdwn', text: '*version*\n7' },
                { type: 'mrkdwn', text: '*stable*\n6' },
                { type: 'mrkdwn', text: '*z*\n3.1' },
                { type: 'mrkdwn', text: '*expected*\nat most 2.33' },
              ],
            },
            { type: 'section', text: { type: 'mrkdwn', text: `<${String(alert.url)}|Open the run>` } },
            { type: 'context', elements: [{ type: 'mrkdwn', text: 'critical · news-feed · cycle-7/rollback' }] },
          ],
        },
      },
    ]);
  });

  it('gets alerts that page nobody, too', async () => {
    const { url, received } = await receiver();
    await slack(url).deliver({ ...alert, severity: 'info', page: false });
    expect(received).toHaveLength(1);
  });

  it('is sent nothing that it would refuse: long texts are cut, fields come ten to a block, none is empty', () => {
    const fields = Object.fromEntries(
      Array.from({ length: 23 }, (_, index) => [`field ${String(index)}`, 'x'.repeat(3_000)]),
    );
    const { url: _url, ...withoutUrl } = alert;
    const { blocks } = slackMessage({ ...withoutUrl, title: 't'.repeat(400), text: '', fields });
    expect(blocks.map((block) => ('fields' in block ? block.fields.length : block.type))).toEqual([
      'header',
      'section',
      10,
      10,
      3,
      'context',
    ]);
    const texts = blocks.flatMap((block) =>
      'fields' in block ? block.fields : 'elements' in block ? block.elements : [block.text],
    );
    for (const { text } of texts) {
      expect(text.length).toBeGreaterThan(0);
      expect(text.length).toBeLessThanOrEqual(3_000);
    }
    expect(texts[0]?.text).toHaveLength(150);
    expect(texts[2]?.text).toHaveLength(2_000);
  });

  it('shows on a phone what was found and what was expected, and the first of many reasons', () => {
    const fields = { stableAtStart: 6, observed: 'rate 4 %', expected: 'at most 1 %' };
    const text = Array.from({ length: 30 }, (_, index) => `reason ${String(index)} ${'x'.repeat(900)}`).join('\n');
    const message = slackMessage({ ...alert, title: 'news-feed rolled back (version 7)', text, fields });
    expect(message.text).toBe('[critical] news-feed rolled back (version 7): rate 4 %, expected at most 1 %');
    const [, reasons, figures] = message.blocks;
    const shown = reasons !== undefined && 'text' in reasons ? reasons.text.text.split('\n') : [];
    expect(shown).toHaveLength(7);
    expect(shown.at(-1)).toBe('and 24 more');
    expect(shown[0]).toHaveLength(400);
    expect(JSON.stringify(figures)).toContain('*stable at start*\\n6');
  });

  it('says of a resolution that it is one', () => {
    const resolved: Alert = { ...alert, severity: 'info', incident: { action: 'resolve', key: 'k' } };
    expect(JSON.stringify(slackMessage(resolved).blocks[0])).toContain('✅');
  });

  it('can not be made to notify a whole channel by a value', () => {
    expect(
      JSON.stringify(
        slackMessage({ ...alert, title: '<!channel>', text: '<!here>', fields: { a: '<@U1>' } }).blocks.slice(1),
      ),
    ).not.toMatch(/<[!@]/);
  });
});

describe('PagerDuty', () => {
  it('gets a trigger event under the deduplication key of the alert', async () => {
    const { url, received } = await receiver(() => ({ status: 202, body: '{"status":"success"}' }));
    await pagerDuty(url).deliver(alert);
    expect(received).toEqual([
      {
        method: 'POST',
        path: '/v2/enqueue',
        contentType: 'application/json',
        body: {
          routing_key: 'secretroutingkey',
          event_action: 'trigger',
          dedup_key: 'cycle-7/rollback',
          client: 'Freshet',
          client_url: alert.url,
          links: [{ href: alert.url, text: 'Open the run' }],
          payload: {
            summary: 'news-feed: Version 7 was rolled back',
            source: 'freshet/news-feed',
            severity: 'critical',
            component: 'news-feed',
            group: 'freshet',
            class: 'model line',
            custom_details: { ...alert.fields, text: alert.text, alert: 'cycle-7/rollback' },
          },
        },
      },
    ]);
  });

  it('gets one incident for the alerts about one problem, and its resolution', async () => {
    const { url, received } = await receiver(() => ({ status: 202 }));
    const key = 'news-feed/skipped/volume';
    const about = { ...alert, title: 'news-feed skipped a cycle', kind: 'skipped' };
    const skipped = (dedupKey: string): Alert => ({ ...about, dedupKey, incident: { action: 'open', key, stage: 1 } });
    await pagerDuty(url).deliver(skipped('c1/skipped'));
    await pagerDuty(url).deliver(skipped('c2/skipped'));
    await pagerDuty(url).deliver({ ...about, dedupKey: 'over', incident: { action: 'resolve', key } });
    expect(received.map(({ body }) => body)).toMatchObject([
      {
        ...{ event_action: 'trigger', dedup_key: key },
        payload: { summary: 'news-feed skipped a cycle', component: 'news-feed', class: 'skipped' },
      },
      { event_action: 'trigger', dedup_key: key, payload: { custom_details: { alert: 'c2/skipped', version: 7 } } },
      { event_action: 'resolve', dedup_key: key },
    ]);
    expect(received[2]?.body).toEqual({ routing_key: 'secretroutingkey', event_action: 'resolve', dedup_key: key });
  });

  it('is sent no key that it would refuse, and no two as one', async () => {
    const { url, received } = await receiver(() => ({ status: 202 }));
    for (const end of ['a', 'b']) await pagerDuty(url).deliver({ ...alert, dedupKey: `${'k'.repeat(300)}${end}` });
    const keys = received.map(({ body }) => (body as { dedup_key: string }).dedup_key);
    expect(keys.map(({ length }) => length)).toEqual([255, 255]);
    expect(new Set(keys).size).toBe(2);
  });

  it('wakes nobody for an alert that does not page', async () => {
    const { url, received } = await receiver();
    await pagerDuty(url).deliver({ ...alert, page: false });
    expect(received).toEqual([]);
  });
});

describe.each([
  ['Slack', slack],
  ['PagerDuty', pagerDuty],
])('a delivery to %s', (service, channel) => {
  it('fails when the service does, and succeeds when tried again', async () => {
    const { url, received } = await receiver((index) =>
      index === 0 ? { status: 500, body: 'oops' } : { status: 200 },
    );
    await expect(channel(url).deliver(alert)).rejects.toThrow(
      `${service} at ${new URL(url).host} did not take the alert: it answered 500 "oops"`,
    );
    await channel(url).deliver(alert);
    expect(received).toHaveLength(2);
    expect(received[1]).toEqual(received[0]);
  });

  it.each<[string, Answer]>([
    ['refuses', { status: 403, body: 'invalid_token' }],
    ['sends it elsewhere', { status: 302, headers: { location: 'http://127.0.0.1:9/' } }],
  ])('fails when the service %s', async (_, answer) => {
    const { url } = await receiver(() => answer);
    await expect(channel(url).deliver(alert)).rejects.toThrow(/did not take the alert: it answered (403|302)/);
  });

  it.each<[number, Record<string, string>, { permanent: boolean; retryAfterMs: unknown }]>([
    [400, {}, { permanent: true, retryAfterMs: null }],
    [404, {}, { permanent: true, retryAfterMs: null }],
    [410, {}, { permanent: true, retryAfterMs: null }],
    [408, {}, { permanent: false, retryAfterMs: null }],
    [500, {}, { permanent: false, retryAfterMs: null }],
    [302, {}, { permanent: false, retryAfterMs: null }],
    [429, { 'retry-after': '7' }, { permanent: false, retryAfterMs: 7_000 }],
    [429, { 'retry-after': 'soon' }, { permanent: false, retryAfterMs: 30_000 }],
    [429, {}, { permanent: false, retryAfterMs: 30_000 }],
    [429, { 'retry-after': new Date(0).toUTCString() }, { permanent: false, retryAfterMs: 1_000 }],
  ])('says of %i %o what it means for the next try', async (status, headers, expected) => {
    const { url } = await receiver(() => ({ status, headers }));
    await expect(channel(url).deliver(alert)).rejects.toMatchObject(expected);
  });

  it.each<[string, Answer]>([
    ['says nothing', () => undefined],
    ['begins to answer and goes silent', (response) => void response.writeHead(200).write('o')],
  ])('ends when the service %s', async (_, answer) => {
    const { url } = await receiver(() => answer);
    await expect(channel(url, 150).deliver(alert)).rejects.toThrow(/no answer within 150 ms/);
  });

  it('fails when nothing listens', async () => {
    const closed = await startReceiver();
    await closed.close();
    await expect(channel(closed.url).deliver(alert)).rejects.toThrow(/did not take the alert: .*ECONNREFUSED/);
  });

  it('never shows a secret, even when the service repeats the request', async () => {
    const echo = await receiver((_, { path, body }) => ({
      status: 400,
      body: `bad request to ${path}: ${JSON.stringify(body)}`,
    }));
    const error = await channel(echo.url)
      .deliver(alert)
      .then(
        () => null,
        (reason: unknown) => reason,
      );
    expect(error).toBeInstanceOf(Error);
    const { message, stack, cause } = error as Error;
    expect(`${message} ${String(stack)} ${JSON.stringify(error)}`).not.toMatch(/secret(webhook|routingkey)/);
    expect(cause).toBeUndefined();
  });
});

describe('alertChannelsFromEnv', () => {
  const logged = (): { logger: Logger; lines: Record<string, unknown>[] } => {
    const lines: Record<string, unknown>[] = [];
    const stream = new Writable({
      write(chunk, _, done) {
        lines.push(JSON.parse(String(chunk)) as Record<string, unknown>);
        done();
      },
    });
    return { logger: pino({}, stream), lines };
  };
  const SLACK_WEBHOOK_URL = 'https://hooks.slack.com/services/T/B/secret';

  it.each([
    [{}, ['log']],
    [{ SLACK_WEBHOOK_URL: '', PAGERDUTY_ROUTING_KEY: ' ', PAGERDUTY_URL: '' }, ['log']],
    [{ SLACK_WEBHOOK_URL }, ['slack']],
    [{ PAGERDUTY_ROUTING_KEY: 'key' }, ['log', 'pagerduty']],
    [{ SLACK_WEBHOOK_URL, PAGERDUTY_ROUTING_KEY: 'key' }, ['slack', 'pagerduty']],
  ])('%o gives %o', (environment, names) => {
    expect(alertChannelsFromEnv(environment, logged().logger).map(({ name }) => name)).toEqual(names);
  });

  it('logs the alert, at the level of its severity, when nothing is configured', async () => {
    const { logger, lines } = logged();
    const [channel] = alertChannelsFromEnv({}, logger);
    for (const severity of ['info', 'warning', 'critical'] as const) await channel?.deliver({ ...alert, severity });
    expect(lines.map(({ level }) => level)).toEqual([30, 40, 50]);
    expect(lines[2]).toMatchObject({ alert, msg: 'alert: news-feed: Version 7 was rolled back' });
  });

  it('sends to the address of another region', async () => {
    const { url, received } = await receiver(() => ({ status: 202 }));
    const channels = alertChannelsFromEnv(
      { PAGERDUTY_ROUTING_KEY: 'key', PAGERDUTY_URL: `${url}/eu` },
      logged().logger,
    );
    for (const channel of channels) await channel.deliver(alert);
    expect(received.map(({ path }) => path)).toEqual(['/eu']);
  });

  it.each(['hooks.slack.com/services/T/B/secret', 'ftp://secret'])('refuses %s without repeating it', (url) => {
    const refused = (): unknown => alertChannelsFromEnv({ SLACK_WEBHOOK_URL: url }, logged().logger);
    expect(refused).toThrow(
      'SLACK_WEBHOOK_URL must be an http or https URL: correct it, or unset it to have alerts logged',
    );
    expect(refused).not.toThrow(/secret/);
  });
});
