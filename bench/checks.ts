import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { openDuckDb, sqlText } from '../data/duckdb.ts';
import { profileRelation, quantile } from '../data/profile/index.ts';
import { runToEnd } from '../scripts/stack/processes.ts';
import { entryPoint, projectRoot } from '../scripts/stack/project.ts';
import { ensureLockedPython } from '../scripts/stack/python-env.ts';
import { COLUMNS, writeData } from './checks/data.ts';
import type { BenchmarkResult } from './run.ts';

export const description =
  'profile and compare 1 M + 1 M rows x 25 columns, beside Evidently; memory at 10 M + 10 M rows';

export function options(command: Command): void {
  command
    .option('--rows <n>', 'rows of each of the two files', rowsOf, 1_000_000)
    .option(
      '--large-rows <n>',
      'rows of each file for the second figure of memory; 0 leaves it out',
      rowsOf,
      10_000_000,
    )
    .option('--no-evidently', 'leave out Evidently, which takes minutes and about 1 GB of packages');
}

const given = z.object({ rows: z.number(), largeRows: z.number(), evidently: z.boolean() });
const ours = z.object({
  seconds: z.number(),
  secondsAProfile: z.number(),
  profileBytes: z.number(),
  peakMiB: z.number(),
  threads: z.number(),
  columns: z.number(),
  drifted: z.array(z.string()),
});
const theirs = z.object({
  seconds: z.number(),
  importSeconds: z.number(),
  readSeconds: z.number(),
  peakMiB: z.number(),
  columns: z.number(),
});

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const { rows, largeRows, evidently } = given.parse(input);
  const commands: string[] = [];
  const small = await withData(rows, async (files) => ({
    ours: await measureOurs(files, commands),
    rankErrorP95: await rankError(files.reference),
    theirs: evidently ? await measureEvidently(files, commands) : null,
  }));
  const large = largeRows > 0 ? await withData(largeRows, (files) => measureOurs(files, commands)) : null;
  const figures = {
    rows,
    columns: small.ours.columns,
    threads: small.ours.threads,
    seconds: small.ours.seconds,
    secondsAProfile: small.ours.secondsAProfile,
    peakMiB: small.ours.peakMiB,
    profileBytes: small.ours.profileBytes,
    drifted: small.ours.drifted,
    rankErrorP95: small.rankErrorP95,
    // Reading and reporting; importing it is not counted.
    evidentlySeconds: small.theirs?.seconds ?? null,
    evidentlyImportSeconds: small.theirs?.importSeconds ?? null,
    evidentlyPeakMiB: small.theirs?.peakMiB ?? null,
    ratio: small.theirs === null ? null : small.theirs.seconds / small.ours.seconds,
    largeRows,
    seconds10M: large?.seconds ?? null,
    peakMiB10M: large?.peakMiB ?? null,
  };
  return { figures, table: tableOf(figures), commands };
}

interface Files {
  reference: string;
  current: string;
}

async function withData<T>(rows: number, work: (files: Files) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-bench-'));
  const files = { reference: join(folder, 'reference.parquet'), current: join(folder, 'current.parquet') };
  try {
    const db = await openDuckDb({ threads: availableParallelism() });
    try {
      for (const part of ['reference', 'current'] as const) await writeData(db, { path: files[part], rows, part });
    } finally {
      db.close();
    }
    return await work(files);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** In a process of its own: its peak memory is that of this work. */
async function measureOurs(files: Files, commands: string[]): Promise<z.infer<typeof ours>> {
  const program = 'bench/checks/profile-and-compare.ts';
  commands.push(`node --import tsx ${program} reference.parquet current.parquet`);
  return ours.parse(await runForJson(process.execPath, [...entryPoint(program), files.reference, files.current]));
}

async function measureEvidently(files: Files, commands: string[]): Promise<z.infer<typeof theirs>> {
  const program = join('bench', 'evidently', 'compare.py');
  const { path } = await ensureLockedPython({
    lock: join(projectRoot(), 'bench', 'evidently', 'requirements.lock'),
    name: 'evidently',
    what: 'Evidently: installing it into an environment of its own (about 1 GB on disk, once)',
    say: (line) => {
      console.error(line);
    },
  });
  commands.push(`python ${program} reference.parquet current.parquet`);
  return theirs.parse(await runForJson(path, [join(projectRoot(), program), files.reference, files.current]));
}

async function runForJson(command: string, args: string[]): Promise<unknown> {
  // Evidently's users are counted unless they say no.
  const { code, stdout, stderr } = await runToEnd(command, args, { env: { ...process.env, DO_NOT_TRACK: '1' } });
  if (code !== 0)
    throw new Error(
      `${command} ${args.join(' ')} failed:\n${(stderr || stdout).trim().split('\n').slice(-12).join('\n')}`,
    );
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

/** How far the ranks of 99 quantiles of a column, taken from the sample, are off: 95 of 100 by at most this. */
async function rankError(path: string): Promise<number> {
  const db = await openDuckDb({ threads: availableParallelism() });
  try {
    await db.run(
      `CREATE VIEW rows AS SELECT n0, file_row_number AS row FROM read_parquet(${sqlText(path)}, file_row_number = true)`,
    );
    const columns = COLUMNS.filter(({ name }) => name === 'n0');
    const sampled = await profileRelation(db, {
      relation: 'rows',
      columns,
      keyColumn: 'row',
      timeColumn: 'row',
      sampleSize: 10_000,
    });
    const wanted = Array.from({ length: 99 }, (_, index) => (index + 1) / 100);
    const ranks = wanted.map(
      (p, index) => `avg(CAST(n0 <= ${String(quantile(sampled, 'n0', p))} AS INTEGER)) AS r${String(index)}`,
    );
    const row = await db.row(`SELECT ${ranks.join(', ')} FROM rows`, z.record(z.string(), z.number()));
    const errors = wanted.map((p, index) => Math.abs((row[`r${String(index)}`] ?? NaN) - p)).sort((a, b) => a - b);
    return errors[Math.ceil(0.95 * errors.length) - 1] ?? Number.NaN;
  } finally {
    db.close();
  }
}

function rowsOf(text: string): number {
  const rows = Number(text);
  if (!Number.isSafeInteger(rows) || rows < 0) throw new InvalidArgumentError('expected a number of rows.');
  return rows;
}

function tableOf(figures: Record<string, unknown>): string {
  const width = Math.max(...Object.keys(figures).map(({ length }) => length));
  return Object.entries(figures)
    .map(
      ([name, value]) =>
        `${name.padEnd(width)}  ${typeof value === 'number' ? String(Number(value.toPrecision(4))) : JSON.stringify(value)}`,
    )
    .join('\n');
}
