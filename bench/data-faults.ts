import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { projectRoot } from '../scripts/stack/project.ts';
import { FAULTS, runFault, type FaultResult } from './data-faults/corpus.ts';
import type { Fault } from './data-faults/fault.ts';
import { benchConfig } from './data-faults/line.ts';
import { openFeedLog, writeLake, type FeedLog } from './data-faults/log.ts';
import { CYCLE_MS, HOUR_MS, openBench, runChain, type Bench, type TakenSnapshot } from './data-faults/windows.ts';
import type { BenchmarkResult } from './run.ts';

export const description = 'corrupted variants of KuaiRand that must be blocked, and clean windows of it that must not';

/** Chains of four-hour cycles that start at equal steps after each other. */
const CHAINS = 8;
/** Cycles of a chain whose windows count: days 2 to 6. Those before warm it up: it takes a season to have one to compare with. */
const COUNTED = 25;
const WARM_UP = 6;
/** The first of a chain takes all there is by then. */
const FIRST_NOW_MS = 20 * HOUR_MS;
/** Cycles that faults are put into, in turn: by day, in the evening and at night. */
const HOSTS = [16, 18, 20, 23, 26, 29];
/** Of two cores each has one to do; most of a cycle is DuckDB's. */
const AT_ONCE = 2;

const given = z.object({
  log: z.string(),
  quick: z.boolean().default(false),
  only: z.string().optional(),
  clean: z.boolean().default(true),
});

export function options(command: Command): void {
  command
    .option('--log <folder>', 'the folder of KuaiRand', join(projectRoot(), '..', 'shared', 'data', 'kuairand'))
    .option('--quick', 'every fourth fault and every eighth clean window')
    .option('--only <text>', 'only faults whose kind or name contains this')
    .option('--no-clean', 'no clean windows besides those that the faults need');
}

/** A window of the clean log that was blocked. */
interface FalseBlock {
  nowMs: number;
  checks: { check: string; message: string }[];
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const { log: folder, quick, only, clean } = given.parse(input);
  const work = await mkdtemp(join(tmpdir(), 'freshet-faults-'));
  const log = await openFeedLog(folder);
  try {
    const bench = openBench(work, log.scorer);
    await mkdir(join(work, 'clean'));
    const lake = join(work, 'clean', 'lake.parquet');
    await writeLake(log.db, { query: 'SELECT * FROM log', path: lake });
    const chains = await runChains(bench, { log, lake, count: quick || !clean ? 1 : CHAINS });
    const [chain = []] = chains;
    const chosen = FAULTS.filter(({ kind, name }) => only === undefined || `${kind}: ${name}`.includes(only));
    const results = await runFaults(bench, {
      log,
      chain,
      faults: quick ? chosen.filter((_, n) => n % 4 === 0) : chosen,
    });
    const windows = chains.flatMap((cycles) => cycles.slice(WARM_UP));
    return { figures: figuresOf(results, windows), table: tableOf(results, windows) };
  } finally {
    log.db.close();
    await rm(work, { recursive: true, force: true });
  }
}

/** Clean cycles; the chains do not depend on each other. */
async function runChains(
  bench: Bench,
  input: { log: FeedLog; lake: string; count: number },
): Promise<TakenSnapshot[][]> {
  const config = benchConfig({ lake: input.lake });
  const timesOf = (chain: number): number[] => {
    const first = input.log.fromMs + FIRST_NOW_MS + (chain * CYCLE_MS) / CHAINS;
    return Array.from({ length: WARM_UP + COUNTED }, (_, cycle) => first + cycle * CYCLE_MS);
  };
  const chains = Array.from({ length: input.count }, (_, chain) => timesOf(chain));
  return inTurn(chains, (times) => runChain(bench, { config, times }));
}

async function runFaults(
  bench: Bench,
  input: { log: FeedLog; chain: readonly TakenSnapshot[]; faults: readonly Fault[] },
): Promise<FaultResult[]> {
  const { log, chain } = input;
  return inTurn(input.faults, (fault) => {
    // By its place in the whole list: a fault is put into the same window whatever else runs.
    const index = HOSTS[FAULTS.indexOf(fault) % HOSTS.length] ?? 0;
    return runFault(bench, { log, chain, fault, index });
  });
}

/** Works through a list, so many at once; results in the list's order. */
async function inTurn<T, R>(list: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const next = list.entries();
  const worker = async (): Promise<void> => {
    for (const [place, item] of next) results[place] = await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

function figuresOf(results: readonly FaultResult[], windows: readonly TakenSnapshot[]): Record<string, unknown> {
  const strong = results.filter(({ fault }) => fault.strong);
  const byKind: Record<string, { caught: number; total: number }> = {};
  for (const { fault, caught } of strong) {
    const kind = (byKind[fault.kind] ??= { caught: 0, total: 0 });
    kind.total += 1;
    kind.caught += Number(caught);
  }
  const falseBlocks = falseBlocksOf(windows);
  const byCheck: Record<string, number> = {};
  for (const { check } of falseBlocks.flatMap(({ checks }) => checks)) byCheck[check] = (byCheck[check] ?? 0) + 1;
  return {
    caught: strong.filter(({ caught }) => caught).length,
    total: strong.length,
    blocked: strong.filter(({ blockedBy }) => blockedBy.length > 0).length,
    falseBlocks: falseBlocks.length,
    cleanWindows: windows.length,
    falseBlocksByCheck: byCheck,
    variants: results.length,
    weakBlocked: results.filter(({ fault, blockedBy }) => !fault.strong && blockedBy.length > 0).length,
    byKind,
    missed: strong.filter(({ caught }) => !caught).map(({ fault }) => `${fault.kind}: ${fault.name}`),
  };
}

function falseBlocksOf(windows: readonly TakenSnapshot[]): FalseBlock[] {
  return windows
    .filter(({ report }) => report.verdict === 'block')
    .map(({ manifest, report }) => ({
      nowMs: manifest.eventNowMs,
      checks: report.results
        .filter(({ status }) => status === 'block')
        .map(({ check, message }) => ({ check, message })),
    }));
}

function tableOf(results: readonly FaultResult[], windows: readonly TakenSnapshot[]): string {
  const at = (ms: number): string => new Date(ms).toISOString().slice(5, 16).replace('T', ' ');
  const lines = results.map(({ fault, nowMs, caught, blockedBy, warnedBy }) => {
    const verdict = caught ? 'caught' : fault.strong ? 'MISSED' : blockedBy.length > 0 ? 'other' : 'passed';
    const by =
      blockedBy.length > 0 ? blockedBy.join(', ') : warnedBy.length > 0 ? `(warned: ${warnedBy.join(', ')})` : '';
    return `${verdict.padEnd(7)} ${fault.strong ? 'strong' : 'weak  '} ${at(nowMs)}  ${`${fault.kind}: ${fault.name}`.padEnd(62)} ${by}`;
  });
  const falseBlocks = falseBlocksOf(windows);
  const blocked = falseBlocks.flatMap(({ nowMs, checks }) =>
    checks.map(({ check, message }) => `  ${at(nowMs)}  ${check}: ${message}`),
  );
  const strong = results.filter(({ fault }) => fault.strong);
  return [
    ...lines,
    '',
    `${String(strong.filter(({ caught }) => caught).length)} of ${String(strong.length)} strong faults caught by a check that names the cause (${String(results.length)} variants)`,
    `${String(falseBlocks.length)} of ${String(windows.length)} clean windows blocked`,
    ...blocked,
  ].join('\n');
}
