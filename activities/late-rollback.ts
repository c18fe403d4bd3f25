import { readCycle } from '../store/cycles.ts';
import { enqueueAlert } from '../store/outbox.ts';
import { currentRoute } from '../store/routes.ts';
import type { Alert } from '../store/types.ts';
import { LATE_STAGE, runUrl } from './cycle-alert.ts';
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
  const alert: Alert = {
    ...about(deps, input),
    dedupKey: incidentKey(input),
    severity: 'critical',
    title: `${input.line}: rollback of version ${String(input.version)} is not confirmed`,
    text: `Not every gateway has confirmed the rollback within ${String(input.deadlineMs / 1000)} s. The schedule is paused; the rollback goes on trying. Look at the routing processes (freshet status ${input.line}).`,
    fields: {
      version: input.version,
      ...(await whatIsWaitedFor(deps, input)),
      expected: `confirmed by all within ${String(input.deadlineMs / 1000)} s`,
    },
    incident: { action: 'open', key: incidentKey(input), stage: LATE_STAGE },
  };
  const results = await Promise.allSettled([
    enqueueAlert(deps.db, alert).catch(async (error: unknown) => {
      deps.logger.error({ err: error, alert }, 'the outbox can not be reached: paging directly');
      await deliverDirectly(deps, alert);
    }),
    pauseSchedule(deps.temporal, { line: input.line, note: alert.title }),
  ]);
  for (const result of results) {
    if (result.status === 'rejected')
      deps.logger.error({ err: result.reason as unknown, line: input.line }, 'reporting a late rollback failed');
  }
  if (results[0].status === 'rejected') throw results[0].reason;
}

/** Ends the incident of a late rollback, however it was paged. Repeating it changes nothing. */
export async function reportRollbackConfirmed(
  deps: RolloutDependencies,
  input: LateRollbackInput & { tookMs: number },
): Promise<void> {
  const { line, version, deadlineMs, tookMs } = input;
  await enqueueAlert(deps.db, {
    ...about(deps, input),
    dedupKey: `${incidentKey(input)}/confirmed`,
    severity: 'info',
    title: `Resolved: ${line}: rollback of version ${String(version)} is confirmed, late`,
    text: `Every gateway has left version ${String(version)}. The schedule stays paused: look at what kept the gateways, then resume it in Temporal.`,
    fields: {
      version,
      observed: `confirmed after ${String(Math.round(tookMs / 1000))} s`,
      expected: `within ${String(deadlineMs / 1000)} s`,
    },
    incident: { action: 'resolve', key: incidentKey(input) },
  });
}

function incidentKey({ cycleId }: LateRollbackInput): string {
  return `${cycleId}/late`;
}

function about(
  deps: RolloutDependencies,
  input: LateRollbackInput,
): Pick<Alert, 'page' | 'line' | 'kind'> & { url?: string } {
  const url = runUrl(deps.uiUrl, input);
  return { page: true, line: input.line, kind: 'lateRollback', ...(url === null ? {} : { url }) };
}

/** Who has not confirmed; nothing where that can not be read, which must not keep the page. */
async function whatIsWaitedFor(
  { db, serving }: RolloutDependencies,
  { cycleId, line }: LateRollbackInput,
): Promise<Pick<Alert['fields'], string>> {
  try {
    const [{ config }, route] = await Promise.all([readCycle(db, cycleId), currentRoute(db, line)]);
    const { epoch, stable } = route;
    const { waitingFor } = await serving.confirmation({ line, epoch, leaseMs: config.canary.lease });
    const names = waitingFor.map(({ name }) => name);
    return { stable, epoch, observed: `${String(names.length)} not confirmed: ${names.join(', ')}` };
  } catch {
    return {};
  }
}

async function deliverDirectly(deps: RolloutDependencies, alert: Alert): Promise<void> {
  const deliveries = await Promise.allSettled(deps.channels.map((channel) => channel.deliver(alert)));
  for (const delivery of deliveries) {
    if (delivery.status === 'rejected')
      deps.logger.error({ err: delivery.reason as unknown }, 'a channel did not take a page');
  }
  if (deliveries.every((delivery) => delivery.status === 'rejected')) {
    throw new Error(
      `no alert channel took the page "${alert.title}": check SLACK_WEBHOOK_URL and PAGERDUTY_ROUTING_KEY`,
    );
  }
}
