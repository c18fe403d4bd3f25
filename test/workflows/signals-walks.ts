import type { WorkflowUpdateFailedError } from '@temporalio/client';
import { expect } from 'vitest';
import {
  abortSignal,
  approveUpdate,
  forceRollbackSignal,
  pauseSignal,
  rejectUpdate,
  resumeSignal,
  type Phase,
} from '../../workflows/messages.ts';
import { fixtureTrainer } from '../rig/installation.ts';
import type { Config, RunningCycle, SignalsRig } from './signals-rig.ts';

const ann = { who: 'ann', reason: 'let me look' };
const bob = { who: 'bob', reason: 'me too' };

/** What ends no cycle. */
export const QUIET_MESSAGES = [
  ...['resume', 'resume twice', 'pause', 'pause twice', 'pause, then resume'],
  ...['approve', 'approve twice', 'approve another version', 'reject', 'reject twice'],
] as const;
type QuietMessage = (typeof QUIET_MESSAGES)[number];

/** By place and message: what was not as it should be; null when all was. */
export type Findings = Map<string, Error | null>;

export const pairOf = (place: string, message: string): string => `${place}: ${message}`;

/** One cycle on its way through its phases, told in each what must not end it. */
class Walk {
  readonly cycle: RunningCycle;
  readonly #findings: Findings;

  constructor(cycle: RunningCycle, findings: Findings) {
    this.cycle = cycle;
    this.#findings = findings;
  }

  /** Also after something was wrong the walk goes on. */
  async pair(place: string, message: QuietMessage, check: () => Promise<unknown>): Promise<void> {
    let finding: Error | null = null;
    try {
      await check();
    } catch (error) {
      finding = error instanceof Error ? error : new Error(String(error));
    }
    this.#findings.set(pairOf(place, message), finding);
  }

  /** A resume without a pause, and decisions that nobody asked for. */
  async ignores(phase: Phase, place: string = phase): Promise<void> {
    const { handle } = this.cycle;
    for (const [message, whos] of [
      ['resume', [ann]],
      ['resume twice', [ann, bob]],
    ] as const) {
      await this.pair(place, message, async () => {
        await Promise.all(whos.map((who) => handle.signal(resumeSignal, who)));
        expect(await this.cycle.status()).toMatchObject({ phase, paused: null });
      });
    }
    await this.refuses(phase, place);
  }

  async refuses(phase: Phase, place: string = phase): Promise<void> {
    const version = (await this.cycle.status()).version ?? 1;
    for (const [message, update, named, times] of [
      ['approve', approveUpdate, version, 1],
      ['approve twice', approveUpdate, version, 2],
      ['approve another version', approveUpdate, version + 1, 1],
      ['reject', rejectUpdate, version, 1],
      ['reject twice', rejectUpdate, version, 2],
    ] as const) {
      await this.pair(place, message, async () => {
        const asked = Array.from({ length: times }, () => this.decides(update, named));
        for (const answer of await Promise.all(asked)) expect(answer).toMatch(/^refused: /);
        expect((await this.cycle.status()).phase).toBe(phase);
      });
    }
  }

  /** What the cycle answers to a decision on a version, taken or refused. */
  decides(update: typeof approveUpdate, version: number): Promise<string> {
    return this.cycle.handle
      .executeUpdate(update, { args: [{ version, ...ann }] })
      .catch((error: unknown) => String((error as WorkflowUpdateFailedError).cause?.message));
  }

  /** A pause, a second one, and its end; `then` lets what runs come to its end and tells how to see what came of it. */
  async pauses(
    place: string,
    then: { go: () => Promise<void>; holds: () => Promise<unknown>; next: () => Promise<unknown> },
  ): Promise<void> {
    const { cycle } = this;
    await this.pair(place, 'pause', async () => {
      await cycle.handle.signal(pauseSignal, ann);
      expect((await cycle.status()).paused).toMatchObject(ann);
      await then.go();
      await then.holds();
    });
    await this.pair(place, 'pause twice', async () => {
      await cycle.handle.signal(pauseSignal, bob);
      expect((await cycle.status()).paused).toMatchObject(ann);
      await then.holds();
    });
    await this.pair(place, 'pause, then resume', async () => {
      await cycle.handle.signal(resumeSignal, ann);
      expect((await cycle.status()).paused).toBeNull();
      await then.next();
    });
  }

  /** The phase, and that no activity of a next one was begun. */
  async stays(phase: Phase): Promise<void> {
    expect((await this.cycle.settled(phase)).phase).toBe(phase);
  }

  /** The phase, while checks go on. */
  async staysUnderChecks(phase: Phase): Promise<void> {
    const { checks } = await this.cycle.status();
    const later = await this.cycle.until((status) => status.checks.total >= checks.total + 3 || status.phase !== phase);
    expect(later.phase).toBe(phase);
  }
}

