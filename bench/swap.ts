import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { rankingModel } from './gateway/ranking-model.ts';
import { Load, type PhaseFigures, type Server } from './gateway/servers.ts';
import { LINE, ServingWorld } from './gateway/world.ts';
import type { BenchmarkResult } from './run.ts';

export const description = 'failed requests, latency and memory of the gateway while versions are swapped under load';

const given = z.object({
  swaps: z.number(),
  rate: z.number(),
  steadySeconds: z.number(),
  buckets: z.number(),
  everyMs: z.number(),
});

export function options(command: Command): void {
  command
    .option('--swaps <n>', 'of which the first half counts for latency, and all for memory', wholeNumber, 200)
    .option('--rate <n>', 'requests a second, of 50 candidates', wholeNumber, 300)
    .option('--steady-seconds <n>', 'before the first swap', wholeNumber, 30)
    .option('--buckets <n>', 'rows of each of eight embeddings: 65,536 make a model of 34 MB', wholeNumber, 65_536)
    .option('--every-ms <n>', 'from one swap to the next, at least', wholeNumber, 1_000);
}

/** Models that follow one another; each differs from its neighbours. */
const MODELS = 4;
const FIRST_MEMORY_AT = 20;

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const settings = given.parse(input);
  const load = loadavg()[0] ?? NaN;
  const say = (line: string): void => {
    console.error(line);
  };
  const world = await ServingWorld.create(say);
  try {
    const models: string[] = [];
    let bytes = 0;
    for (let seed = 0; seed < MODELS; seed++) {
      const model = rankingModel({ seed, buckets: settings.buckets });
      bytes = model.byteLength;
      models.push(await world.put(model));
    }
    const measured = await measure({ world, models, settings, say });
    const { steady, swaps, more } = measured.phases;
    const figures = {
      failedRequests: failedOf(steady) + failedOf(swaps) + failedOf(more),
      statuses: { steady: steady.statuses, swaps: swaps.statuses, more: more.statuses },
      p99Ms: swaps.p99Ms,
      p99SteadyMs: steady.p99Ms,
      p99MoreMs: more.p99Ms,
      maxMs: swaps.maxMs,
      maxSteadyMs: steady.maxMs,
      ratioP99: (swaps.p99Ms ?? NaN) / (steady.p99Ms ?? NaN),
      rssMiBAfter20: measured.rss[FIRST_MEMORY_AT] ?? null,
      [`rssMiBAfter${String(settings.swaps)}`]: measured.rss[settings.swaps] ?? null,
      modelMiB: bytes / 2 ** 20,
      secondsASwap: swaps.seconds / Math.ceil(settings.swaps / 2),
      load,
      ...settings,
    };
    return { figures, table: tableOf(figures) };
  } finally {
    await world.close();
  }
}

async function measure(input: {
  world: ServingWorld;
  models: string[];
  settings: z.output<typeof given>;
  say: (line: string) => void;
}): Promise<{ phases: Record<'steady' | 'swaps' | 'more', PhaseFigures>; rss: Record<number, number> }> {
  const { world, models, settings, say } = input;
  await world.promote(await world.candidate(modelAt(models, 0)), { direct: true });
  const gateway = await world.gateway();
  try {
    const load = await Load.start({
      url: gateway.url,
      line: LINE,
      connections: 128,
      candidates: 50,
      limit: 10,
      rate: settings.rate,
    });
    load.phase('warm');
    await sleep(5_000);
    load.phase('steady');
    await sleep(settings.steadySeconds * 1_000);
    load.phase('swaps');
    const rss: Record<number, number> = {};
    for (let swap = 1; swap <= settings.swaps; swap++) {
      const next = sleep(settings.everyMs);
      await swapTo(world, modelAt(models, swap));
      await next;
      if (swap === Math.ceil(settings.swaps / 2)) load.phase('more');
      if (swap === FIRST_MEMORY_AT || swap === settings.swaps) rss[swap] = await settledRss(gateway);
      if (swap % 20 === 0) say(`${String(swap)} swaps, ${(await gateway.rssMiB()).toFixed(0)} MiB`);
    }
    const { steady, swaps, more } = await load.stop();
    if (steady === undefined || swaps === undefined || more === undefined) throw new Error('a phase was not measured');
    return { phases: { steady, swaps, more }, rss };
  } finally {
    await gateway.stop();
  }
}

/** A whole swap: load and warm beside stable, a canary of 10 %, promotion, and the old version goes by itself. */
async function swapTo(world: ServingWorld, model: string): Promise<void> {
  const candidate = await world.candidate(model);
  await world.untilReported(
    await world.move(candidate, { canary: candidate.version, canaryShare: 0.1, holdback: 0.1 }),
  );
  await world.untilReported(await world.promote(candidate));
}

/** The median of what is resident over some seconds: garbage comes and goes. */
async function settledRss(server: Server): Promise<number> {
  const seen: number[] = [];
  for (let sample = 0; sample < 15; sample++) {
    seen.push(await server.rssMiB());
    await sleep(200);
  }
  return seen.sort((a, b) => a - b)[7] ?? NaN;
}

const modelAt = (models: string[], index: number): string => models[index % models.length] ?? '';

const failedOf = ({ requests, statuses }: PhaseFigures): number => requests - (statuses['200'] ?? 0);

function tableOf(figures: Record<string, unknown>): string {
  return Object.entries(figures)
    .map(
      ([name, value]) =>
        `${name.padEnd(16)}  ${typeof value === 'number' ? String(Number(value.toPrecision(4))) : JSON.stringify(value)}`,
    )
    .join('\n');
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number of at least 1.');
  return number;
}
