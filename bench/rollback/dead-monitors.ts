import { setTimeout as sleep } from 'node:timers/promises';
import type { LineConfigInput } from '../../config/schema.ts';
import { messageOf } from '../../scripts/stack/say.ts';
import type { CycleResult } from '../../workflows/messages.ts';
import type { Cycle, Installation } from './installation.ts';
import { answersAfterConfirmation, rollBack, type AnswersAfter, type Rollback } from './rollbacks.ts';
import type { Traffic } from './traffic.ts';

/** Production's durations, in ms: what the config's defaults are. */
const PRODUCTION = {
  window: 1_800_000,
  checkEvery: 60_000,
  maxUnknown: 300_000,
  lease: 100_000,
  rollbackDeadline: 180_000,
  bucket: 10_000,
  feedbackDelay: 120_000,
};

/** The ramp, the monitor, the lease and the deadline divided by `factor`. Polls, retries and timeouts stay as they are. */
export function scaledDown(factor: number): Pick<LineConfigInput, 'canary' | 'health'> {
  const ms = (duration: number): string => `${String(Math.round(duration / factor))}ms`;
  const { window, checkEvery, maxUnknown, lease, rollbackDeadline, bucket, feedbackDelay } = PRODUCTION;
  return {
    canary: {
      ...{ window: ms(window), checkEvery: ms(checkEvery), maxUnknown: ms(maxUnknown) },
      ...{ lease: ms(lease), rollbackDeadline: ms(rollbackDeadline) },
    },
    health: { bucket: ms(bucket), feedbackDelay: ms(feedbackDelay) },
  };
}

/** Something between a canary and its monitor that dies, right after the monitor has renewed the lease. */
interface Fault {
  name: string;
  /** Gateways can not read Postgres any more: it is worst right after they have read a renewal. */
  blindsGateways?: true;
  /** Only the last gateway loses its monitor; the others go on with the canary. */
  lastGatewayOnly?: true;
  inject(): Promise<void> | void;
  restore(): Promise<void> | void;
  /** An operator rolls back: at once, while it is dead, or after it came back. Left out: the cycle has to find out by itself. */
  rollsBack?: 'atOnce' | 'afterwards';
}

export interface FaultFigures {
  name: string;
  /** From its death to the last answer of a canary, times the factor. */
  stableSeconds: number;
  /** The same without the factor. */
  measuredSeconds: number;
  /** From an operator's rollback while it was dead to the confirmation, times the factor; null where nobody asked. */
  confirmedSeconds: number | null;
  /** From its return to the end of the cycle; real time. */
  recoveredSeconds: number;
  outcome: string;
  why: string;
  /** Of the cycle, in the outbox. */
  alerts: string[];
  stableServesAlone: boolean;
  failedRequests: number;
  /** After the cycle's rollback was confirmed. */
  after: AnswersAfter;
}

export function faultsOf({ servers, network }: Installation): Fault[] {
  const killed = (process: { signal(signal: NodeJS.Signals): void }): void => {
    process.signal('SIGKILL');
  };
  return [
    {
      name: 'Temporal killed',
      inject: () => {
        killed(servers.temporal);
      },
      restore: () => servers.restartTemporal(),
    },
    {
      name: 'rollout worker killed',
      inject: () => {
        killed(servers.worker);
      },
      restore: async () => {
        await servers.worker.exited;
        await servers.startWorker();
      },
    },
    {
      name: 'rollout worker hung',
      inject: () => {
        servers.worker.signal('SIGSTOP');
      },
      restore: () => {
        servers.worker.signal('SIGCONT');
      },
    },
    {
      name: 'Postgres killed',
      blindsGateways: true,
      inject: () => {
        killed(servers.postgres);
      },
      restore: () => servers.restartPostgres(),
    },
    {
      name: 'Postgres shut down',
      blindsGateways: true,
      inject: () => {
        servers.postgres.askToLeave();
      },
      restore: () => servers.restartPostgres(),
    },
    {
      name: "a gateway's network cut",
      blindsGateways: true,
      lastGatewayOnly: true,
      inject: () => {
        network.cut();
      },
      restore: () => {
        network.restore();
      },
      rollsBack: 'afterwards',
    },
    {
      name: "a gateway's network silent, rollback",
      blindsGateways: true,
      lastGatewayOnly: true,
      inject: () => {
        network.silence();
      },
      restore: () => {
        network.restore();
      },
      rollsBack: 'atOnce',
    },
  ];
}

