import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';

export interface ProcessSpec {
  name: string;
  command: string;
  args: string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
  /** How it is asked to leave; SIGTERM when left out. */
  stopSignal?: NodeJS.Signals;
  /** How long it may take to leave before it is killed; 10 s when left out. */
  graceMs?: number;
}

export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves when the process is gone, however it went. */
  readonly exited: Promise<ProcessExit>;
  /** False once it is gone. */
  running(): boolean;
  /** The end of what it printed, for error messages. */
  lastLines(count?: number): string;
  /** Sends a signal to the process and all it started. */
  signal(signal: NodeJS.Signals): void;
  /** Sends its stop signal and does not wait. */
  askToLeave(): void;
  /** Asks it to leave, kills it after the grace; resolves when it is gone. */
  stop(): Promise<void>;
}

/**
 * Starts processes and answers for them: each leads a process group of its own, prints into `<logDir>/<name>.log`, and
 * is gone when `stopAll` resolves or this process ends, also by SIGKILL (a reaper process sees its pipe close).
 * Processes that it did not start are never touched.
 */
export class Supervisor {
  readonly logDir: string;
  readonly #running: RunningProcess[] = [];
  #reaper: Writable | null = null;

  constructor(logDir: string) {
    this.logDir = logDir;
    process.once('exit', () => {
      for (const child of this.#running) child.askToLeave();
    });
  }

  /** @throws Error when the program can not be started at all. */
  async start(spec: ProcessSpec): Promise<RunningProcess> {
    mkdirSync(this.logDir, { recursive: true });
    const logFile = join(this.logDir, `${spec.name}.log`);
    const log = openSync(logFile, 'a');
    // Before the process: from its first moment on there is somebody who would stop it.
    this.#reaper ??= startReaper();
    const child = spawn(spec.command, spec.args, {
      stdio: ['ignore', log, log],
      detached: true,
      ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
      ...(spec.env === undefined ? {} : { env: spec.env }),
      ...(spec.uid === undefined ? {} : { uid: spec.uid }),
      ...(spec.gid === undefined ? {} : { gid: spec.gid }),
    });
    if (child.pid !== undefined) this.#reaper.write(`+${child.pid} ${spec.stopSignal ?? 'SIGTERM'}\n`);
    const pid = await started(child, spec).finally(() => {
      closeSync(log);
    });
    const running = this.#describe({ child, pid, spec, logFile });
    this.#running.push(running);
    return running;
  }

  /** Stops everything that still runs, the last started first. */
  async stopAll(): Promise<void> {
    for (const child of [...this.#running].reverse()) await child.stop();
  }

  #describe({
    child,
    pid,
    spec,
    logFile,
  }: {
    child: ChildProcess;
    pid: number;
    spec: ProcessSpec;
    logFile: string;
  }): RunningProcess {
    const alive = (): boolean => child.exitCode === null && child.signalCode === null;
    const exited = new Promise<ProcessExit>((resolve) => {
      child.once('exit', (code, signal) => {
        // What it started and left behind goes with it.
        signalGroup(pid, 'SIGKILL');
        this.#running.splice(this.#running.indexOf(running), 1);
        this.#reaper?.write(`-${pid}\n`);
        resolve({ code, signal });
      });
    });
    const running: RunningProcess = {
      name: spec.name,
      pid,
      logFile,
      exited,
      running: alive,
      lastLines: (count = 12) => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n'),
      signal: (signal) => {
        if (alive()) signalGroup(pid, signal);
      },
      askToLeave: () => {
        running.signal(spec.stopSignal ?? 'SIGTERM');
      },
      stop: async () => {
        if (!alive()) return;
        running.askToLeave();
        const killer = setTimeout(() => {
          running.signal('SIGKILL');
        }, spec.graceMs ?? 10_000);
        await exited;
        clearTimeout(killer);
      },
    };
    return running;
  }
}

/**
 * On Ctrl-C, SIGTERM or a closed terminal: runs `stop` once, then ends with the code shells expect. Repeated signals
 * are ignored meanwhile (npm passes on the Ctrl-C that the terminal has already sent to everyone).
 */
export function stopOnSignals(stop: (signal: NodeJS.Signals) => Promise<void>): void {
  let stopping = false;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      void stop(signal).finally(() => process.exit(code));
    });
  }
}

export interface CommandResult extends ProcessExit {
  stdout: string;
  stderr: string;
}

/** Runs a program to its end and returns what it printed. A program that can not be started ends with code 127. */
export async function runToEnd(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number; uid?: number; gid?: number } = {},
): Promise<CommandResult> {
  const { timeoutMs, ...spawnOptions } = options;
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...spawnOptions, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.once('error', (error) => {
      clearTimeout(timer);
      resolve({ code: 127, signal: null, stdout, stderr: error.message });
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

async function started(child: ChildProcess, spec: ProcessSpec): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`${spec.name} could not be started (${spec.command}): ${error.message}`));
    });
    child.once('spawn', () => {
      if (child.pid === undefined) reject(new Error(`${spec.name} has no process id`));
      else resolve(child.pid);
    });
  });
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // macOS answers EPERM for a group of which only zombies are left.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}

/** Waits for the end of its input, which comes however its parent dies, then stops the groups that are still listed. */
const REAPER = `
let left = '';
const groups = new Map();
const signal = (pid, name) => { try { process.kill(-pid, name); } catch {} };
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
process.stdin.on('data', (chunk) => {
  const lines = (left + chunk).split('\\n');
  left = lines.pop();
  for (const line of lines) {
    const [pid, name] = line.slice(1).split(' ');
    if (line[0] === '+') groups.set(Number(pid), name); else groups.delete(Number(pid));
  }
});
process.stdin.on('end', () => {
  for (const [pid, name] of groups) signal(pid, name);
  if (groups.size > 0) setTimeout(() => { for (const pid of groups.keys()) signal(pid, 'SIGKILL'); }, 5000);
});
`;

function startReaper(): Writable {
  const reaper = spawn(process.execPath, ['-e', REAPER], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  reaper.unref();
  reaper.once('error', () => undefined);
  reaper.stdin.on('error', () => undefined);
  // The pipe must not keep this process alive: that is what it is there to tell.
  (reaper.stdin as Writable & { unref(): void }).unref();
  return reaper.stdin;
}
