import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { trainerLine, type TrainerLine } from '../../activities/trainer-process.ts';

/** What a trainer did, from its start until it and all it started were gone. */
export interface TrainerRun {
  /** Why it could not be started at all; null when it was. */
  startError: string | null;
  code: number | null;
  signal: string | null;
  lines: TrainerLine[];
  /** Lines of a type that the contract knows with fields that it does not allow, in words. */
  malformed: string[];
  /** Everything else on standard output. */
  garbage: string[];
  /** The last line of standard error; null when there was none. */
  lastError: string | null;
  /** Whether it ran into the time limit, and was killed. */
  timedOut: boolean;
  /** Time from SIGTERM to its end; null when it was not asked to leave. */
  leftAfterMs: number | null;
  /** Whether SIGKILL had to end it after SIGTERM. */
  killed: boolean;
  /** Processes that were still there after it had left by itself. */
  leftBehind: string[];
}

export interface RunOptions {
  command: readonly string[];
  manifestPath: string;
  env: NodeJS.ProcessEnv;
  timeoutMs: number;
  /** Time between SIGTERM and SIGKILL. */
  graceMs: number;
  /** May end the trainer. */
  onLine?: (line: TrainerLine, trainer: { terminate: () => void; kill: () => void }) => void;
}

/** How long processes that a trainer started may take to see that it is gone. */
const LEAVING_MS = 500;
/** How long its output may stay open once its group is gone. */
const DRAIN_MS = 2_000;
const KNOWN_TYPES: string[] = trainerLine.options.map(({ shape }) => shape.type.value);

/**
 * Runs `COMMAND manifest.json` in a process group of its own as a cycle does, but looks closer: at every line, and at what
 * is left behind. Never rejects for what the trainer does.
 */
export async function runTrainerOnce(options: RunOptions): Promise<TrainerRun> {
  const [program = '', ...args] = options.command;
  const child = spawn(program, [...args, options.manifestPath], {
    detached: true,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: TrainerRun = {
    ...{ startError: null, code: null, signal: null, lines: [], malformed: [], garbage: [], lastError: null },
    ...{ timedOut: false, leftAfterMs: null, killed: false, leftBehind: [] },
  };
  const exited = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      run.startError = error.message;
      resolve();
    });
    child.once('exit', (code, signal) => {
      Object.assign(run, { code, signal });
      resolve();
    });
  });
  const timers: NodeJS.Timeout[] = [];
  const state = { askedAt: NaN, ended: false };
  const kill = (): void => {
    state.ended = true;
    signalGroup(child.pid, 'SIGKILL');
  };
  const terminate = (): void => {
    if (!Number.isNaN(state.askedAt)) return;
    state.askedAt = performance.now();
    timers.push(
      setTimeout(() => {
        run.killed = true;
        kill();
      }, options.graceMs),
    );
    signalGroup(child.pid, 'SIGTERM');
  };
  timers.push(
    setTimeout(() => {
      run.timedOut = true;
      kill();
    }, options.timeoutMs),
  );
  const reading = Promise.all([
    readLines(child.stdout, (text) => {
      const line = sort(text, run);
      if (line !== null) options.onLine?.(line, { terminate, kill });
    }),
    readLines(child.stderr, (text) => (run.lastError = text)),
  ]);
  await exited;
  if (!Number.isNaN(state.askedAt)) run.leftAfterMs = performance.now() - state.askedAt;
  for (const timer of timers) clearTimeout(timer);
  if (!state.ended && child.pid !== undefined) run.leftBehind = await remaining(child.pid);
  signalGroup(child.pid, 'SIGKILL');
  if (!(await endsWithin(reading, DRAIN_MS))) run.leftBehind.push('one that left its group and holds its output open');
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
  return run;
}

function sort(text: string, run: TrainerRun): TrainerLine | null {
  const said = jsonOf(text);
  const parsed = trainerLine.safeParse(said);
  if (parsed.success) {
    run.lines.push(parsed.data);
    return parsed.data;
  }
  const type = z.object({ type: z.string() }).safeParse(said).data?.type;
  if (type === undefined || !KNOWN_TYPES.includes(type)) run.garbage.push(text.slice(0, 120));
  else run.malformed.push(`${text.slice(0, 120)}: ${parsed.error.issues.map(described).join('; ')}`);
  return null;
}

const described = ({ path, message }: { path: PropertyKey[]; message: string }): string =>
  `${path.map(String).join('.')}: ${message}`;

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function endsWithin(work: Promise<unknown>, limitMs: number): Promise<boolean> {
  const stop = new AbortController();
  const late = wait(limitMs, false, { signal: stop.signal });
  const ended = await Promise.race([work.then(() => true), late]);
  stop.abort();
  return ended;
}

async function readLines(stream: NodeJS.ReadableStream, onLine: (text: string) => void): Promise<void> {
  for await (const text of createInterface({ input: stream, crlfDelay: Infinity })) {
    if (text.trim() !== '') onLine(text);
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left.
  }
}

async function remaining(group: number): Promise<string[]> {
  const until = performance.now() + LEAVING_MS;
  let found = await membersOf(group);
  while (found.length > 0 && performance.now() < until) {
    await wait(25);
    found = await membersOf(group);
  }
  return found;
}

/** Processes of a group that still run, as `pid (name)`; dead ones that nobody has waited for do not count. */
async function membersOf(group: number): Promise<string[]> {
  const entries = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  if (entries.length === 0) return existsGroup(group) ? [`group ${String(group)}`] : [];
  const found = await Promise.all(
    entries.map(async (pid) => {
      // `pid (name) state ppid pgrp ...`; a name may hold anything.
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
      const [, name, state, pgrp] = /\((.*)\) (\S) \d+ (\d+)/s.exec(stat) ?? [];
      return Number(pgrp) === group && state !== 'Z' && state !== 'X' ? `${pid} (${name ?? '?'})` : null;
    }),
  );
  return found.filter((member) => member !== null);
}

function existsGroup(group: number): boolean {
  try {
    return process.kill(-group, 0);
  } catch {
    return false;
  }
}