interface Walkway {
  rig: SignalsRig;
  line: string;
  findings: Findings;
}

/** Every walk, on one line: its first version, one that is rolled back, one that a person decides on, one that is promoted. */
export async function walkAll(rig: SignalsRig): Promise<Findings> {
  const findings: Findings = new Map();
  for (const walk of [walkFirstVersion, walkThroughRollback, walkToApproval, walkToPromotion])
    await walk({ rig, line: rig.ownLine, findings });
  return findings;
}

const ALL = [
  ...['begin', 'snapshot', 'check', 'train', 'parity', 'evaluate', 'extend', 'register'],
  ...['shadow', 'canary', 'promote', 'watch', 'rollback', 'closed'],
];
const pairs = (places: readonly string[], which: (message: QuietMessage) => boolean): string[] =>
  places.flatMap((place) => QUIET_MESSAGES.filter(which).map((message) => pairOf(place, message)));

/** What the walks tell their cycles, and where. */
export const WALKED_PAIRS: readonly string[] = [
  ...pairs(ALL, () => true),
  // Only a pause makes the gate last, and its end ends the gate.
  ...pairs(['gate'], (message) => !/resume|^pause$/.test(message)),
  // The others end the wait: see `decide`.
  ...pairs(['approval'], (message) => !/^approve$|^reject/.test(message)),
  ...pairs(['register, of a first version'], (message) => message.startsWith('pause')),
];

/** Phases whose only activity is held, each with the next phase's. */
const PREPARATION: readonly [Phase, string][] = [
  ['begin', 'takeSnapshot'],
  ['snapshot', 'checkSnapshot'],
  ['check', 'trainChallenger'],
  ['train', 'checkParity'],
  ['parity', 'evaluateChallenger'],
  ['evaluate', 'registerVersion'],
  ['register', 'setRoute'],
];

/** From the beginning to the end of a promoted cycle, with nobody to approve it. */
async function walkToPromotion({ rig, line, findings }: Walkway): Promise<void> {
  const cycle = await rig.cycle(line, { gate: ['beginCycle'], traffic: true, anew: true });
  const walk = new Walk(cycle, findings);
  const next = (): Promise<void> => cycle.untilHeld();
  await next();
  for (const [phase, activity] of PREPARATION) {
    await walk.ignores(phase);
    await walk.pauses(phase, {
      go: () => cycle.goOn(activity),
      holds: () => (phase === 'evaluate' ? gate(walk) : walk.stays(phase)),
      next,
    });
  }
  for (const [phase, activity] of [
    ['shadow', 'checkHealth'],
    ['canary', 'promote'],
  ] as const) {
    await walk.ignores(phase);
    await walk.pauses(phase, { go: () => cycle.goOn(activity), holds: () => walk.staysUnderChecks(phase), next });
  }
  await walk.ignores('promote');
  // It can not be held half-way: the watch after it is.
  const watches = (): Promise<unknown> => cycle.until(({ phase }) => phase === 'watch');
  await walk.pauses('promote', { go: () => cycle.goOn('checkHealth'), holds: watches, next });
  await walk.ignores('watch');
  await walk.pauses('watch', { go: () => cycle.goOn('settle'), holds: () => walk.staysUnderChecks('watch'), next });
  await cycle.goOn('savePhases');
  await next();
  await walk.ignores('closed');
  await endsPaused(walk, 'closed', 'promoted');
}

/** It follows its evaluation without a moment in between, unless a pause holds it there. */
async function gate(walk: Walk): Promise<void> {
  await walk.stays('gate');
  await walk.refuses('gate');
  await walk.pair('gate', 'pause twice', async () => {
    await walk.cycle.handle.signal(pauseSignal, bob);
    await walk.stays('gate');
  });
}

const ASKING: Config = {
  training: { command: fixtureTrainer('rising') },
  gate: { tolerance: 0.03, onInconclusive: 'extend', extend: { every: '1ms', times: 1, then: 'ask' } },
  silences: [{ guard: 'shadow.divergence', until: '2999-01-01T00:00:00Z', reason: 'test: of two models' }],
};

/** Through the phases of a challenger that the gate can not decide on. */
async function walkToApproval({ rig, line, findings }: Walkway): Promise<void> {
  const cycle = await rig.cycle(line, { gate: ['evaluateChallenger'], config: ASKING, anew: true });
  const walk = new Walk(cycle, findings);
  await cycle.untilHeld();
  await cycle.goOn('extendHoldout');
  await cycle.untilHeld();
  await walk.ignores('extend');
  await walk.pauses('extend', {
    go: () => cycle.goOn('registerVersion'),
    holds: () => walk.stays('extend'),
    next: () => cycle.untilHeld(),
  });
  await cycle.goOn('setRoute');
  const { version } = await cycle.until((status) => status.waitingForApproval !== null);
  await approval(walk, version ?? -1);
  await cycle.handle.signal(abortSignal, ann);
  await cycle.goOn();
  await cycle.result();
}

