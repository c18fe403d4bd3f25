import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from '@temporalio/worker';
import type { LineConfigInput } from '../../config/schema.ts';
import { currentRoute } from '../../store/routes.ts';
import { INPUT_ORDER_VERSION, type Route } from '../../store/types.ts';
import { statusQuery, type CycleResult, type CycleStatus, type Phase } from '../../workflows/messages.ts';
import { ActivityGates, type ActivityGate, type GateSide } from '../rig/activity-gates.ts';
import { fixtureTrainer, PREPARATION, type CycleHandle } from '../rig/installation.ts';
import { startTraffic } from '../rig/traffic.ts';
import { replayOptions } from '../rig/workflow-bundle.ts';
import { createGateInstallation, type GateInstallation } from './gate-rig.ts';

export type Config = Partial<LineConfigInput>;

const POLL_MS = 50;
const TRAFFIC_EVERY_MS = 40;
/** On the hours before it the first version learns, on those after it no version is better than another. */
const [FIRST_HOUR, HOUR] = [4.5, 6.5];

/** A cycle of seconds whose challenger ranks as its champion does. */
const QUICK: Config = {
  training: { command: fixtureTrainer('falling') },
  evaluation: { latencyCandidates: [] },
  gate: { tolerance: 1, thresholds: [], calibration: null, replicates: 200 },
  shadow: { duration: '200ms', minRequests: 1, maxLatencyRatio: 1_000, maxScoreShift: 1 },
  canary: {
    ...{ steps: [50], window: '200ms', checkEvery: '200ms', holdback: 0.25 },
    ...{ lease: '50s', rollbackDeadline: '60s' },
  },
  watch: { window: '200ms' },
  health: {
    bucket: '100ms',
    feedbackDelay: '1ms',
    minImpressions: 1,
    maxErrorRate: 1,
    quality: ['logLoss'],
    z: 1_000,
    maxLatency: '9s',
  },
};

export interface CycleOptions {
  config?: Config;
  /** The activity at which the cycle stops. */
  gate?: readonly [activity: string, side?: GateSide];
  /** With live requests, without which no candidate gets beyond the shadow. */
  traffic?: boolean;
  /** What comes before the gate is done anew, and not taken from an earlier cycle of the line. */
  anew?: boolean;
}

/** Lines on one installation, whose cycles stop where they are told to. */
export class SignalsRig {
  readonly freshet: GateInstallation;
  readonly #gates: ActivityGates;
  readonly #free: string[];
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #started: CycleHandle[] = [];
  readonly #current = new Map<string, RunningCycle>();

  private constructor(of: { freshet: GateInstallation; gates: ActivityGates; lines: number }) {
    this.freshet = of.freshet;
    this.#gates = of.gates;
    this.#free = Array.from({ length: of.lines }, (_, index) => `${of.freshet.line}-${String(index)}`);
  }

  /** @param lines how many cycles run at once. */
  static async create(lines: number): Promise<SignalsRig> {
    const gates = new ActivityGates();
    const freshet = await createGateInstallation({
      // An activity that is held takes a place.
      workers: { interceptors: { activity: [gates.interceptor] }, maxConcurrentActivityTaskExecutions: 4 * lines },
    });
    await freshet.traffic.stop();
    return new SignalsRig({ freshet, gates, lines });
  }

  /** Runs work on a line that nothing else uses meanwhile. */
  async onLine<T>(work: (line: string) => Promise<T>): Promise<T> {
    const line = this.#free.shift() ?? (await new Promise<string>((resolve) => this.#waiting.push(resolve)));
    try {
      return await work(line);
    } catch (error) {
      // Or the next cycle finds the line taken.
      await this.#current.get(line)?.cancel();
      throw error;
    } finally {
      this.#gates.clear(line);
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(line);
      else next(line);
    }
  }

  /** A line of its own: for cycles that leave it without rows to train on. */
  get ownLine(): string {
    return `${this.freshet.line}-own`;
  }

  /** The line's first cycle, which has no champion to be compared with. */
  firstCycle(line: string, { config = {}, ...options }: CycleOptions = {}): Promise<RunningCycle> {
    const gate = { thresholds: [{ metric: 'auc' as const, min: 0.55 }] };
    return this.#start(line, FIRST_HOUR, { ...options, config: over(config, { gate }) });
  }

  /** A cycle with a champion; the first on a line comes after one that makes it. */
  async cycle(line: string, options: CycleOptions = {}): Promise<RunningCycle> {
    const { db } = this.freshet;
    await this.freshet.configure({}, line);
    if ((await currentRoute(db, line)).stable === INPUT_ORDER_VERSION) {
      const first = await this.firstCycle(line);
      const { outcome, reasons } = await first.result();
      if (outcome !== 'promoted') throw new Error(`the first cycle ended ${outcome}: ${JSON.stringify(reasons)}`);
    }
    return this.#start(line, HOUR, options);
  }

  /** Replays every execution on today's code; what is not deterministic, by workflow. */
  async replayAll(): Promise<string[]> {
    const handles = this.#started;
    async function* histories() {
      for (const handle of handles) yield { workflowId: handle.workflowId, history: await handle.fetchHistory() };
    }
    const problems: string[] = [];
    for await (const { workflowId, error } of Worker.runReplayHistories(await replayOptions(), histories())) {
      if (error !== undefined) problems.push(`${workflowId}: ${error.message}`);
    }
    return problems;
  }

  get executions(): number {
    return this.#started.length;
  }

