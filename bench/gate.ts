import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { decisionTable } from './gate/decision-figures.ts';
import { measureDecisions } from './gate/decisions.ts';
import { measureSpeed, type SpeedFigures } from './gate/speed.ts';
import type { BenchmarkResult } from './run.ts';

export const description =
  "the gate's bootstrap beside scipy's, and how often its verdicts are wrong on simulated challengers";

const given = z.object({ rows: z.number(), resamples: z.number(), simulations: z.number() });

export function options(command: Command): void {
  command
    .option('--rows <n>', 'impressions that the bootstrap is timed on; 0 leaves this part out', atLeast(0), 200_000)
    .option('--resamples <n>', "of scipy's, from which its time is scaled; 0 leaves scipy out", atLeast(0), 10)
    .option('--simulations <n>', 'trials of each kind of challenger; 0 leaves them out', atLeast(0), 1_000);
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const { rows, resamples, simulations } = given.parse(input);
  const say = (line: string): void => {
    console.error(line);
  };
  const speed = rows === 0 ? null : await measureSpeed({ rows, resamples });
  // After it, not beside it: the other one is timed.
  const decisions = simulations === 0 ? null : await measureDecisions({ simulations, say });
  const { commands = [], ...timed } = speed ?? {};
  const tables = [
    ...(speed === null ? [] : [speedTable(speed)]),
    ...(decisions === null ? [] : [decisionTable(decisions)]),
  ];
  return { figures: { ...timed, ...decisions }, table: tables.join('\n\n'), commands };
}

function speedTable(figures: SpeedFigures): string {
  const number = (value: number): string => value.toLocaleString('en-US');
  const { rows, users, replicates, threads, seconds, load, scipySeconds, ratio, scipyResamples } = figures;
  const lines: [string, string][] = [
    ['rows', `${number(rows)} of ${number(users)} users, ${number(replicates)} replicates of two models`],
    ['seconds', `${seconds.toFixed(1)} in ${String(threads)} threads, all eight metrics (load ${load.toFixed(1)})`],
  ];
  if (scipySeconds !== null && ratio !== null) {
    const scaled = `scaled from ${number(scipyResamples)} resamples of AUC, log loss and NDCG@10`;
    lines.push(['scipySeconds', `${scipySeconds.toFixed(0)}, ${scaled}`], ['ratio', ratio.toFixed(0)]);
  }
  return lines.map(([name, text]) => `${name.padEnd(17)}${text}`).join('\n');
}

function atLeast(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`expected a whole number of at least ${String(least)}.`);
  };
}
