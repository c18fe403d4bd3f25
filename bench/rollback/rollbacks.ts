import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../data/evaluation/random.ts';
import { forceRollbackSignal } from '../../workflows/messages.ts';
import type { Cycle, Installation } from './installation.ts';
import type { Answer, Traffic } from './traffic.ts';

/** One rollback; times in Unix ms. */
export interface Rollback {
  version: number;
  /** Of the route that it wrote. */
  epoch: number;
  /** When the operator's client sent the signal: the decision. */
  askedAtMs: number;
  /** When the workflow heard it. */
  decidedAtMs: number;
  writtenAtMs: number;
  /** When the workflow's activity knew that every gateway had reported the epoch. */
  confirmedAtMs: number;
}

/** Canaries go on for between these before they are rolled back, so that polls and checks are met at any phase. */
const CANARY_MS = { min: 200, max: 1_200 };

/** Whole cycles, one after the other, each rolled back by an operator's signal while its canary answers half of the traffic. */
export async function rollBackMany(
  installation: Installation,
  { traffic, count, seed, say }: { traffic: Traffic; count: number; seed: number; say: (line: string) => void },
): Promise<Rollback[]> {
  const random = seededRandom(seed);
  const rollbacks: Rollback[] = [];
  for (let index = 1; index <= count; index++) {
    const cycle = await installation.startCanary(traffic);
    await sleep(CANARY_MS.min + random() * (CANARY_MS.max - CANARY_MS.min));
    rollbacks.push(await rollBack(installation, cycle));
    if (index % 20 === 0) say(`${String(index)} of ${String(count)} rollbacks`);
  }
  return rollbacks;
}

export async function rollBack(installation: Installation, cycle: Cycle): Promise<Rollback> {
  const askedAtMs = Date.now();
  await cycle.handle.signal(forceRollbackSignal, { who: 'bench', reason: 'rolled back by the benchmark' });
  const { version, rollback, outcome, reasons } = await installation.resultOf(cycle);
  if (rollback === null || version === null || outcome !== 'rolledBack')
    throw new Error(`a cycle was to be rolled back and ended ${outcome}: ${JSON.stringify(reasons)}`);
  const { epoch, decidedAtMs, confirmedAtMs } = rollback;
  const writtenAtMs = await installation.writtenAtMs(epoch);
  return { version, epoch, askedAtMs, decidedAtMs, writtenAtMs, confirmedAtMs };
}

export interface AnswersAfter {
  /** By a canary whose rollback was confirmed when the answer was seen. */
  canary: number;
  /** Of these, those that can not have come in before the confirmation, and those that were asked for after it. */
  canaryForSure: number;
  canaryAskedAfter: number;
  /** By any arm, routed by a route from before the last confirmed rollback. */
  earlierRoute: number;
}

/** What came in after confirmations that should not have. */
export function answersAfterConfirmation(answers: readonly Answer[], rollbacks: readonly Rollback[]): AnswersAfter {
  const confirmedAtMs = new Map(rollbacks.map((rollback) => [rollback.version, rollback.confirmedAtMs]));
  const inTime = [...rollbacks].sort((a, b) => a.confirmedAtMs - b.confirmedAtMs);
  const after: AnswersAfter = { canary: 0, canaryForSure: 0, canaryAskedAfter: 0, earlierRoute: 0 };
  for (const { status, arm, version, epoch, sentAtMs, notBeforeMs, receivedAtMs } of answers) {
    if (status !== '200') continue;
    const confirmed = (arm === 'canary' ? confirmedAtMs.get(version) : undefined) ?? Infinity;
    if (receivedAtMs > confirmed) after.canary += 1;
    if (notBeforeMs > confirmed) after.canaryForSure += 1;
    if (sentAtMs > confirmed) after.canaryAskedAfter += 1;
    const last = inTime.findLast((rollback) => rollback.confirmedAtMs < receivedAtMs);
    if (last !== undefined && epoch < last.epoch) after.earlierRoute += 1;
  }
  return after;
}

/** Times of many rollbacks, in ms. */
export interface RollbackFigures {
  count: number;
  /** From the operator's signal until every gateway has confirmed. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  /** The same from when the workflow had decided. */
  workflowP50Ms: number;
  workflowP99Ms: number;
  /** Where the time goes: until the new route is written, until the last answer of the canary, until it is confirmed. */
  writtenP50Ms: number;
  lastCanaryAnswerP50Ms: number;
  lastCanaryAnswerP99Ms: number;
  routeToConfirmedP50Ms: number;
  routeToConfirmedP99Ms: number;
}

export function figuresOf(rollbacks: readonly Rollback[], traffic: Traffic): RollbackFigures {
  const quantile = (share: number, value: (rollback: Rollback) => number): number => {
    const sorted = rollbacks.map(value).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  };
  const whole = ({ askedAtMs, confirmedAtMs }: Rollback): number => confirmedAtMs - askedAtMs;
  const workflow = ({ decidedAtMs, confirmedAtMs }: Rollback): number => confirmedAtMs - decidedAtMs;
  const route = ({ writtenAtMs, confirmedAtMs }: Rollback): number => confirmedAtMs - writtenAtMs;
  const canary = ({ version, askedAtMs }: Rollback): number =>
    Math.max(...traffic.canaryAnswers(version).values()) - askedAtMs;
  return {
    count: rollbacks.length,
    p50Ms: quantile(0.5, whole),
    p99Ms: quantile(0.99, whole),
    maxMs: quantile(1, whole),
    workflowP50Ms: quantile(0.5, workflow),
    workflowP99Ms: quantile(0.99, workflow),
    writtenP50Ms: quantile(0.5, ({ askedAtMs, writtenAtMs }) => writtenAtMs - askedAtMs),
    lastCanaryAnswerP50Ms: quantile(0.5, canary),
    lastCanaryAnswerP99Ms: quantile(0.99, canary),
    routeToConfirmedP50Ms: quantile(0.5, route),
    routeToConfirmedP99Ms: quantile(0.99, route),
  };
}

/**
 * The usual way back where the model is part of the deployment: the gateways are stopped and started again, one after the
 * other, each waited for. Without traffic, whose failures would be the load balancer's.
 *
 * @returns ms of each round over all gateways.
 */
export async function restartAll(installation: Installation, rounds: number): Promise<number[]> {
  const took: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const startedAtMs = performance.now();
    for (const [index, gateway] of installation.gateways.entries()) {
      await gateway.stop();
      await installation.startGateway(index);
    }
    took.push(performance.now() - startedAtMs);
  }
  return took;
}
