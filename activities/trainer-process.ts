import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';

/** How long a trainer may take to save its checkpoint after SIGTERM, before its process group is killed. */
const TERMINATION_GRACE_MS = 10_000;
const STDERR_TAIL_LINES = 20;

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
const trainerLine = z.discriminatedUnion('type', [
  progress,
  z.object({ type: z.literal('checkpoint'), path: z.string(), epoch: z.number(), step: z.number() }),
  z.object({ type: z.literal('metric'), name: z.string(), value: z.number().nullable() }),
  z.object({ type: z.literal('warning'), code: z.string(), message: z.string() }),
]);
/** One line of a trainer's standard output. */
export type TrainerLine = z.infer<typeof trainerLine>;

export type TrainerExit =
  | { kind: 'finished' }
  /** `retryable` follows the trainer contract: 2 (bad manifest or data) and 3 (numerical failure) repeat themselves. */
  | { kind: 'failed'; code: number | null; signal: string | null; retryable: boolean; message: string };

export interface TrainerProcessOptions {
  command: readonly string[];
  manifestPath: string;
  env?: NodeJS.ProcessEnv;
  /** Aborting it means: save a checkpoint and leave. The promise settles once the process group is gone. */
  signal: AbortSignal;
  /** Time between SIGTERM and SIGKILL; 10 s when left out. */
  graceMs?: number;
  onLine: (line: TrainerLine) => void;
  /** Output that is not a line of the contract; told, never fatal by itself. */
  onGarbage: (text: string) => void;
}

/**
 * Runs a trainer (`COMMAND manifest.json`) in a process group of its own and reports its lines. Never rejects for what
 * the trainer does: a missing program, a crash and an exit code are all a `failed` exit with the reason in words.
 */
export async function runTrainer(options: TrainerProcessOptions): Promise<TrainerExit> {
  const [program, ...args] = options.command;
  if (program === undefined) throw new Error('training.command is empty: name the trainer program');
  const child = spawn(program, [...args, options.manifestPath], {
    detached: true,
    env: options.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = exitOf(child);
  const stop = stopOnAbort(child, options);
  const stderr: string[] = [];
  const reading = Promise.all([
    readLines(child.stdout, (text) => {
      const line = parseLine(text);
      if (line === null) options.onGarbage(text);
      else options.onLine(line);
    }),
    readLines(child.stderr, (text) => {
      stderr.push(text);
      if (stderr.length > STDERR_TAIL_LINES) stderr.shift();
    }),
  ]);
  const exit = await exited;
  await stop();
  await reading;
  if (exit.error !== undefined) {
    return {
      kind: 'failed',
      code: null,
      signal: null,
      retryable: false,
      message: `the trainer could not be started: ${exit.error.message}; check training.command (${options.command.join(' ')})`,
    };
  }
  if (exit.code === 0) return { kind: 'finished' };
  const how =
    exit.code === null ? `was ended by ${exit.signal ?? 'a signal'}` : `exited with code ${String(exit.code)}`;
  const why = stderr.at(-1) ?? 'it wrote nothing to standard error';
  return {
    kind: 'failed',
    code: exit.code,
    signal: exit.signal,
    retryable: exit.code !== 2 && exit.code !== 3,
    message: `the trainer ${how}: ${why}`,
  };
}

interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  error?: Error;
}

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

/**
 * SIGTERM to the group on abort, SIGKILL after the grace. The returned function waits for the rest of the group, since a
 * wrapper (a shell, npm) may leave before the trainer that is still saving; without an abort what is left goes at once.
 */
function stopOnAbort(
  child: ChildProcess,
  { signal, graceMs = TERMINATION_GRACE_MS }: TrainerProcessOptions,
): () => Promise<void> {
  let killAt = 0;
  const terminate = (): void => {
    killAt = performance.now() + graceMs;
    signalGroup(child, 'SIGTERM');
    timer = setTimeout(() => {
      signalGroup(child, 'SIGKILL');
    }, graceMs);
  };
  let timer: NodeJS.Timeout | undefined;
  if (signal.aborted) terminate();
  else signal.addEventListener('abort', terminate, { once: true });
  return async () => {
    signal.removeEventListener('abort', terminate);
    while (performance.now() < killAt && signalGroup(child, 0)) await wait(50);
    clearTimeout(timer);
    signalGroup(child, 'SIGKILL');
  };
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
