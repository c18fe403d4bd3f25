import type { Logger } from 'pino';
import type { AlertChannel } from '../store/outbox.ts';

const LEVEL = { info: 'info', warning: 'warn', critical: 'error' } as const;

/** Alerts into the process's log, for those who have configured no other channel. */
export function createLogChannel(logger: Logger): AlertChannel {
  return {
    name: 'log',
    deliver(alert) {
      logger[LEVEL[alert.severity]]({ alert }, `alert: ${alert.line}: ${alert.title}`);
      return Promise.resolve();
    },
  };
}
