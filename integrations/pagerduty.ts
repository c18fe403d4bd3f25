import type { AlertChannel } from '../store/outbox.ts';
import type { Alert } from '../store/types.ts';
import { postAlert } from './post-alert.ts';

export const PAGERDUTY_EVENTS_URL = 'https://events.pagerduty.com/v2/enqueue';

/** Limits of the Events API v2. */
const MAX = { summary: 1_024, dedupKey: 255 } as const;

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

/** The event of an alert, but for the routing key. The same `dedupKey` is the same incident, however often it is sent. */
export function pagerDutyEvent({ dedupKey, severity, line, title, text, fields, url }: Alert): Record<string, unknown> {
  return {
    event_action: 'trigger',
    dedup_key: dedupKey.slice(0, MAX.dedupKey),
    client: 'Freshet',
    ...(url === undefined ? {} : { client_url: url, links: [{ href: url, text: 'Open the run' }] }),
    payload: {
      summary: `${line}: ${title}`.slice(0, MAX.summary),
      source: `freshet/${line}`,
      severity,
      component: line,
      group: 'freshet',
      class: 'model line',
      custom_details: { ...fields, text },
    },
  };
}
