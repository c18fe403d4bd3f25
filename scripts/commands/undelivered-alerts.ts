import type { ChannelAlerts, UndeliveredAlerts } from '../../store/deliveries.ts';

/** What did not get through, with what to do; empty when all did. */
export function undeliveredInWords({ untried, waiting, refused }: UndeliveredAlerts): string[] {
  return [
    ...(untried === 0
      ? []
      : [`${alerts(untried)} for more than a minute: is the rollout worker running ("freshet up")?`]),
    ...waiting.map((found) => `${of(found)} not taken yet, tried again until it is (${found.lastError})`),
    ...refused.map(
      (found) =>
        `${of(found)} refused within a week, not sent again; they are in the worker's log. Correct the channel's key or address (${found.lastError})`,
    ),
  ];
}

function of({ alerts: count, channel }: ChannelAlerts): string {
  return `${channel}: ${String(count)} alert${count === 1 ? '' : 's'}`;
}

function alerts(count: number): string {
  return `${String(count)} alert${count === 1 ? ' waits' : 's wait'}`;
}
