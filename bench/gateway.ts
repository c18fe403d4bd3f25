import { writeFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { projectRoot } from '../scripts/stack/project.ts';
import { ensureLockedPython } from '../scripts/stack/python-env.ts';
import { rankingModel } from './gateway/ranking-model.ts';
import { Load, startServer, type Server } from './gateway/servers.ts';
import { LINE, ServingWorld, type Candidate } from './gateway/world.ts';
import type { BenchmarkResult } from './run.ts';

export const description =
  'requests a second of the gateway (routing, canary, log; full shadow) beside bare Fastify and FastAPI';

const given = z.object({
  candidates: z.number(),
  limit: z.number(),
  connections: z.number(),
  rounds: z.number(),
  seconds: z.number(),
  fastapi: z.boolean(),
});
type Options = z.output<typeof given>;

export function options(command: Command): void {
  command
    .option('--candidates <n>', 'of a request', wholeNumber, 50)
    .option('--limit <n>', 'items that are returned and logged', wholeNumber, 10)
    .option('--connections <n>', 'that send as soon as they are answered', wholeNumber, 64)
    .option('--rounds <n>', 'each server in turn, so often; medians count', wholeNumber, 5)
    .option('--seconds <n>', 'measured of each server in a round', wholeNumber, 6)
    .option('--no-fastapi', 'leave out FastAPI, which is installed once into an environment of its own');
}

const SERVERS = ['bare', 'gateway', 'shadow', 'fastapi', 'fastapiTuned'] as const;
type Name = (typeof SERVERS)[number];

interface Measured {
  rps: number;
  p50Ms: number;
  p99Ms: number;
  /** User and system time of the server a request. */
  cpuMicros: number;
  /** Of a core, that the load generator used: near 1 it is what bounds the server. */
  loadCores: number;
  failed: number;
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const settings = given.parse(input);
  const say = (line: string): void => {
    console.error(line);
  };
  const load = loadavg()[0] ?? NaN;
  const python = settings.fastapi ? await fastapiPython(say) : null;
  const world = await ServingWorld.create(say);
  try {
    const model = rankingModel({ seed: 1, buckets: 1_000 });
    const path = join(world.folder, 'model.onnx');
    await writeFile(path, model);
    await world.promote(await world.candidate(await world.put(model)), { direct: true });
    const candidate = await world.candidate(await world.put(rankingModel({ seed: 2, buckets: 1_000 })));
    const start = starters({ world, candidate, path, python });
    const rounds: Partial<Record<Name, Measured>>[] = [];
    for (let round = 1; round <= settings.rounds; round++) {
      const measured: Partial<Record<Name, Measured>> = {};
      for (const name of SERVERS) {
        const server = await start[name]();
        if (server === null) continue;
        measured[name] = await measure(server, settings);
        say(`round ${String(round)}, ${name}: ${measured[name].rps.toFixed(0)} requests/s`);
      }
      rounds.push(measured);
    }
    const { shadow } = await world.sums();
    const figures = { ...figuresOf(rounds), load, ...shadowShare(shadow), ...settings };
    return { figures, table: tableOf(rounds, figures) };
  } finally {
    await world.close();
  }
}

function starters(input: {
  world: ServingWorld;
  candidate: Candidate;
  path: string;
  python: string | null;
}): Record<Name, () => Promise<Server | null>> {
  const { world, candidate, path, python } = input;
  const { version } = candidate;
  const app = join(projectRoot(), 'bench', 'gateway', 'app.py');
  const fastapi = async (tuned: string): Promise<Server | null> =>
    python === null
      ? null
      : startServer({ name: 'fastapi', command: python, args: [app], env: { MODEL: path, TUNED: tuned } });
  return {
    bare: () => world.server('bare', { program: 'bench/gateway/bare.js', env: { MODEL: path } }),
    async gateway() {
      await world.move(candidate, { canary: version, canaryShare: 0.1, holdback: 0.1 });
      return world.gateway();
    },
    async shadow() {
      await world.move(candidate, { shadow: version, shadowShare: 1 });
      return world.gateway();
    },
    fastapi: () => fastapi('0'),
    fastapiTuned: () => fastapi('1'),
  };
}

async function measure(server: Server, settings: Options): Promise<Measured> {
  const { candidates, limit, connections, seconds } = settings;
  try {
    const load = await Load.start({ url: server.url, line: LINE, connections, candidates, limit });
    load.phase('warm');
    await sleep(2_000);
    const before = await server.cpuSeconds();
    load.phase('measured');
    await sleep(seconds * 1_000);
    const used = (await server.cpuSeconds()) - before;
    const { measured } = await load.stop();
    if (measured === undefined) throw new Error('the load was not measured');
    const answered = measured.statuses['200'] ?? 0;
    return {
      rps: answered / measured.seconds,
      p50Ms: measured.p50Ms ?? NaN,
      p99Ms: measured.p99Ms ?? NaN,
      cpuMicros: (used / answered) * 1e6,
      loadCores: measured.loadCpuSeconds / measured.seconds,
      failed: measured.requests - answered,
    };
  } finally {
    await server.stop();
  }
}

function figuresOf(rounds: Partial<Record<Name, Measured>>[]): Record<string, number | null> {
  const each = (value: (round: Partial<Record<Name, Measured>>) => number | undefined): number | null => {
    const values = rounds.flatMap((round) => value(round) ?? []).sort((a, b) => a - b);
    return values[Math.floor(values.length / 2)] ?? null;
  };
  const ratio = (above: Name, below: Name): number | null =>
    each((round) => {
      const [a, b] = [round[above], round[below]];
      return a === undefined || b === undefined ? undefined : a.rps / b.rps;
    });
  return {
    rps: each(({ gateway }) => gateway?.rps),
    bareRps: each(({ bare }) => bare?.rps),
    fastapiRps: each(({ fastapi }) => fastapi?.rps),
    fastapiTunedRps: each(({ fastapiTuned }) => fastapiTuned?.rps),
    shadowRps: each(({ shadow }) => shadow?.rps),
    ratioBare: ratio('gateway', 'bare'),
    ratioFastapi: ratio('gateway', 'fastapi'),
    ratioFastapiTuned: ratio('gateway', 'fastapiTuned'),
    ratioShadow: ratio('shadow', 'bare'),
    p50: each(({ gateway }) => gateway?.p50Ms),
    p99: each(({ gateway }) => gateway?.p99Ms),
    cpuMicros: each(({ gateway }) => gateway?.cpuMicros),
    bareCpuMicros: each(({ bare }) => bare?.cpuMicros),
    loadCores: each(({ gateway }) => gateway?.loadCores),
    bareLoadCores: each(({ bare }) => bare?.loadCores),
    failedRequests: rounds.flatMap((round) => Object.values(round)).reduce((sum, { failed }) => sum + failed, 0),
  };
}

/** Of the copies for the shadow, how many it scored: the rest was given up because too many were open. */
function shadowShare(sums: { requests: number; dropped: number } | undefined): { shadowScored: number | null } {
  if (sums === undefined) return { shadowScored: null };
  return { shadowScored: sums.requests / (sums.requests + sums.dropped) };
}

function tableOf(rounds: Partial<Record<Name, Measured>>[], figures: Record<string, unknown>): string {
  const lines = rounds.flatMap((round, index) =>
    Object.entries(round).map(
      ([name, { rps, p50Ms, p99Ms, cpuMicros, loadCores }]) =>
        `${String(index + 1).padStart(5)}  ${name.padEnd(12)}  ${rps.toFixed(0).padStart(6)} requests/s  ` +
        `p50 ${p50Ms.toFixed(1)} ms  p99 ${p99Ms.toFixed(1)} ms  ${cpuMicros.toFixed(0)} us of CPU a request  ` +
        `load generator ${loadCores.toFixed(2)} cores`,
    ),
  );
  const shown = Object.entries(figures).map(
    ([name, value]) =>
      `${name.padEnd(17)}  ${typeof value === 'number' ? String(Number(value.toPrecision(3))) : String(value)}`,
  );
  return ['round', ...lines, '', ...shown].join('\n');
}

async function fastapiPython(say: (line: string) => void): Promise<string> {
  const { path } = await ensureLockedPython({
    lock: join(projectRoot(), 'bench', 'gateway', 'requirements.lock'),
    name: 'fastapi',
    what: 'FastAPI and onnxruntime: installing them into an environment of their own (once)',
    say,
  });
  return path;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number of at least 1.');
  return number;
}
