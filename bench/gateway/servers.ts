import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';

/** A server under test, as a process of its own. */
export interface Server {
  name: string;
  url: string;
  /** User and system time of the process so far, all its threads. */
  cpuSeconds(): Promise<number>;
  /** Resident memory now. */
  rssMiB(): Promise<number>;
  stop(): Promise<void>;
}

const CLOCK_TICKS = 100;

interface ServerSpec {
  name: string;
  command: string;
  args: string[];
  env: Record<string, string>;
}

/** Starts a program that prints `{"listening": URL}` once it answers; what else it prints is shown if it fails. */
export async function startServer({ name, command, args, env }: ServerSpec): Promise<Server> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    cwd: projectRoot(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const last: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => last.push(line) > 20 && last.shift());
  const url = await listening(child, { name, last });
  const proc = `/proc/${String(child.pid)}`;
  return {
    name,
    url,
    async cpuSeconds() {
      const fields = (await readFile(`${proc}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
    },
    async rssMiB() {
      return Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`${proc}/status`, 'utf8'))?.[1] ?? NaN) / 1_024;
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const killer = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      clearTimeout(killer);
    },
  };
}

async function listening(child: ChildProcess, { name, last }: { name: string; last: string[] }): Promise<string> {
  const { stdout } = child;
  if (stdout === null) throw new Error('no standard output');
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => {
      reject(new Error(`${name} ended before it answered:\n${last.join('\n')}`));
    });
    createInterface({ input: stdout }).on('line', (line) => {
      const url = /\{"listening": *"([^"]+)"\}/.exec(line)?.[1];
      if (url !== undefined) resolve(url);
    });
  });
}

export interface PhaseFigures {
  seconds: number;
  requests: number;
  statuses: Record<string, number>;
  p50Ms: number | null;
  p99Ms: number | null;
  maxMs: number | null;
}

export interface LoadSpec {
  url: string;
  line: string;
  connections: number;
  candidates: number;
  limit: number;
  /** Requests a second; as many as are answered when left out. */
  rate?: number;
}

/** Load on one server, from another process. */
export class Load {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  private constructor(child: ChildProcess, lines: Interface) {
    this.#child = child;
    this.#lines = lines;
  }

  static async start(spec: LoadSpec): Promise<Load> {
    const args = [...entryPoint(join('bench', 'gateway', 'load.ts')), JSON.stringify(spec)];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: projectRoot() });
    const load = new Load(child, createInterface({ input: child.stdout }));
    await once(load.#lines, 'line');
    return load;
  }

  /** What is answered from now on counts there. */
  phase(name: string): void {
    this.#child.stdin?.write(`phase ${name}\n`);
  }

  /** Figures by phase. */
  async stop(): Promise<Record<string, PhaseFigures>> {
    const line = once(this.#lines, 'line') as Promise<[string]>;
    this.#child.stdin?.write('stop\n');
    return JSON.parse((await line)[0]) as Record<string, PhaseFigures>;
  }
}
