import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { compileServers } from './gateway/compile.ts';
import { rankingModel } from './gateway/ranking-model.ts';
import { Load, startServer, type PhaseFigures, type Server } from './gateway/servers.ts';
import type { BenchmarkResult } from './run.ts';

export const description = 'where sessions live: own thread, one thread or process a version, one process a core';

const given = z.object({
  rounds: z.number(),
  seconds: z.number(),
  rate: z.number(),
  connections: z.number(),
  buckets: z.number(),
  everyMs: z.number(),
});
type Options = z.output<typeof given>;

export function options(command: Command): void {
  command
    .option('--rounds <n>', 'each way in turn, so often; medians count', wholeNumber, 5)
    .option(
      '--seconds <n>',
      'of each phase: as fast as it goes, steady, and while versions are swapped',
      wholeNumber,
      8,
    )
    .option('--rate <n>', 'requests a second, steady and while versions are swapped', wholeNumber, 500)
    .option('--connections <n>', 'kept alive', wholeNumber, 64)
    .option('--buckets <n>', 'rows of each of eight embeddings: 65,536 make a model of 34 MB', wholeNumber, 65_536)
    .option('--every-ms <n>', 'from one swap to the next, at least', wholeNumber, 1_000);
}

const WAYS = ['own', 'thread', 'process', 'cluster'] as const;
type Way = (typeof WAYS)[number];
/** As the gateway does it: what the others are compared with. */
const OURS: Way = 'thread';
const LOAD = { line: 'feed', candidates: 50, limit: 10 };

