import type { Worker } from 'node:worker_threads';
import type { LogThreadAnswer, LogThreadRequest } from './slate-protocol.ts';

/**
 * Waits before a thread that ended by itself is started again, one for each try in a row: what ended it may pass (memory, a
 * disk that is away), and a thread that ends at once must not take the processor. After the last it is given up.
 */
const RESTART_AFTER_MS = [100, 1_000, 5_000, 30_000, 60_000] as const;
/** A thread that ran for so long has worked: the next end is a first one. */
const WORKED_AFTER_MS = 60_000;

export interface ThreadHandlers {
  /** A thread has begun, and knows nothing: the first, or one in place of one that ended. */
  onBegun(): void;
  onMessage(answer: LogThreadAnswer): void;
  /** `restartInMs`: null when it is given up. */
  onEnded(problem: string, restartInMs: number | null): void;
}

/** A thread that is started again when it ends by itself. */
export class SupervisedThread {
  readonly #start: () => Worker;
  readonly #handlers: ThreadHandlers;
  #worker: Worker | null = null;
  #problem: string | null = null;
  #tries = 0;
  #begunAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  #beginning: Promise<void> | null = null;
  #closing = false;
  #settle: () => void = () => undefined;
  readonly #settled: Promise<void>;

  private constructor(start: () => Worker, handlers: ThreadHandlers) {
    this.#start = start;
    this.#handlers = handlers;
    this.#settled = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Resolves when the first thread works. @throws Error when it can not begin. */
  static async open(start: () => Worker, handlers: ThreadHandlers): Promise<SupervisedThread> {
    const thread = new SupervisedThread(start, handlers);
    await thread.#begin();
    return thread;
  }

  /** Whether a thread runs that takes messages. */
  get running(): boolean {
    return this.#worker !== null;
  }

  /** Only while it runs. */
  post(message: LogThreadRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  /**
   * From now on the end of the thread is the end; one that waits to be started again starts at once. Resolves when a thread
   * runs (`true`), or none will (`false`).
   */
  async prepareToClose(): Promise<boolean> {
    this.#closing = true;
    clearTimeout(this.#timer);
    if (this.#worker === null && !this.#ended) await this.#beginAgain();
    return this.running;
  }

  /** Resolves when the thread has ended for good. */
  get ended(): Promise<void> {
    return this.#settled;
  }

  async #begin(): Promise<void> {
    const worker = this.#start();
    await ready(worker);
    this.#begunAtMs = performance.now();
    this.#problem = null;
    worker.on('message', (answer: LogThreadAnswer) => {
      this.#handlers.onMessage(answer);
    });
    worker.on('error', (error) => {
      this.#problem = messageOf(error);
    });
    worker.once('exit', () => {
      this.#worker = null;
      this.#onExit();
    });
    this.#worker = worker;
    this.#handlers.onBegun();
  }

  #onExit(): void {
    const problem =
      this.#problem === null
        ? 'the thread of the event log has ended'
        : `the thread of the event log failed (${this.#problem})`;
    if (this.#closing) {
      this.#giveUp(problem);
      return;
    }
    if (performance.now() - this.#begunAtMs >= WORKED_AFTER_MS) this.#tries = 0;
    this.#tryAgain(problem);
  }

  #tryAgain(problem: string): void {
    const restartInMs = RESTART_AFTER_MS[this.#tries];
    if (restartInMs === undefined) {
      this.#giveUp(problem);
      return;
    }
    this.#tries += 1;
    this.#handlers.onEnded(problem, restartInMs);
    this.#timer = setTimeout(() => void this.#beginAgain(), restartInMs);
  }

  #beginAgain(): Promise<void> {
    this.#beginning ??= this.#begin()
      .catch((error: unknown) => {
        const problem = `the thread of the event log can not be started (${messageOf(error)})`;
        if (this.#closing) this.#giveUp(problem);
        else this.#tryAgain(problem);
      })
      .finally(() => (this.#beginning = null));
    return this.#beginning;
  }

  #giveUp(problem: string): void {
    this.#ended = true;
    this.#handlers.onEnded(problem, null);
    this.#settle();
  }
}

async function ready(worker: Worker): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onExit = (): void => {
      reject(new Error('it ended while it was starting'));
    };
    worker.once('error', reject);
    worker.once('exit', onExit);
    worker.once('message', (answer: LogThreadAnswer) => {
      worker.off('error', reject);
      worker.off('exit', onExit);
      if (answer.kind === 'failed') reject(new Error(answer.message));
      else resolve();
    });
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
