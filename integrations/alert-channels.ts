import type { Logger } from 'pino';
import { z } from 'zod';
import type { AlertChannel } from '../store/outbox.ts';
import { createLogChannel } from './log-channel.ts';
import { createPagerDutyChannel, PAGERDUTY_EVENTS_URL } from './pagerduty.ts';
import { createSlackChannel } from './slack.ts';

const httpUrl = z.url({ protocol: /^https?$/ });
const blank = z.literal('').transform(() => undefined);

const environmentSchema = z.object({
  SLACK_WEBHOOK_URL: z.union([blank, httpUrl]).optional(),
  PAGERDUTY_ROUTING_KEY: z.string().trim().optional(),
  PAGERDUTY_URL: z.union([blank, httpUrl]).optional(),
});

/**
 * The channels that the environment configures: SLACK_WEBHOOK_URL takes every alert, PAGERDUTY_ROUTING_KEY (with
 * PAGERDUTY_URL for another region) those that page. Without Slack the log takes every alert, so that none is lost.
 *
 * @throws Error when a variable is set to what it can not be; the message does not repeat the value.
 */
export function alertChannelsFromEnv(environment: Record<string, string | undefined>, logger: Logger): AlertChannel[] {
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    const names = parsed.error.issues.map(({ path }) => path.join('.')).join(' and ');
    throw new Error(`${names} must be an http or https URL: correct it, or unset it to have alerts logged`);
  }
  const { SLACK_WEBHOOK_URL: webhookUrl, PAGERDUTY_ROUTING_KEY: routingKey = '', PAGERDUTY_URL: url } = parsed.data;
  return [
    webhookUrl === undefined ? createLogChannel(logger) : createSlackChannel({ webhookUrl }),
    ...(routingKey === '' ? [] : [createPagerDutyChannel({ routingKey, url: url ?? PAGERDUTY_EVENTS_URL })]),
  ];
}