interface Measured {
  rps: number;
  cpuMicros: number;
  loadCpuShare: number;
  p50Ms: number;
  p99Ms: number;
  swapsP99Ms: number;
  /** The longest a request waited while versions were swapped. */
  stallMs: number;
  swapMs: number;
  mib: number;
  /** The most while versions were swapped. */
  peakMiB: number;
  failed: number;
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const settings = given.parse(input);
  const load = loadavg()[0] ?? NaN;
  const folder = await mkdtemp(join(tmpdir(), 'freshet-bench-'));
  try {
    const dist = join(folder, 'dist');
    await compileServers(dist);
    const models = [1, 2].map((seed) => join(folder, `model-${String(seed)}.onnx`));
    for (const [seed, path] of models.entries())
      await writeFile(path, rankingModel({ seed, buckets: settings.buckets }));
    const rounds: Record<Way, Measured>[] = [];
    for (let round = 1; round <= settings.rounds; round++) {
      const measured: Partial<Record<Way, Measured>> = {};
      for (const way of WAYS) {
        measured[way] = await measure({ way, dist, models, settings });
        console.error(`round ${String(round)}, ${way}: ${measured[way].rps.toFixed(0)} requests/s`);
      }
      rounds.push(measured as Record<Way, Measured>);
    }
    const ways = Object.fromEntries(WAYS.map((way) => [way, summary(way, rounds)]));
    const failedRequests = rounds.flatMap((round) => Object.values(round)).reduce((sum, { failed }) => sum + failed, 0);
    const figures = { ways, failedRequests, cores: availableParallelism(), load, ...settings };
    return { figures, table: tableOf(ways) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(input: { way: Way; dist: string; models: string[]; settings: Options }): Promise<Measured> {
  const { way, dist, models, settings } = input;
  const server = await startServer({
    ...{ name: way, command: process.execPath },
    args: [join(dist, 'bench', 'serving-threads', 'server.js')],
    env: { WAY: way, MODELS: models.join(',') },
  });
  try {
    const fast = await fastest(server, settings);
    const paced = await steadyAndSwaps(server, settings);
    return { ...fast, ...paced, ...(await memory(server)) };
  } finally {
    await server.stop();
  }
}

/** As many requests as are answered. */
async function fastest(server: Server, { connections, seconds }: Options) {
  const load = await Load.start({ ...LOAD, url: server.url, connections });
  load.phase('warm');
  await sleep(2_000);
  const before = await server.cpuSeconds();
  load.phase('fast');
  await sleep(seconds * 1_000);
  const used = (await server.cpuSeconds()) - before;
  const fast = phaseOf(await load.stop(), 'fast');
  return {
    rps: answeredOf(fast) / fast.seconds,
    cpuMicros: (used / answeredOf(fast)) * 1e6,
    loadCpuShare: fast.loadCpuSeconds / fast.seconds,
  };
}

/** At a rate that all can answer. */
async function steadyAndSwaps(server: Server, { connections, seconds, rate, everyMs }: Options) {
  const load = await Load.start({ ...LOAD, url: server.url, connections, rate });
  load.phase('warm');
  await sleep(1_000);
  load.phase('steady');
  await sleep(seconds * 1_000);
  load.phase('swaps');
  const untilMs = performance.now() + seconds * 1_000;
  const swapMs: number[] = [];
  while (performance.now() < untilMs) {
    const next = sleep(everyMs);
    swapMs.push(await swap(server));
    await next;
  }
  const phases = await load.stop();
  const [steady, swaps] = [phaseOf(phases, 'steady'), phaseOf(phases, 'swaps')];
  return {
    ...{ p50Ms: steady.p50Ms ?? NaN, p99Ms: steady.p99Ms ?? NaN },
    ...{ swapsP99Ms: swaps.p99Ms ?? NaN, stallMs: swaps.maxMs ?? NaN, swapMs: median(swapMs) },
    failed: steady.requests + swaps.requests - answeredOf(steady) - answeredOf(swaps),
  };
}

/** With one version, and the most while there are two. Without load: reading it holds up a process that is given memory. */
async function memory(server: Server): Promise<{ mib: number; peakMiB: number }> {
  await sleep(1_000);
  const mib = await server.pssMiB();
  let peakMiB = mib;
  const swapped = swap(server);
  for (let over = false; !over; over = await Promise.race([swapped.then(() => true), sleep(10, false)])) {
    peakMiB = Math.max(peakMiB, await server.pssMiB());
  }
  return { mib, peakMiB };
}

/** In ms. */
async function swap({ url }: Server): Promise<number> {
  const startedMs = performance.now();
  const response = await fetch(`${url}/swap`, { method: 'POST' });
  if (!response.ok) throw new Error(`the server did not swap: ${await response.text()}`);
  return performance.now() - startedMs;
}

function phaseOf(phases: Record<string, PhaseFigures>, name: string): PhaseFigures {
  const phase = phases[name];
  if (phase === undefined) throw new Error(`the phase "${name}" was not measured`);
  return phase;
}

const answeredOf = ({ statuses }: PhaseFigures): number => statuses['200'] ?? 0;

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** Medians over the rounds, and medians of the ratios to ours in the same round. */
function summary(way: Way, rounds: Record<Way, Measured>[]): Measured & { toThread: Measured } {
  const names = Object.keys(rounds[0]?.[way] ?? {}) as (keyof Measured)[];
  const each = (value: (round: Record<Way, Measured>, name: keyof Measured) => number): Measured =>
    Object.fromEntries(names.map((name) => [name, median(rounds.map((round) => value(round, name)))])) as never;
  return {
    ...each((round, name) => round[way][name]),
    toThread: each((round, name) => round[way][name] / round[OURS][name]),
  };
}

const TITLES: Record<Way, string> = {
  own: 'own thread',
  thread: 'thread a version',
  process: 'process a version',
  cluster: 'process a core',
};

function tableOf(ways: Record<string, Measured & { toThread: Measured }>): string {
  const rows = WAYS.flatMap((way) => {
    const found = ways[way];
    if (found === undefined) return [];
    const { toThread: to } = found;
    const cell = (name: keyof Measured, digits: number): string =>
      `${found[name].toFixed(digits)} (${to[name].toFixed(2)})`;
    return [
      `| ${TITLES[way]} | ${cell('rps', 0)} | ${cell('cpuMicros', 0)} | ${cell('p50Ms', 1)} | ${cell('p99Ms', 1)} ` +
        `| ${cell('swapsP99Ms', 1)} | ${cell('stallMs', 0)} | ${cell('swapMs', 0)} | ${cell('mib', 0)} | ${cell('peakMiB', 0)} |`,
    ];
  });
  return [
    '| sessions in | requests/s | CPU us | p50 ms | p99 ms | p99 ms, swaps | longest stall ms | a swap ms | MiB | peak MiB |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    'In parentheses: to one thread a version, median over the rounds.',
  ].join('\n');
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number of at least 1.');
  return number;
}
