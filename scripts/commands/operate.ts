import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, type WorkflowHandle, WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { type Command, InvalidArgumentError } from 'commander';
import { createGatewayTarget } from '../../integrations/gateway-target.ts';
import { resolveVersion } from '../../store/aliases.ts';
import { openCycle, readCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { readLine } from '../../store/lines.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { currentRoute } from '../../store/routes.ts';
import type { CycleRecord } from '../../store/types.ts';
import {
  abortSignal,
  approveUpdate,
  forceRollbackSignal,
  pauseSignal,
  rejectUpdate,
  resumeSignal,
} from '../../workflows/messages.ts';
import { messageOf } from '../stack/say.ts';
import type { Access } from './access.ts';
import { type CommandResult, defaultWho, runs } from './run-command.ts';

const SIGNAL_TIMEOUT_MS = 3_000;

const SIGNALS = [
  {
    name: 'pause',
    signal: pauseSignal,
    done: 'holds where it is; the monitor goes on',
    about: 'hold the running cycle where it is',
  },
  { name: 'resume', signal: resumeSignal, done: 'goes on', about: 'end a pause' },
  {
    name: 'abort',
    signal: abortSignal,
    done: 'ends as aborted',
    about: 'end the running cycle; a routed candidate is removed',
  },
] as const;

interface Signed {
  who: string;
  reason: string;
}

/** `pause`, `resume`, `abort`, `rollback`, `approve`, `reject`. */
export function registerOperatorCommands(program: Command): void {
  for (const { name, signal, done, about } of SIGNALS) {
    runs(signed(program.command(name).description(about).argument('<line>')), {
      example: `${name} news-feed --reason "checking the new slice first"`,
      work: async (access, line: string, { who, reason }: Signed) => {
        const { cycle, handle } = await runningCycle(await access.database(), await access.temporal(), line);
        await reaching(cycle, handle.signal(signal, { who, reason }));
        return {
          data: { line, cycle: cycle.cycleId, signal: name },
          text: `cycle ${cycle.cycleId} of ${line} ${done}`,
        };
      },
    });
  }

  runs(
    signed(
      program
        .command('rollback')
        .description('put the previous version back and wait until every gateway has it')
        .argument('<line>'),
    )
      .option('--to <version>', 'the version to go back to, by number or alias, instead of the one before')
      .option('--direct', 'write the route without asking the running cycle: works without Temporal'),
    {
      example: 'rollback news-feed --to 11 --reason "clicks fell after the last promotion"',
      work: async (access, line: string, { who, reason, to, direct }: Signed & { to?: string; direct?: boolean }) => {
        const db = await access.database();
        await readLine(db, line);
        const signed = { who, reason };
        const cycle = await openCycle(db, line);
        if (direct !== true && to === undefined && cycle !== null) {
          const temporal = await reachTemporal(access, line);
          return rollBackCycle(db, { cycle, temporal, signed });
        }
        const toVersion = to === undefined ? undefined : await resolveVersion(db, { line, version: to });
        const rolledBack = await rollBackDirectly(db, { line, toVersion, signed });
        // The cycle is closed; told so, it ends now and not at its next write.
        if (direct !== true && cycle !== null) await endRun(access, { cycle, signed });
        return rolledBack;
      },
    },
  );

  for (const [name, update, about] of [
    ['approve', approveUpdate, 'let the version that waits for approval go on to shadow'],
    ['reject', rejectUpdate, 'end the cycle that waits for approval as rejected'],
  ] as const) {
    const command = signed(program.command(name).description(about).argument('<line>'));
    runs(command.requiredOption('--version <number>', 'the version you looked at', versionNumber), {
      example: `${name} news-feed --version 12 --reason "looked at the slices"`,
      work: async (access, line: string, { who, reason, version }: Signed & { version: number }) => {
        const { cycle, handle } = await runningCycle(await access.database(), await access.temporal(), line);
        const answer = await reaching(cycle, handle.executeUpdate(update, { args: [{ version, who, reason }] }));
        return { data: { line, cycle: cycle.cycleId, version, answer }, text: answer };
      },
    });
  }
}

function signed(command: Command): Command {
  return command
    .requiredOption('--reason <text>', 'why; recorded')
    .option('--who <name>', 'who says so; recorded', defaultWho());
}

function versionNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('expected the number of a version, such as 12.');
  return Number(text);
}

async function runningCycle(
  db: Database,
  temporal: Client,
  line: string,
): Promise<{ cycle: CycleRecord; handle: WorkflowHandle }> {
  await readLine(db, line);
  const cycle = await openCycle(db, line);
  if (cycle === null) throw new Error(`no cycle of ${line} is running; "freshet status ${line}" shows the last ones`);
  return { cycle, handle: temporal.workflow.getHandle(cycle.workflowId, cycle.runId) };
}

/** @throws Error that says how to roll back without Temporal. */
async function reachTemporal(access: Access, line: string): Promise<Client> {
  return access.temporal().catch((error: unknown) => {
    throw new Error(`${messageOf(error)}. Without Temporal: freshet rollback ${line} --direct --reason "..."`);
  });
}

