import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckReport } from '../../data/checks/check.ts';
import { DataError } from '../../data/data-error.ts';
import { arrivalFaults } from './corruptions/arrival.ts';
import { trustFaults } from './corruptions/trust.ts';
import { upstreamFaults } from './corruptions/upstream.ts';
import { faultWindow, type Fault } from './fault.ts';
import { benchConfig } from './line.ts';
import { writeLake, type FeedLog } from './log.ts';
import { passedBefore, runCycle, type Bench, type TakenSnapshot } from './windows.ts';

export const FAULTS: readonly Fault[] = [...arrivalFaults, ...upstreamFaults, ...trustFaults];

export interface FaultResult {
  fault: Fault;
  /** When the snapshot was taken, Unix ms. */
  nowMs: number;
  /** What blocked: codes of checks, or `source`. */
  blockedBy: string[];
  warnedBy: string[];
  /** A check that names the cause blocked. */
  caught: boolean;
  /** Of the first that blocked. */
  message: string;
  /** Null when no snapshot could be taken. */
  report: CheckReport | null;
}

/**
 * Corrupts the log as it was at the time of a clean snapshot of a chain, and takes and checks that snapshot again: with
 * the same parent and the same earlier snapshots.
 */
export async function runFault(
  bench: Bench,
  input: { log: FeedLog; fault: Fault; chain: readonly TakenSnapshot[]; index: number },
): Promise<FaultResult> {
  const { log, fault, chain, index } = input;
  const clean = chain[index];
  if (clean === undefined) throw new Error(`the chain has no snapshot ${String(index)}`);
  const nowMs = clean.manifest.eventNowMs;
  const folder = join(bench.folder, 'faults', fileName(fault));
  await mkdir(folder, { recursive: true });
  const lake = join(folder, 'lake.parquet');
  await writeFaulty(log, { fault, clean, lake });
  const result = { fault, nowMs };
  try {
    const { tamper } = fault;
    const { report } = await runCycle(bench, {
      config: benchConfig({ lake, ...(fault.features === undefined ? {} : { features: fault.features }) }),
      nowMs,
      parent: chain[index - 1] ?? null,
      passed: passedBefore(chain.slice(0, index)),
      ...(tamper === undefined ? {} : { tamper: (taken) => tamper({ ...taken, folder }) }),
    });
    const blocking = report.results.filter(({ status }) => status === 'block');
    const naming = blocking.filter(({ check }) => fault.expect.includes(check));
    return {
      ...result,
      blockedBy: blocking.map(({ check }) => check),
      warnedBy: report.results.filter(({ status }) => status === 'warn').map(({ check }) => check),
      caught: naming.length > 0,
      message: (naming[0] ?? blocking[0])?.message ?? '',
      report,
    };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    const caught = fault.expect.includes('source');
    return { ...result, blockedBy: ['source'], warnedBy: [], caught, message: error.message, report: null };
  }
}

/** One after the other: they share a connection and a table. */
async function writeFaulty(log: FeedLog, input: { fault: Fault; clean: TakenSnapshot; lake: string }): Promise<void> {
  const { manifest } = input.clean;
  const statements = [
    `CREATE OR REPLACE TABLE faulty AS SELECT * FROM log WHERE arrived_at_ms < ${String(manifest.eventNowMs)}`,
    ...(input.fault.change?.(faultWindow(manifest)) ?? []),
  ];
  const written = log.idle.then(async () => {
    for (const statement of statements) await log.db.run(statement);
    await writeLake(log.db, { query: 'SELECT * FROM faulty', path: input.lake });
  });
  log.idle = written.catch(() => undefined);
  await written;
}

function fileName({ kind, name }: Fault): string {
  return `${kind} ${name}`.replaceAll(/[^a-z0-9]+/gi, '-');
}
