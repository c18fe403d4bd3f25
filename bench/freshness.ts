import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { loadLineConfig } from '../config/load.ts';
import { projectRoot } from '../scripts/stack/project.ts';
import { evaluate } from './freshness/evaluate.ts';
import { writeLabelledRows } from './freshness/labelled-rows.ts';
import { plotOf } from './freshness/plot.ts';
import { figuresOf } from './freshness/report.ts';
import { tableOf } from './freshness/table.ts';
import type { BenchmarkResult } from './run.ts';

export const description =
  'AUC and cost of ways to keep a model fresh on a log in time order, each block scored before trained on';

const KUAIRAND = {
  line: join(projectRoot(), 'config', 'kuairand.yaml'),
  log: join(projectRoot(), '..', 'shared', 'data', 'kuairand'),
};

const given = z.object({
  log: z.string().optional(),
  line: z.string().optional(),
  seeds: z.number().optional(),
  bootstrap: z.number(),
  quick: z.boolean().default(false),
  plot: z.string().optional(),
});

export function options(command: Command): void {
  command
    .option(
      '--log <path>',
      'a Parquet or CSV file, a glob, or a folder of KuaiRand, an event log or a lake; KuaiRand when left out',
    )
    .option('--line <config>', "the line's config, with a log or a source section (default: config/kuairand.yaml)")
    .option('--seeds <n>', 'trainings of each kind, whose measures are averaged (default: 4)', wholeNumber)
    .option('--bootstrap <hours>', 'of the log that train the first model', hours, 72)
    .option('--quick', 'one seed, no refresh of a day, fewer replicates')
    .option('--plot <file>', 'write a plot there, as SVG');
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const options = given.parse(input);
  const { quick } = options;
  const bootstrapMs = Math.round(options.bootstrap * 3_600_000);
  const config = await loadLineConfig(options.line ?? KUAIRAND.line);
  // A line of one's own says itself where its data is, unless told otherwise.
  const log = options.log ?? (options.line === undefined ? KUAIRAND.log : null);
  const folder = await mkdtemp(join(tmpdir(), 'freshet-freshness-'));
  const say = (line: string): void => {
    console.error(line);
  };
  try {
    const read = await writeLabelledRows({ config, log, bootstrapMs, folder });
    say(
      `${read.location}: ${String(read.rows)} labelled rows, ${String(read.repeated)} repeated ones left out` +
        (read.immature > 0 ? `, ${String(read.immature)} too young for a label at the end of the log` : ''),
    );
    const seeds = options.seeds ?? (quick ? 1 : 4);
    const report = await evaluate({
      ...{ config, rows: read.path, folder, quick, seeds, say },
      bootstrapMs,
      replicates: quick ? 200 : 1_000,
    });
    if (options.plot !== undefined) await writeFile(options.plot, plotOf(report));
    const figures = figuresOf(report);
    return { figures, table: tableOf(report, figures) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number of at least 1.');
  return number;
}

function hours(text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number <= 0) throw new InvalidArgumentError('expected a number of hours above 0.');
  return number;
}
