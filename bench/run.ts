import { writeFile } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { projectRoot } from '../scripts/stack/project.ts';
import { messageOf } from '../scripts/stack/say.ts';

export interface BenchmarkResult {
  figures: Record<string, unknown>;
  /** For people: what is printed. */
  table: string;
  /** Further programs that were run, as one would type them. */
  commands?: string[];
}

/** What a module `bench/NAME.ts` exports. What belongs to it alone lies in folders beside it. */
export interface Benchmark {
  /** One line. */
  description: string;
  /** Declares options of its own; `run` gets their values by commander's names. */
  options?: (command: Command) => void;
  run: (options: Record<string, unknown>) => Promise<BenchmarkResult>;
}

const FOLDER = join(projectRoot(), 'bench');

function benchmarkNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

async function load(name: string): Promise<Benchmark> {
  const found = (await import(pathToFileURL(join(FOLDER, `${name}.ts`)).href)) as Partial<Benchmark>;
  if (found.run === undefined || found.description === undefined)
    throw new Error(`bench/${name}.ts is no benchmark: it must export run and description`);
  return found as Benchmark;
}

async function listing(): Promise<string> {
  const names = benchmarkNames();
  const width = Math.max(...names.map(({ length }) => length));
  const lines = await Promise.all(
    names.map(async (name) => {
      const description = await load(name).then((found) => found.description, messageOf);
      return `  ${name.padEnd(width)}  ${description}`;
    }),
  );
  return ['Usage: npm run bench -- NAME [--json FILE] [options]', '', ...lines].join('\n');
}

function describeMachine(): Record<string, unknown> {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  };
}

async function runBenchmark(name: string, args: string[]): Promise<void> {
  const { description, options, run } = await load(name);
  const command = new Command(`npm run bench -- ${name}`)
    .description(description)
    .option('--json <file>', 'write the figures there, with the machine');
  options?.(command);
  const { json, ...given } = command.parse(args, { from: 'user' }).opts<{ json?: string }>();
  const { figures, table, commands = [] } = await run(given);
  console.log(table);
  if (json === undefined) return;
  const report = {
    figures,
    machine: describeMachine(),
    commands: [['npm run bench --', name, ...args].join(' '), ...commands],
  };
  await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
}

async function main([name, ...args]: string[]): Promise<void> {
  if (name === undefined || name === '--help' || name === '-h') console.log(await listing());
  else if (benchmarkNames().includes(name)) await runBenchmark(name, args);
  else throw new Error(`there is no benchmark "${name}"\n\n${await listing()}`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}
