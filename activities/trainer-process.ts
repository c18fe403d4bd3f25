import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { explainExit, explainSilence, explainStart, type TrainerFailure } from './trainer-errors.ts';
import { markProcesses, type MarkedProcesses } from './marked-processes.ts';

/** How long a trainer may take to save its checkpoint after SIGTERM, before its processes are killed. */
const TERMINATION_GRACE_MS = 10_000;
/** How long reading may go on once all that could be found of a trainer is gone. */
const DRAIN_MS = 2_000;

const progress = z.object({
  type: z.literal('progress'),
  epoch: z.number(),
  epochs: z.number(),
  step: z.number(),
  steps: z.number(),
  samplesPerSecond: z.number(),
  loss: z.number().nullable(),
  etaSeconds: z.number().nullable(),
});
export const trainerLine = z.discriminatedUnion('type', [
  progress,
  z.object({ type: z.literal('checkpoint'), path: z.string(), epoch: z.number(), step: z.number() }),
  z.object({ type: z.literal('metric'), name: z.string(), value: z.number().nullable() }),
  z.object({ type: z.literal('warning'), code: z.string(), message: z.string() }),
]);
/** One line of a trainer's standard output. */
export type TrainerLine = z.infer<typeof trainerLine>;

export type TrainerExit =
  | { kind: 'finished' }
  /** `code` is the trainer's own, also behind `torchrun`, which exits with 1 whatever happened. */
  | ({ kind: 'failed'; code: number | null; signal: string | null } & TrainerFailure);

export interface TrainerProcessOptions {
  command: readonly string[];
  manifestPath: string;
  env?: NodeJS.ProcessEnv;
  /** Aborting it means: save a checkpoint and leave. The promise settles once all processes of the trainer are gone. */
  signal: AbortSignal;
  /** Time between SIGTERM and SIGKILL; 10 s when left out. */
  graceMs?: number;
  /** A trainer without a line of the contract for this long is ended as hung; never when left out. */
  silenceLimitMs?: number;
  /** Who has the same mark is ended first: what a worker left running that was killed, in the same work folder. */
  mark?: string;
  onLine: (line: TrainerLine) => void;
  /** Output that is not a line of the contract; told, never fatal by itself. */
  onGarbage: (text: string) => void;
}

/**
 * Runs a trainer (`COMMAND manifest.json`) in a process group of its own and reports its lines. Never rejects for what
 * the trainer does: a missing program, a crash, a hang and an exit code are all a `failed` exit with the reason in words.
 */
