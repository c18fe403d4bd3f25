import { WorkflowNotFoundError } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readCycle } from '../../store/cycles.ts';
import { currentRoute } from '../../store/routes.ts';
import type { Route } from '../../store/types.ts';
import { readVersion } from '../../store/versions.ts';
import {
  abortSignal,
  approveUpdate,
  forceRollbackSignal,
  pauseSignal,
  rejectUpdate,
  resumeSignal,
  type CycleResult,
} from '../../workflows/messages.ts';
import { SignalsRig, type RunningCycle } from './signals-rig.ts';
import type { CycleHandle } from '../rig/installation.ts';
import { STAGES, type Stage } from './signals-stages.ts';
import { decide, walkAll, WALKED_PAIRS, type Findings } from './signals-walks.ts';

/** Cycles at once: more only make each other late on two cores. */
const LINES = 4;
vi.setConfig({ maxConcurrency: LINES, testTimeout: 120_000 });

/** From the signal to the confirmed rollback, by the times in the history. */
const ROLLBACK_LIMIT_MS = 5_000;

const ann = { who: 'ann', reason: 'the editors complain' };

let rig: SignalsRig;
let walks: Promise<Findings>;

beforeAll(async () => {
  rig = await SignalsRig.create(LINES);
  // Beside the others; what went wrong is told by the tests of its pairs.
  walks = walkAll(rig);
  walks.catch(() => undefined);
});

afterAll(async () => {
  await rig.close();
});

interface Stop {
  name: string;
  /** Which signal decides what comes of it. */
  signal: 'forceRollback' | 'abort';
  send: (handle: CycleHandle) => Promise<unknown>;
}

const ONCE: readonly Stop[] = [
  { name: 'forceRollback', signal: 'forceRollback', send: (handle) => handle.signal(forceRollbackSignal, ann) },
  { name: 'abort', signal: 'abort', send: (handle) => handle.signal(abortSignal, ann) },
];
const STOPS: readonly Stop[] = [
  ...ONCE,
  ...ONCE.map(({ name, signal, send }) => ({
    ...{ name: `${name} twice`, signal },
    send: (handle: CycleHandle) => Promise.all([send(handle), send(handle)]),
  })),
  {
    ...{ name: 'pause, then forceRollback', signal: 'forceRollback' },
    send: async (handle) => {
      await handle.signal(pauseSignal, ann);
      await handle.signal(forceRollbackSignal, ann);
    },
  },
];

const PAIRS = STAGES.flatMap((stage) =>
  (stage.again === true ? ONCE : STOPS).map((stop) => ({ title: `in ${stage.name}: ${stop.name}`, stage, stop })),
);

// Retried, because a machine that is busy with something else may be late once.
describe.concurrent('a cycle that is told to end', { retry: 1 }, () => {
  for (const { title, stage, stop } of PAIRS)
    it(title, () =>
      rig.onLine(async (line) => {
        const cycle = await rig.cycle(line, stage);
        await (stage.enter ?? defaultEnter)(cycle, stage);
        await cycle.until(({ phase }) => phase === stage.phase);
        await stop.send(cycle.handle);
        if (stage.waited === true) await cycle.goOn();
        const result = await cycle.result();
        // What hung when it was overtaken comes to nothing.
        await cycle.goOn();
        const { db } = rig.freshet;
        const route = await currentRoute(db, line);
        expect(route).toMatchObject({ stable: cycle.before.stable, canary: null, shadow: null, holdback: 0 });
        expect((await readCycle(db, result.cycleId)).outcome).toBe(result.outcome);
        if (stage.then === 'aborts') {
          expect(outcomeOf(result)).toEqual(['aborted', `operator.${stop.signal}`]);
          expect([route.epoch, result.rollback]).toEqual([cycle.before.epoch, null]);
          expect(await candidateStatus(result)).toBe('rejected');
        } else if (stage.then === 'rollsBack') {
          const outcome = stop.signal === 'abort' ? 'aborted' : 'rolledBack';
          expect(outcomeOf(result)).toEqual([outcome, `operator.${stop.signal}`]);
          expect(await candidateStatus(result)).toBe('rolledBack');
          await wasConfirmed(cycle, { result, route, signal: stop.signal });
        } else {
          expect(outcomeOf(result)).toEqual(stage.then.ignores);
        }
      }),
    );
});

async function defaultEnter(cycle: RunningCycle, { gate }: Stage): Promise<void> {
  if (gate !== undefined) await cycle.untilHeld();
}

const outcomeOf = ({ outcome, reasons }: CycleResult): unknown[] => [outcome, reasons[0]?.code];

/** What became of the cycle's version; of one that got as far as none, `rejected` is as good. */
async function candidateStatus({ cycleId, line }: CycleResult): Promise<string> {
  const { candidate } = await readCycle(rig.freshet.db, cycleId);
  if (candidate === null) return 'rejected';
  return (await readVersion(rig.freshet.db, { line, version: candidate })).status;
}

async function wasConfirmed(
  cycle: RunningCycle,
  { result, route, signal }: { result: CycleResult; route: Route; signal: string },
): Promise<void> {
  const { rollback } = result;
  expect(rollback?.epoch).toBe(route.epoch);
  expect(route.epoch).toBeGreaterThan(cycle.before.epoch);
  expect(rollback?.confirmedAtMs).toBeGreaterThanOrEqual(rollback?.decidedAtMs ?? Infinity);
  const ms = await cycle.signalToConfirmationMs(signal);
  expect(ms).toBeGreaterThan(0);
  expect(ms).toBeLessThanOrEqual(ROLLBACK_LIMIT_MS);
}

describe.concurrent('a version that waits for approval', () => {
  for (const [message, update, times] of [
    ['approve', approveUpdate, 1],
    ['approve twice', approveUpdate, 2],
    ['reject', rejectUpdate, 1],
    ['reject twice', rejectUpdate, 2],
  ] as const)
    it(`approval: ${message}`, () => decide(rig, { update, times }));
});

describe('a cycle that is told what does not end it', () => {
  for (const pair of WALKED_PAIRS)
    it(pair, async () => {
      const finding = (await walks).get(pair);
      if (finding === undefined) throw new Error('the walk did not get there');
      if (finding !== null) throw finding;
    });

  it('completed: every message is refused', async () => {
    const { handle } = await rig.onLine(async (line) => {
      const cycle = await rig.cycle(line, { config: { snapshot: { minRows: 1_000_000 } } });
      await cycle.result();
      return cycle;
    });
    const decision = { args: [{ version: 1, ...ann }] as [{ version: number; who: string; reason: string }] };
    const sent = [
      ...[pauseSignal, forceRollbackSignal, abortSignal].map((signal) => handle.signal(signal, ann)),
      handle.signal(resumeSignal, ann),
      ...[approveUpdate, rejectUpdate].map((update) => handle.executeUpdate(update, decision)),
    ];
    for (const answer of await Promise.allSettled<unknown>(sent))
      expect(answer).toMatchObject({ status: 'rejected', reason: expect.any(WorkflowNotFoundError) as Error });
  });
});

it('every execution is replayed without a difference', async () => {
  expect(rig.executions).toBeGreaterThan(PAIRS.length);
  expect(await rig.replayAll()).toEqual([]);
});