async function approval(walk: Walk, version: number): Promise<void> {
  const { cycle } = walk;
  const { handle } = cycle;
  const waits = async (): Promise<void> => {
    expect(await cycle.status()).toMatchObject({ phase: 'approval', waitingForApproval: { version } });
  };
  await walk.pair('approval', 'resume', async () => {
    await handle.signal(resumeSignal, ann);
    await waits();
  });
  await walk.pair('approval', 'resume twice', async () => {
    await Promise.all([handle.signal(resumeSignal, ann), handle.signal(resumeSignal, bob)]);
    await waits();
  });
  await walk.pair('approval', 'approve another version', async () => {
    expect(await walk.decides(approveUpdate, version + 1)).toMatch(/waits for approval, not/);
    await waits();
  });
  await walk.pauses('approval', {
    // What was decided is kept; nothing is routed before the pause ends.
    go: () =>
      walk.pair('approval', 'approve twice', async () => {
        if ((await cycle.status()).waitingForApproval === null) return;
        const answers = await Promise.all([walk.decides(approveUpdate, version), walk.decides(approveUpdate, version)]);
        expect(answers.toSorted()).toEqual([expect.stringMatching(/^refused/), expect.stringMatching(/^version/)]);
      }),
    holds: () => walk.stays('approval'),
    next: () => cycle.untilHeld(),
  });
}

/** A decision on a version that waits, once or twice. */
export async function decide(
  rig: SignalsRig,
  { update, times }: { update: typeof approveUpdate; times: number },
): Promise<void> {
  await rig.onLine(async (line) => {
    const cycle = await rig.cycle(line, { gate: ['setRoute'], config: { gate: { approval: 'always' } } });
    const walk = new Walk(cycle, new Map());
    const { version } = await cycle.until((status) => status.waitingForApproval !== null);
    const answers = await Promise.all(Array.from({ length: times }, () => walk.decides(update, version ?? -1)));
    expect(answers.filter((answer) => answer.startsWith('version'))).toHaveLength(1);
    expect(answers.filter((answer) => answer.startsWith('refused'))).toHaveLength(times - 1);
    if (update === rejectUpdate) {
      const { outcome, reasons } = await cycle.result();
      expect([outcome, reasons[0]?.code]).toEqual(['rejected', 'approval.rejected']);
      return;
    }
    await cycle.untilHeld();
    expect((await cycle.status()).phase).toBe('shadow');
    await cycle.handle.signal(abortSignal, ann);
    await cycle.goOn();
    await cycle.result();
  });
}

/** A rollback is held by nothing, nor is a cycle that is closed. */
async function walkThroughRollback({ rig, line, findings }: Walkway): Promise<void> {
  const cycle = await rig.cycle(line, { gate: ['readShadow'] });
  const walk = new Walk(cycle, findings);
  await cycle.untilHeld();
  await cycle.goOn('rollback');
  await cycle.handle.signal(forceRollbackSignal, ann);
  await cycle.untilHeld();
  await walk.ignores('rollback');
  await endsPaused(walk, 'rollback', 'rolledBack');
}

/** A paused cycle that can not be held any more ends as it would have without the pause. */
async function endsPaused(walk: Walk, place: Phase, outcome: string): Promise<void> {
  const { cycle } = walk;
  const holds = async (): Promise<void> => {
    expect(await cycle.status()).toMatchObject({ phase: place, paused: ann });
  };
  await walk.pauses(place, { go: () => Promise.resolve(), holds, next: () => Promise.resolve() });
  await cycle.handle.signal(pauseSignal, bob);
  await cycle.goOn();
  await walk.pair(place, 'pause, then resume', async () => {
    expect((await cycle.result()).outcome).toBe(outcome);
  });
}

/** A first version, which nothing but the pause keeps from becoming stable. */
async function walkFirstVersion({ rig, line, findings }: Walkway): Promise<void> {
  const cycle = await rig.firstCycle(line, { gate: ['registerVersion', 'after'] });
  const walk = new Walk(cycle, findings);
  await cycle.untilHeld();
  await walk.pauses('register, of a first version', {
    go: () => cycle.goOn('promote'),
    holds: () => walk.stays('register'),
    next: () => cycle.untilHeld(),
  });
  await cycle.goOn();
  await cycle.result();
}
