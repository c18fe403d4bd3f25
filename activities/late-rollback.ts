import { enqueueAlert } from '../store/outbox.ts';
import type { Alert } from '../store/types.ts';
import { runUrl } from './cycle-alert.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { pauseSchedule } from './schedule.ts';

export interface LateRollbackInput {
  cycleId: string;
  line: string;
  workflowId: string;
  runId: string;
  version: number;
  deadlineMs: number;
}

/**
 * A rollback that was not confirmed by its deadline pages and pauses the schedule. With Postgres gone the page goes out
 * directly, under the key the outbox would have used (invariant 10).
 */
export async function reportLateRollback(deps: RolloutDependencies, input: LateRollbackInput): Promise<void> {
  const url = runUrl(deps.uiUrl, input);
  const alert: Alert = {
    dedupKey: `${input.cycleId}/late`,
    severity: 'critical',
    page: true,
    line: input.line,
    title: `${input.line}: rollback of version ${String(input.version)} is not confirmed`,
    text: `Not every gateway has confirmed the rollback within ${String(input.deadlineMs / 1000)} s. The schedule is paused; the rollback goes on trying. Look at the routing processes (freshet status ${input.line}).`,
    fields: { version: input.version, deadlineSeconds: input.deadlineMs / 1000 },
    ...(url === null ? {} : { url }),
  };
  const results = await Promise.allSettled([
    enqueueAlert(deps.db, alert).catch(async (error: unknown) => {
      deps.logger.error({ error }, 'the outbox can not be reached: paging directly');
      await deliverDirectly(deps, alert);
    }),
    pauseSchedule(deps.temporal, { line: input.line, note: alert.title }),
  ]);
  for (const result of results) {
    if (result.status === 'rejected')
      deps.logger.error({ error: result.reason as unknown, line: input.line }, 'reporting a late rollback failed');
  }
  if (results[0].status === 'rejected') throw results[0].reason;
}

async function deliverDirectly(deps: RolloutDependencies, alert: Alert): Promise<void> {
  const deliveries = await Promise.allSettled(deps.channels.map((channel) => channel.deliver(alert)));
  if (deliveries.every((delivery) => delivery.status === 'rejected')) {
    throw new Error(
      `no alert channel took the page "${alert.title}": check SLACK_WEBHOOK_URL and PAGERDUTY_ROUTING_KEY`,
    );
  }
}