export async function runTrainer(options: TrainerProcessOptions): Promise<TrainerExit> {
  const [program, ...args] = options.command;
  if (program === undefined) throw new Error('training.command is empty: name the trainer program');
  const marked = markProcesses(options.mark);
  if (options.mark !== undefined) await marked.kill();
  const child = spawn(program, [...args, options.manifestPath], {
    detached: true,
    env: { ...(options.env ?? process.env), ...marked.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = exitOf(child);
  const ending = new Ending(child, marked, options.graceMs ?? TERMINATION_GRACE_MS);
  const terminate = (): void => {
    ending.terminate();
  };
  if (options.signal.aborted) terminate();
  else options.signal.addEventListener('abort', terminate, { once: true });
  const silence = watchSilence(options.silenceLimitMs, terminate);
  const stderr = new StandardError();
  const reading = Promise.all([
    readLines(child.stdout, (text) => {
      const line = parseLine(text);
      if (line === null) {
        options.onGarbage(text);
        return;
      }
      silence.broken();
      options.onLine(line);
    }),
    readLines(child.stderr, (text) => {
      stderr.read(text);
    }),
  ]);
  const exit = await exited;
  silence.stop();
  options.signal.removeEventListener('abort', terminate);
  await ending.complete();
  // Somebody who hid may still hold the pipes open: what was said until now is all there is.
  await settledWithin(reading, DRAIN_MS);
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
  return explain(exit, { options, stderr, hung: silence.hung() && !options.signal.aborted });
}

interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  error?: NodeJS.ErrnoException;
}

function explain(
  exit: Exit,
  { options, stderr, hung }: { options: TrainerProcessOptions; stderr: StandardError; hung: boolean },
): TrainerExit {
  if (exit.error !== undefined) {
    return { kind: 'failed', code: null, signal: null, ...explainStart(exit.error, options.command) };
  }
  if (exit.code === 0) return { kind: 'finished' };
  const { code, signal } = stderr.launcherSaw ?? exit;
  const failure = hung
    ? explainSilence(options.silenceLimitMs ?? 0)
    : explainExit({ code, signal, said: stderr.lastLine });
  return { kind: 'failed', code, signal, ...failure };
}

/** What is left of standard error: the reason, and what `torchrun` says of the process that failed first. */
class StandardError {
  lastLine: string | null = null;
  launcherSaw: { code: number | null; signal: string | null } | null = null;

  read(text: string): void {
    // Everything after its first word on the failure is the launcher's own traceback.
    if (this.launcherSaw !== null) return;
    if (!text.includes('torch/distributed/')) {
      this.lastLine = text;
      return;
    }
    const failed = /failed \(exitcode: (-?\d+)\)/.exec(text)?.[1];
    if (failed === undefined) return;
    const code = Number(failed);
    this.launcherSaw =
      code >= 0 ? { code, signal: null } : { code: null, signal: SIGNALS[-code] ?? `signal ${String(-code)}` };
  }
}

const SIGNALS: Record<number, string> = {
  2: 'SIGINT',
  6: 'SIGABRT',
  7: 'SIGBUS',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  15: 'SIGTERM',
};

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      resolve({ code: null, signal: null, error });
    });
    child.once('exit', (code, signal) => {
      resolve({ code, signal });
    });
  });
}

function watchSilence(
  limitMs: number | undefined,
  onHung: () => void,
): { broken: () => void; stop: () => void; hung: () => boolean } {
  if (limitMs === undefined) return { broken: () => undefined, stop: () => undefined, hung: () => false };
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    onHung();
  }, limitMs);
  return {
    broken: () => {
      if (!hung) timer.refresh();
    },
    stop: () => {
      clearTimeout(timer);
    },
    hung: () => hung,
  };
}

/** SIGTERM to the group when asked to, SIGKILL to whatever is left after the grace. */
class Ending {
  readonly #child: ChildProcess;
  readonly #marked: MarkedProcesses;
  readonly #graceMs: number;
  #killAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(child: ChildProcess, marked: MarkedProcesses, graceMs: number) {
    this.#child = child;
    this.#marked = marked;
    this.#graceMs = graceMs;
  }

  terminate(): void {
    if (this.#timer !== undefined) return;
    this.#killAt = performance.now() + this.#graceMs;
    this.#timer = setTimeout(() => {
      signalGroup(this.#child, 'SIGKILL');
    }, this.#graceMs);
    signalGroup(this.#child, 'SIGTERM');
  }

  /**
   * To be called when the child is gone. Waits for the rest of the group, since a wrapper (a shell, npm) may leave before
   * the trainer that is still saving; what was not asked to leave, or left the group (torchrun's processes have sessions
   * of their own), goes at once.
   */
  async complete(): Promise<void> {
    while (performance.now() < this.#killAt && signalGroup(this.#child, 0)) await wait(50);
    clearTimeout(this.#timer);
    signalGroup(this.#child, 'SIGKILL');
    await this.#marked.kill();
  }
}

/** @returns whether there still was anybody to signal. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  if (child.pid === undefined) return false;
  try {
    return process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

async function settledWithin(work: Promise<unknown>, limitMs: number): Promise<void> {
  const stop = new AbortController();
  await Promise.race([work, wait(limitMs, undefined, { signal: stop.signal })]);
  stop.abort();
}

async function readLines(stream: NodeJS.ReadableStream, onLine: (text: string) => void): Promise<void> {
  for await (const text of createInterface({ input: stream, crlfDelay: Infinity })) {
    if (text.trim() !== '') onLine(text);
  }
}

function parseLine(text: string): TrainerLine | null {
  try {
    return trainerLine.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
