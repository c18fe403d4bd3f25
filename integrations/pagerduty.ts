import { createHash } from 'node:crypto';
import type { AlertChannel } from '../store/outbox.ts';
import type { Alert } from '../store/types.ts';
import { cut, headline } from './alert-text.ts';
import { postAlert } from './post-alert.ts';

export const PAGERDUTY_EVENTS_URL = 'https://events.pagerduty.com/v2/enqueue';

/** Limits of the Events API v2; of the text what keeps an event far below 512 KB. */
const MAX = { summary: 1_024, dedupKey: 255, text: 20_000 } as const;

/** Alerts that must wake somebody (`page`), by PagerDuty Events v2. Others it takes without sending them. */
export function createPagerDutyChannel({
  routingKey,
  url = PAGERDUTY_EVENTS_URL,
  timeoutMs,
}: {
  routingKey: string;
  url?: string;
  timeoutMs?: number;
}): AlertChannel {
  return {
    name: 'pagerduty',
    async deliver(alert) {
      if (!alert.page) return;
      await postAlert({
        service: 'PagerDuty',
        url,
        body: { routing_key: routingKey, ...pagerDutyEvent(alert) },
        secrets: [routingKey],
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
    },
  };
}

/**
 * The event of an alert, but for the routing key. The alerts of one incident share its key: PagerDuty keeps one incident for
 * them, which a later alert updates and its resolution closes.
 */
export function pagerDutyEvent(alert: Alert): Record<string, unknown> {
  const { dedupKey, severity, line, text, fields, url, kind, incident } = alert;
  const key = { dedup_key: shortKey(incident?.key ?? dedupKey) };
  if (incident?.action === 'resolve') return { event_action: 'resolve', ...key };
  return {
    event_action: 'trigger',
    ...key,
    client: 'Freshet',
    ...(url === undefined ? {} : { client_url: url, links: [{ href: url, text: 'Open the run' }] }),
    payload: {
      summary: cut(headline(alert), MAX.summary),
      source: `freshet/${line}`,
      severity,
      component: line,
      group: 'freshet',
      class: kind ?? 'model line',
      custom_details: { ...fields, text: cut(text, MAX.text), alert: dedupKey },
    },
  };
}

/** Keys that are cut would name another incident. */
function shortKey(key: string): string {
  if (key.length <= MAX.dedupKey) return key;
  const hash = createHash('sha256').update(key).digest('hex');
  return `${key.slice(0, MAX.dedupKey - hash.length - 1)}/${hash}`;
}
