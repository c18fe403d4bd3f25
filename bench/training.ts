import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { projectRoot } from '../scripts/stack/project.ts';
import { ensurePythonEnv } from '../scripts/stack/python-env.ts';
import type { BenchmarkResult } from './run.ts';

export const description =
  'samples/s of the trainer, beside the same model in a textbook PyTorch loop; on the GPU where there is one';

const given = z.object({
  rows: z.number(),
  features: z.number(),
  numbers: z.number(),
  buckets: z.number(),
  dim: z.number(),
  hidden: z.array(z.number()),
  batch: z.number(),
  steps: z.number(),
  rounds: z.number(),
  threads: z.number(),
  workers: z.number(),
});

const measured = z.object({
  samplesPerSecond: z.number(),
  textbookSamplesPerSecond: z.number(),
  ratio: z.number(),
  device: z.string(),
  rounds: z.array(z.object({ samplesPerSecond: z.number(), textbook: z.number() })),
  prepareSeconds: z.number(),
  weights: z.number(),
  threads: z.number(),
  torch: z.string(),
  bytesPerSample: z.number(),
  bandwidthBytesPerSecond: z.number().nullable(),
  bandwidthShare: z.number().nullable(),
});

export function options(command: Command): void {
  command
    .option('--rows <n>', 'rows of a training', atLeast(1), 400_000)
    .option('--features <n>', 'categorical features', atLeast(1), 8)
    .option('--numbers <n>', 'numeric features', atLeast(0), 8)
    .option('--buckets <n>', 'ids of a categorical feature, each equally often', atLeast(1), 100_000)
    .option('--dim <n>', 'width of an embedding', atLeast(1), 16)
    .option('--hidden <widths>', 'of the hidden layers, with commas between', widths, [64, 32])
    .option('--batch <n>', 'rows of a batch', atLeast(1), 1_024)
    .option(
      '--steps <n>',
      "steps of the textbook's loop in each round, after a first one that is not timed",
      atLeast(1),
      20,
    )
    .option('--rounds <n>', 'turns of both; figures are medians', atLeast(1), 3)
    .option('--threads <n>', 'threads of PyTorch, for both', atLeast(1), 1)
    .option('--workers <n>', "processes of the textbook's DataLoader besides its own", atLeast(0), 0);
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const { rows, steps, rounds, threads, workers, ...shape } = given.parse(input);
  const textbookRows = shape.batch * (steps + 1);
  if (rows < Math.max(textbookRows, shape.buckets)) {
    throw new Error(
      `--rows ${String(rows)} is too few: the textbook's ${String(steps + 1)} batches take ${String(textbookRows)}, and each of ${String(shape.buckets)} ids has to occur; give more rows, or lower --steps, --batch or --buckets`,
    );
  }
  const figures = await measure({ shape: { rows, ...shape }, textbookRows, rounds, threads, workers });
  return { figures: { ...figures, rows, ...shape }, table: tableOf(figures) };
}

async function measure(spec: Record<string, unknown>): Promise<z.infer<typeof measured>> {
  const say = (line: string): void => {
    console.error(line);
  };
  const { path: python } = await ensurePythonEnv({ say });
  const root = projectRoot();
  const child = spawn(python, ['-m', 'speed', JSON.stringify(spec)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PYTHONPATH: [join(root, 'bench', 'training'), join(root, 'trainer')].join(delimiter) },
  });
  const lastLines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('round ')) say(line);
    else lastLines.push(line);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [output, code] = await Promise.all([text(child.stdout), ended]);
  if (code !== 0) throw new Error(`the measurement failed:\n${lastLines.slice(-12).join('\n')}`);
  return measured.parse(JSON.parse(output));
}

function tableOf(figures: z.infer<typeof measured>): string {
  const number = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
  const lines: [string, string][] = [
    ['device', figures.device],
    ['weights', number(figures.weights)],
    [
      'trainer',
      `${number(figures.samplesPerSecond)} samples/s (and ${figures.prepareSeconds.toFixed(1)} s before and after)`,
    ],
    ['textbook', `${number(figures.textbookSamplesPerSecond)} samples/s`],
    ['ratio', figures.ratio.toFixed(1)],
  ];
  if (figures.bandwidthBytesPerSecond !== null && figures.bandwidthShare !== null) {
    const share = `${(100 * figures.bandwidthShare).toFixed(1)} % of ${number(figures.bandwidthBytesPerSecond / 1e9)} GB/s`;
    lines.push(['memory', `${share}, at ${number(figures.bytesPerSample)} bytes a sample`]);
  }
  return lines.map(([name, value]) => `${name.padEnd(10)}${value}`).join('\n');
}

function atLeast(least: number): (text: string) => number {
  return (given) => {
    const value = Number(given);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`expected a whole number of at least ${String(least)}.`);
  };
}

function widths(text: string): number[] {
  return text.split(',').map(atLeast(1));
}
