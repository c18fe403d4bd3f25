import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
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
  const stop = stopOnAbort(child, options.signal, exited);
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
  stop();
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

/** SIGTERM to the group on abort, SIGKILL after the grace. Returns what ends the watch. */
function stopOnAbort(child: ChildProcess, signal: AbortSignal, exited: Promise<Exit>): () => void {
  let grace: NodeJS.Timeout | undefined;
  const terminate = (): void => {
    signalGroup(child, 'SIGTERM');
    grace = setTimeout(() => {
      signalGroup(child, 'SIGKILL');
    }, TERMINATION_GRACE_MS);
  };
  if (signal.aborted) terminate();
  else signal.addEventListener('abort', terminate, { once: true });
  void exited.then(() => {
    clearTimeout(grace);
  });
  return () => {
    signal.removeEventListener('abort', terminate);
    // Workers that the trainer forked and left behind go with it.
    signalGroup(child, 'SIGKILL');
  };
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
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
