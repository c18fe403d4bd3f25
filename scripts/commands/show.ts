import { type Client, ScheduleNotFoundError } from '@temporalio/client';
import type { Command } from 'commander';
import { readTriggers } from '../../activities/read-triggers.ts';
import { scheduleId } from '../../config/names.ts';
import { decideTriggers, type TriggerDecision } from '../../policy/triggers.ts';
import { listCycles, openCycle } from '../../store/cycles.ts';
import { undeliveredAlerts, type UndeliveredAlerts } from '../../store/deliveries.ts';
import { type Incident, openIncidents } from '../../store/incidents.ts';
import { readLine } from '../../store/lines.ts';
import { currentRoute } from '../../store/routes.ts';
import type { CycleRecord, Route } from '../../store/types.ts';
import { type CycleStatus, statusQuery } from '../../workflows/messages.ts';
import { describeGate, describeWait } from '../../workflows/gate-summary.ts';
import { describeTraining } from '../../workflows/training-summary.ts';
import { describeRoute } from '../registry/describe-route.ts';
import { messageOf } from '../stack/say.ts';
import type { Access } from './access.ts';
import { runs, table, time } from './run-command.ts';
import { undeliveredInWords } from './undelivered-alerts.ts';

/** A worker that does not answer must not keep an operator waiting. */
const QUERY_TIMEOUT_MS = 5_000;

interface ScheduleState {
  nextAt: string | null;
  paused: boolean;
  note: string | null;
}

/** What Temporal adds to what Postgres knows; `problem` says why it could not be asked. */
interface TemporalView {
  schedule: ScheduleState | null;
  cycle: CycleStatus | null;
  /** What the triggers would decide now; null where they could not be looked at. */
  triggers: TriggerDecision | null;
  problem: string | null;
}

/** `status`. */
export function registerShowCommands(program: Command): void {
  runs(
    program
      .command('status')
      .description('what serves, what the running cycle does, how the last ones ended')
      .argument('<line>')
      .option('--cycles <n>', 'how many of the last cycles to list', Number, 5),
    {
      example: 'status news-feed',
      work: async (access, line: string, { cycles: limit }: { cycles: number }) => {
        const db = await access.database();
        const record = await readLine(db, line);
        const [route, open, cycles, incidents, undelivered] = await Promise.all([
          currentRoute(db, line),
          openCycle(db, line),
          listCycles(db, { line, limit }),
          openIncidents(db, line),
          undeliveredAlerts(db, { line }),
        ]);
        const temporal = await askTemporal(access, { line, open });
        const data = {
          line,
          appliedAt: record.appliedAt,
          appliedBy: record.appliedBy,
          route,
          cycle:
            open === null
              ? null
              : { cycleId: open.cycleId, workflowId: open.workflowId, runId: open.runId, phases: open.phases },
          temporal,
          cycles: cycles.map(({ config: _config, ...cycle }) => cycle),
          incidents,
          alerts: undelivered,
        };
        return { data, text: describeStatus({ route, open, cycles, temporal, incidents, undelivered }) };
      },
    },
  );
}

async function askTemporal(
  access: Access,
  { line, open }: { line: string; open: CycleRecord | null },
): Promise<TemporalView> {
  try {
    const client = await access.temporal();
    const schedule = await scheduleState(client, line);
    const triggers = decideTriggers(await readTriggers({ db: await access.database(), temporal: client }, { line }));
    if (open === null) return { schedule, cycle: null, triggers, problem: null };
    try {
      const handle = client.workflow.getHandle(open.workflowId, open.runId);
      const cycle = await client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () => handle.query(statusQuery));
      return { schedule, cycle, triggers, problem: null };
    } catch (error) {
      return { schedule, cycle: null, triggers, problem: `the running cycle does not answer: ${messageOf(error)}` };
    }
  } catch (error) {
    return { schedule: null, cycle: null, triggers: null, problem: messageOf(error) };
  }
}