export interface Trial {
  installation: Installation;
  traffic: Traffic;
  fault: Fault;
  factor: number;
}

/** A canary under load, its monitor's death at the worst moment, and what becomes of both. */
export async function tryFault(trial: Trial): Promise<FaultFigures> {
  const { installation, traffic, fault, factor } = trial;
  const cycle = await installation.startCanary(traffic);
  const { version } = cycle;
  await untilFresh(trial, cycle);
  const from = traffic.answers.length;

  const diedAtMs = Date.now();
  await fault.inject();
  const atOnce = fault.rollsBack === 'atOnce' ? rollBack(installation, cycle) : null;
  await untilCanaryIsOver(trial, { version, diedAtMs });
  const measuredSeconds = (lastCanaryAnswerMs(trial, version) - diedAtMs) / 1_000;
  const early = await atOnce;

  const restoredAtMs = Date.now();
  await fault.restore();
  await installation.untilPostgres();
  const late = fault.rollsBack === 'afterwards' ? await rollBack(installation, cycle) : null;
  const { outcome, why, rollback } = await endOf(installation, cycle);
  const recoveredSeconds = (Date.now() - restoredAtMs) / 1_000;
  const rolledBack: Rollback[] = [early ?? late].flatMap((one) => one ?? []);
  if (rolledBack.length === 0 && rollback !== null)
    rolledBack.push({ ...rollback, version, askedAtMs: rollback.decidedAtMs, writtenAtMs: NaN });
  // So that what came in late is counted.
  await sleep(1_000);
  const answers = traffic.answers.slice(from);
  return {
    name: fault.name,
    stableSeconds: measuredSeconds * factor,
    measuredSeconds,
    confirmedSeconds: early === null ? null : ((early.confirmedAtMs - early.askedAtMs) / 1_000) * factor,
    recoveredSeconds,
    outcome,
    why,
    alerts: await installation.alertsOf(cycle),
    stableServesAlone: await installation.stableServesAlone(),
    failedRequests: answers.filter(({ status }) => status !== '200').length,
    after: answersAfterConfirmation(answers, rolledBack),
  };
}

async function endOf(
  installation: Installation,
  cycle: Cycle,
): Promise<{ outcome: string; why: string; rollback: CycleResult['rollback'] }> {
  try {
    const { outcome, reasons, rollback } = await installation.resultOf(cycle);
    return { outcome, why: reasons[0]?.code ?? '', rollback };
  } catch (error) {
    const { cause } = error as Error;
    return { outcome: 'failed', why: cause instanceof Error ? cause.message : messageOf(error), rollback: null };
  }
}

/** The worst moment: a whole lease lies ahead, and a gateway that will not read another knows it. */
async function untilFresh({ installation, fault }: Trial, cycle: Cycle): Promise<void> {
  const last = installation.gateways.length - 1;
  await installation.untilRenewed(cycle);
  if (fault.blindsGateways === undefined) return;
  let before = await installation.leaseMsLeft(last);
  for (;;) {
    const now = await installation.leaseMsLeft(last);
    if (now > before) return;
    before = now;
    await sleep(10);
  }
}

/** Longer than any lease, and until no gateway that lost its monitor has answered by the canary for a while. */
async function untilCanaryIsOver(trial: Trial, of: { version: number; diedAtMs: number }): Promise<void> {
  const { factor } = trial;
  const leaseMs = PRODUCTION.lease / factor;
  const quietMs = 2_000;
  await sleep(leaseMs + quietMs);
  const givenUpAtMs = of.diedAtMs + (2 * PRODUCTION.rollbackDeadline) / factor;
  while (Date.now() - lastCanaryAnswerMs(trial, of.version) < quietMs && Date.now() < givenUpAtMs) await sleep(100);
}

function lastCanaryAnswerMs({ installation, traffic, fault }: Trial, version: number): number {
  const answers = traffic.canaryAnswers(version);
  if (fault.lastGatewayOnly === true && fault.rollsBack !== 'atOnce')
    return answers.get(installation.gateways.length - 1) ?? NaN;
  return Math.max(...answers.values());
}
