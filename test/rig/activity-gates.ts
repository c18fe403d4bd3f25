import type { ActivityInterceptorsFactory } from '@temporalio/worker';

/** An activity of a line's cycle that waits at its beginning or its end until it is let go on. It runs for real. */
export interface ActivityGate {
  /** Resolves when the activity stands at the gate. */
  reached: Promise<void>;
  /** Resolves when it has come through and ended, well or not. */
  ended: Promise<void>;
  open(): void;
}

interface Waiting {
  where: GateSide;
  reached: () => void;
  opened: Promise<void>;
  ended: () => void;
}

export interface Reuse {
  activities: readonly string[];
  /** What their results depend on. */
  from: string;
}

/** Before the activity does anything, or after it did everything and before its result is told. */
export type GateSide = 'before' | 'after';

/**
 * Holds activities of real workers, so that a phase of a workflow lasts for as long as a test needs; and spares a test what
 * an earlier cycle of the line did already.
 */
export class ActivityGates {
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #gates = new Map<string, ActivityGate[]>();
  readonly #reused = new Map<string, Reuse>();
  readonly #results = new Map<string, unknown>();

  /** For the workers whose activities are held. */
  readonly interceptor: ActivityInterceptorsFactory = ({ info }) => ({
    inbound: {
      execute: async (input, next) => {
        const { workflowExecution, activityType } = info;
        const line = lineOf(workflowExecution?.workflowId ?? '');
        const key = keyOf(line, activityType);
        const waiting = this.#waiting.get(key) ?? [];
        this.#waiting.delete(key);
        const reuse = this.#reused.get(line);
        const reusable = reuse?.activities.includes(activityType) === true ? keyOf(reuse.from, key) : null;
        // What is held is what the test is about.
        if (waiting.length === 0 && reusable !== null && this.#results.has(reusable))
          return this.#results.get(reusable);
        const pass = async (side: GateSide): Promise<void> => {
          for (const { where, reached, opened } of waiting) {
            if (where !== side) continue;
            reached();
            await opened;
          }
        };
        try {
          await pass('before');
          const result: unknown = await next(input);
          if (reusable !== null) this.#results.set(reusable, result);
          await pass('after');
          return result;
        } finally {
          for (const { ended } of waiting) ended();
        }
      },
    },
  });

  /** Holds the line's next activity of that name, once; more than one gate is passed one after the other. */
  hold(line: string, activity: string, where: GateSide = 'before'): ActivityGate {
    const [reached, opened, ended] = [signal(), signal(), signal()];
    const waiting = { where, reached: reached.raise, opened: opened.raised, ended: ended.raise };
    add(this.#waiting, keyOf(line, activity), waiting);
    const gate = { reached: reached.raised, ended: ended.raised, open: opened.raise };
    add(this.#gates, line, gate);
    return gate;
  }

  /** From now on these activities of the line's cycles return what they returned before; null: they run. */
  reuse(line: string, reuse: Reuse | null): void {
    if (reuse === null) this.#reused.delete(line);
    else this.#reused.set(line, reuse);
  }

  /** Opens all gates of a line, also those that nothing has come to. */
  clear(line: string): void {
    for (const key of [...this.#waiting.keys()]) if (key.startsWith(keyOf(line, ''))) this.#waiting.delete(key);
    for (const gate of this.#gates.get(line) ?? []) gate.open();
    this.#gates.delete(line);
  }
}

function add<T>(lists: Map<string, T[]>, key: string, value: T): void {
  lists.set(key, [...(lists.get(key) ?? []), value]);
}

function signal(): { raised: Promise<void>; raise: () => void } {
  let raise: () => void = () => undefined;
  const raised = new Promise<void>((resolve) => {
    raise = resolve;
  });
  return { raised, raise };
}

const keyOf = (line: string, activity: string): string => `${line} ${activity}`;

/** The rig's workflow ids are `freshet-LINE-ID`. */
const lineOf = (workflowId: string): string => workflowId.replace(/^freshet-/, '').replace(/-[^-]*$/, '');