  async close(): Promise<void> {
    for (const handle of this.#started) await handle.cancel().catch(() => undefined);
    await this.freshet.close();
  }

  async #start(line: string, hour: number, options: CycleOptions): Promise<RunningCycle> {
    const { freshet } = this;
    const { config = {}, gate, traffic = false, anew = false } = options;
    await freshet.configure(over(QUICK, config), line);
    await freshet.setHour(hour, line);
    const before = await currentRoute(freshet.db, line);
    const from = JSON.stringify([before.stable, config.training, config.snapshot]);
    this.#gates.reuse(line, anew ? null : { activities: PREPARATION, from });
    const held = gate === undefined ? null : this.#gates.hold(line, ...gate);
    if (traffic) void this.#feed(line).catch(() => undefined);
    const handle = await freshet.startCycle(line);
    this.#started.push(handle);
    const hold = (...at: [string, GateSide?]): ActivityGate => this.#gates.hold(line, ...at);
    const cycle = new RunningCycle({ handle, before, held, hold });
    this.#current.set(line, cycle);
    return cycle;
  }

  /** Shadow and canary are first looked at when live requests have got there, however busy the machine is. */
  async #feed(line: string): Promise<void> {
    const looks = [
      { gate: this.#gates.hold(line, 'readShadow'), arms: [['shadow']] },
      { gate: this.#gates.hold(line, 'checkHealth'), arms: [['canary'], ['stable', 'holdback']] },
    ];
    for (const { gate, arms } of looks) {
      await gate.reached;
      const requests = startTraffic({ url: this.freshet.gateway.url, line, everyMs: TRAFFIC_EVERY_MS });
      try {
        for (const names of arms) while (!(await this.#isServed(line, names))) await wait(POLL_MS);
      } finally {
        await requests.stop();
      }
      gate.open();
    }
  }

  /** Whether requests under the route in force are counted in one of the arms. */
  async #isServed(line: string, arms: string[]): Promise<boolean> {
    const { rowCount } = await this.freshet.db.query(
      `select from health_sums s join route_heads h using (line, epoch) where line = $1 and s.arm = any($2)
       having sum(s.requests) >= 3`,
      [line, arms],
    );
    return rowCount === 1;
  }
}

/** A cycle that runs, and what serves it. */
export class RunningCycle {
  readonly handle: CycleHandle;
  /** In force when the cycle was started. */
  readonly before: Route;
  /** Where the cycle stops next; null when nothing stops it. */
  held: ActivityGate | null;
  readonly #hold: (...at: [string, GateSide?]) => ActivityGate;

  constructor(of: {
    handle: CycleHandle;
    before: Route;
    held: ActivityGate | null;
    hold: (...at: [string, GateSide?]) => ActivityGate;
  }) {
    this.handle = of.handle;
    this.before = of.before;
    this.held = of.held;
    this.#hold = of.hold;
  }

  status(): Promise<CycleStatus> {
    return this.handle.query(statusQuery);
  }

  async until(reached: (status: CycleStatus) => boolean): Promise<CycleStatus> {
    for (;;) {
      const status = await this.status();
      if (reached(status)) return status;
      if (status.outcome !== null) throw new Error(`it ended ${status.outcome}: ${JSON.stringify(status.reasons)}`);
      await wait(POLL_MS);
    }
  }

  /** Waits until the cycle stands at its gate. @throws Error when it ends before. */
  async untilHeld(): Promise<void> {
    const ended = this.handle.result().then(({ outcome, reasons }) => {
      throw new Error(`the cycle ended ${outcome} before that: ${JSON.stringify(reasons)}`);
    });
    await Promise.race([this.held?.reached, ended]);
  }

  /** Lets the held activity go on, to the next gate if one is named, and waits until it has ended. */
  async goOn(...next: [] | [string, GateSide?]): Promise<void> {
    const { held } = this;
    this.held = next.length === 0 ? null : this.#hold(...next);
    held?.open();
    await held?.ended;
  }

  /** Waits until nothing runs any more, and the workflow has seen all that happened, or it has left the phase. */
  async settled(phase: Phase): Promise<CycleStatus> {
    for (;;) {
      const { raw } = await this.handle.describe();
      const status = await this.status();
      if ((raw.pendingActivities ?? []).length === 0 || status.phase !== phase) return status;
      await wait(POLL_MS);
    }
  }

  async cancel(): Promise<void> {
    this.held?.open();
    await this.handle.cancel().catch(() => undefined);
    await this.handle.result().catch(() => undefined);
  }

  result(): Promise<CycleResult> {
    return this.handle.result();
  }

  /** From the first signal of that name to the last confirmation of a route, by the times in the history. */
  async signalToConfirmationMs(signal: string): Promise<number> {
    const events = (await this.handle.fetchHistory()).events ?? [];
    const at = (event: (typeof events)[number] | undefined): number =>
      Number(event?.eventTime?.seconds) * 1_000 + (event?.eventTime?.nanos ?? 0) / 1_000_000;
    const sent = events.find((event) => event.workflowExecutionSignaledEventAttributes?.signalName === signal);
    const scheduled = events.findLast(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'confirmRoute',
    );
    const confirmed = events.find(({ activityTaskCompletedEventAttributes: completed }) =>
      completed?.scheduledEventId?.eq(scheduled?.eventId ?? -1),
    );
    return at(confirmed) - at(sent);
  }
}

/** Sections over sections. */
export function over(...configs: Config[]): Config {
  const merged: Record<string, unknown> = {};
  for (const [name, section] of configs.flatMap((config) => Object.entries(config) as [string, unknown][])) {
    const was = merged[name];
    merged[name] = isSection(was) && isSection(section) ? { ...was, ...section } : section;
  }
  return merged;
}

const isSection = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
