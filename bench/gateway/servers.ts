import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';

/** A server under test, as a process of its own. */
export interface Server {
  name: string;
  url: string;
  /** User and system time so far of the process, its children and all their threads. */
  cpuSeconds(): Promise<number>;
  /** Resident memory now. */
  rssMiB(): Promise<number>;
  /** Memory of the process and its children now; what they share counts once. */
  pssMiB(): Promise<number>;
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
  const pid = child.pid ?? NaN;
  return {
    name,
    url,
    cpuSeconds: async () => sum((await family(pid)).map(({ cpuSeconds }) => cpuSeconds)),
    rssMiB: () => kibibytes(pid, { file: 'status', field: 'VmRSS' }).then(inMiB),
    async pssMiB() {
      // Children may have ended meanwhile.
      const pss = async (member: Member): Promise<number> =>
        kibibytes(member.pid, { file: 'smaps_rollup', field: 'Pss' }).catch(() => 0);
      return inMiB(sum(await Promise.all((await family(pid)).map(pss))));
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

interface Member {
  pid: number;
  parent: number;
  cpuSeconds: number;
}

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
const inMiB = (kibibytes: number): number => kibibytes / 1_024;

/** A process and those that it started, and so on. */
async function family(pid: number): Promise<Member[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const all = (await Promise.all(pids.map(memberOf))).filter((member) => member !== null);
  const found = all.filter((member) => member.pid === pid);
  for (const { pid: parent } of found) found.push(...all.filter((member) => member.parent === parent));
  return found;
}

/** Null for a process that has ended meanwhile. */
async function memberOf(pid: number): Promise<Member | null> {
  const text = await readFile(`/proc/${String(pid)}/stat`, 'utf8').catch(() => '');
  const fields = text.slice(text.lastIndexOf(') ') + 2).split(' ');
  if (text === '') return null;
  return { pid, parent: Number(fields[1]), cpuSeconds: (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS };
}

async function kibibytes(pid: number, { file, field }: { file: string; field: string }): Promise<number> {
  const text = await readFile(`/proc/${String(pid)}/${file}`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? NaN);
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
  /** User and system time of the generator. */
  loadCpuSeconds: number;
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