/** Best effort: the route is written, and the run's own writes are refused. */
async function endRun(access: Access, { cycle, signed }: { cycle: CycleRecord; signed: Signed }): Promise<void> {
  try {
    const temporal = await access.temporal();
    const handle = temporal.workflow.getHandle(cycle.workflowId, cycle.runId);
    await temporal.withDeadline(Date.now() + SIGNAL_TIMEOUT_MS, () => handle.signal(forceRollbackSignal, signed));
  } catch {
    // It finds out by itself.
  }
}

async function reaching<T>(cycle: CycleRecord, message: Promise<T>): Promise<T> {
  try {
    return await message;
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError && error.cause instanceof Error)
      throw new Error(`refused: ${error.cause.message}`);
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    throw new Error(
      `the run of cycle ${cycle.cycleId} is over although the cycle is open (it was terminated, or Temporal lost its data). ` +
        'The next cycle takes the line over and removes what it left routed; to remove a candidate now: ' +
        `freshet rollback ${cycle.line} --direct --reason "..."`,
    );
  }
}

async function rollBackCycle(
  db: Database,
  of: { cycle: CycleRecord; temporal: Client; signed: Signed },
): Promise<CommandResult> {
  const { cycle, temporal } = of;
  const { who, reason } = of.signed;
  const startedAt = Date.now();
  const handle = temporal.workflow.getHandle(cycle.workflowId, cycle.runId);
  await reaching(cycle, handle.signal(forceRollbackSignal, { who, reason }));
  const deadline = startedAt + cycle.config.canary.rollbackDeadline;
  let now = cycle;
  while (now.closedAt === null && Date.now() < deadline) {
    await sleep(200);
    now = await readCycle(db, cycle.cycleId);
  }
  if (now.closedAt === null) {
    throw new Error(
      `cycle ${cycle.cycleId} has not rolled back in time (is the rollout worker running?): ` +
        `"freshet rollback ${cycle.line} --direct --reason ..." does it without Temporal`,
    );
  }
  const route = await currentRoute(db, cycle.line);
  const confirmed = await untilConfirmed(db, {
    line: cycle.line,
    epoch: route.epoch,
    leaseMs: cycle.config.canary.lease,
    deadline,
  });
  return answer({
    line: cycle.line,
    stable: route.stable,
    epoch: route.epoch,
    outcome: now.outcome,
    cycle: cycle.cycleId,
    confirmed,
    startedAt,
  });
}

async function rollBackDirectly(
  db: Database,
  of: { line: string; toVersion: number | undefined; signed: Signed },
): Promise<CommandResult> {
  const { line, toVersion } = of;
  const { who, reason } = of.signed;
  const startedAt = Date.now();
  const { config } = await readLine(db, line);
  const key = `${line}/operator-rollback/${randomUUID()}`;
  const rolledBack = await operatorRollback(db, {
    line,
    ...(toVersion === undefined ? {} : { toVersion }),
    who,
    why: reason,
    effectKey: key,
    alert: {
      dedupKey: key,
      severity: 'warning',
      page: false,
      line,
      title: `${line} was rolled back by ${who}`,
      text: reason,
      fields: { who },
      kind: 'operatorRollback',
    },
  });
  const { route, from, closedCycle } = rolledBack;
  await createGatewayTarget(db).apply(route);
  const deadline = startedAt + config.canary.rollbackDeadline;
  const confirmed = await untilConfirmed(db, { line, epoch: route.epoch, leaseMs: config.canary.lease, deadline });
  return answer({ line, from, stable: route.stable, epoch: route.epoch, cycle: closedCycle, confirmed, startedAt });
}

/** Who has not reported the epoch when the deadline passes; empty when everyone has. */
async function untilConfirmed(
  db: Database,
  { deadline, ...of }: { line: string; epoch: number; leaseMs: number; deadline: number },
): Promise<string[]> {
  const target = createGatewayTarget(db);
  for (;;) {
    const { confirmed, waitingFor } = await target.confirmation(of);
    if (confirmed) return [];
    if (Date.now() > deadline) return waitingFor.map(({ name }) => name);
    await sleep(100);
  }
}

function answer(of: {
  line: string;
  from?: number;
  stable: number;
  epoch: number;
  outcome?: string | null;
  cycle: string | null;
  confirmed: string[];
  startedAt: number;
}): CommandResult {
  const { confirmed: waitingFor, startedAt, ...rest } = of;
  const tookMs = Date.now() - startedAt;
  const data = { ...rest, confirmed: waitingFor.length === 0, waitingFor, tookMs };
  const closed = of.cycle === null ? '' : `; cycle ${of.cycle} is closed`;
  const head = `${of.line} serves version ${of.stable} (epoch ${of.epoch})${closed}`;
  if (waitingFor.length === 0) return { data, text: `${head}; confirmed by every gateway after ${tookMs} ms` };
  return { data, text: `${head}; NOT confirmed by ${waitingFor.join(', ')}`, ok: false };
}