async function scheduleState(client: Client, line: string): Promise<ScheduleState | null> {
  try {
    const { state, info } = await client.schedule.getHandle(scheduleId(line)).describe();
    return { nextAt: info.nextActionTimes[0]?.toISOString() ?? null, paused: state.paused, note: state.note ?? null };
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

function describeStatus(of: {
  route: Route;
  open: CycleRecord | null;
  cycles: CycleRecord[];
  temporal: TemporalView;
  incidents: Incident[];
  undelivered: UndeliveredAlerts;
}): string {
  const { route, open, cycles, temporal, incidents, undelivered } = of;
  const lines = [
    `serving   ${describeRoute(route)}`,
    `since     ${time(route.at)}, by ${route.who}: ${route.why}`,
    `cycle     ${open === null ? 'none is running' : describeOpen(open, temporal.cycle)}`,
    ...(temporal.cycle?.training == null ? [] : [`training  ${describeTraining(temporal.cycle.training)}`]),
    ...(temporal.cycle?.gate == null ? [] : [`gate      ${describeGate(temporal.cycle.gate)}`]),
    ...(temporal.cycle?.waitingForRows == null ? [] : [`waits     ${describeWait(temporal.cycle.waitingForRows)}`]),
    `schedule  ${describeSchedule(temporal)}`,
    ...describeTriggers(temporal.triggers),
    ...incidents.map(({ title, openedAt }) => `incident  ${title}, since ${time(openedAt)}`),
    ...undeliveredInWords(undelivered).map((problem) => `alerts    ${problem}`),
  ];
  if (temporal.problem !== null) lines.push(`note      ${temporal.problem}`);
  const ended = cycles.filter((cycle) => cycle.closedAt !== null);
  if (ended.length > 0) {
    const rows = ended.map((cycle) => [
      time(cycle.startedAt),
      cycle.outcome ?? '',
      cycle.candidate === null ? '-' : `version ${cycle.candidate}`,
      startedBy(cycle),
      cycle.reasons[0]?.message ?? '',
    ]);
    lines.push('', table([['started', 'outcome', 'candidate', 'started by', 'reason'], ...rows]));
  }
  return lines.join('\n');
}

function describeOpen(open: CycleRecord, status: CycleStatus | null): string {
  const phase = status?.phase ?? open.phases.at(-1)?.phase ?? 'begin';
  const candidate = status?.version ?? open.candidate;
  const parts = [`${open.cycleId}: ${phase}`, `started by ${open.trigger}`];
  if (candidate !== null) parts.push(`version ${candidate}`);
  if (status?.paused) parts.push(`paused by ${status.paused.who} (${status.paused.reason})`);
  if (status?.waitingForApproval) {
    parts.push(
      `waits for approval of version ${status.waitingForApproval.version} until ${time(status.waitingForApproval.until)}`,
    );
  }
  if (status !== null && status.checks.total > 0)
    parts.push(`${status.checks.total} checks, the last: ${status.checks.last?.status ?? '?'}`);
  return parts.join(', ');
}

/** The kind of trigger; the running cycle's line has the whole reason. */
function startedBy({ trigger }: CycleRecord): string {
  return trigger.split(':', 1)[0] ?? '';
}

function describeTriggers(decision: TriggerDecision | null): string[] {
  if (decision === null) return [];
  if (decision.findings.length === 0) return ['triggers  none is on'];
  const held = decision.kind === 'wait' && decision.held !== null ? [`held: ${decision.held.message}`] : [];
  const lines = decision.findings.map(({ trigger, reason }) => `${trigger}: ${reason.message}`);
  return [...lines, ...held].map((line, index) => (index === 0 ? 'triggers' : '').padEnd(10) + line);
}

function describeSchedule({ schedule, problem }: TemporalView): string {
  if (schedule === null) return problem === null ? 'none; run "freshet schedule apply FILE"' : 'unknown';
  if (schedule.paused) return `paused: ${schedule.note ?? 'no reason given'}`;
  return schedule.nextAt === null ? 'no next cycle' : `next cycle at ${time(schedule.nextAt)}`;
}
