import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { lineConfigSchema, type Feature } from '../config/schema.ts';
import { compactHour } from '../data/event-log/compaction.ts';
import { HOUR_MS, listHours, partitionOf, type SegmentKind } from '../data/event-log/layout.ts';
import { openDuckDb } from '../data/duckdb.ts';
import { eventLogSource } from '../data/sources/event-log-source.ts';
import { table } from '../scripts/commands/run-command.ts';
import type { BenchmarkResult } from './run.ts';

export const description = 'the event log: compaction in rows a second and bytes, reading a window before and after it';

export function options(command: Command): void {
  command
    .option('--rows <n>', 'impressions an hour', Number, 300_000)
    .option('--hours <n>', 'hours of the window', Number, 4)
    .option('--segments <n>', 'segments an hour: one a second and gateway', Number, 3_600);
}

const START_MS = Date.UTC(2026, 0, 5);
const SLATE = 10;
const CATEGORIES = Array.from({ length: 8 }, (_, index) => `category_${String(index)}`);
const NUMBERS = Array.from({ length: 8 }, (_, index) => `number_${String(index)}`);
/** Clicks an impression. */
const CLICKS = 0.05;

interface Taken {
  seconds: number;
  /** Of this process, all threads. */
  cpuSeconds: number;
}

/** Writes hours of traffic as gateways do, and measures what compaction makes of them. */
export async function run(given: Record<string, unknown>): Promise<BenchmarkResult> {
  const { rows, hours, segments } = given as { rows: number; hours: number; segments: number };
  const root = await mkdtemp(join(tmpdir(), 'freshet-event-log-'));
  try {
    let ndjson = 0;
    for (let hour = 0; hour < hours; hour += 1) ndjson += await writeHour(root, { hour, rows, segments });
    const idleMiB = peakMiB();
    let [compacted, parquet] = [0, 0];
    const compaction = await timed(async () => {
      for (const hour of await listHours(root)) {
        const result = await compactHour(hour);
        if (result.kind !== 'compacted') throw new Error('the hour was compacted already');
        compacted += result.manifest.rows;
        parquet += result.manifest.file.bytes;
      }
    });
    // The peak only grows: it is looked at before anything is read into memory.
    const compactingMiB = peakMiB();
    const after = await readWindow(root, hours);
    await forgetCompaction(root);
    const before = await readWindow(root, hours);
    if (before.rows !== after.rows) throw new Error('compaction changed the rows');
    const figures = {
      rows: compacted,
      segments: hours * segments * 2,
      ndjsonBytes: ndjson,
      parquetBytes: parquet,
      sizeRatio: ndjson / parquet,
      compactionRowsPerSecond: compacted / compaction.seconds,
      compactionRowsPerCpuSecond: compacted / compaction.cpuSeconds,
      peakRssMiB: { idle: idleMiB, compacting: compactingMiB },
      readSegments: before.taken,
      readCompacted: after.taken,
      readSpeedUp: before.taken.seconds / after.taken.seconds,
      readCpuSpeedUp: before.taken.cpuSeconds / after.taken.cpuSeconds,
    };
    return { figures, table: tableOf(figures) };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

function tableOf(of: Record<string, unknown>): string {
  const text = (value: unknown): string =>
    typeof value === 'number' ? String(Math.round(value * 100) / 100) : JSON.stringify(value);
  return table(Object.entries(of).map(([name, value]) => [name, text(value)]));
}

async function timed(work: () => Promise<void>): Promise<Taken> {
  const [startedMs, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - startedMs) / 1_000, cpuSeconds: (user + system) / 1e6 };
}

function peakMiB(): number {
  return Math.round(process.resourceUsage().maxRSS / 1_024);
}

/** Back to segments only. */
async function forgetCompaction(root: string): Promise<void> {
  for (const { folder } of await listHours(root)) {
    for (const name of await readdir(folder)) if (name.startsWith('compacted-')) await rm(join(folder, name));
  }
}

async function readWindow(root: string, hours: number): Promise<{ taken: Taken; rows: number }> {
  const range = { line: 'feed', fromMs: START_MS, toMs: START_MS + hours * HOUR_MS };
  const db = await openDuckDb();
  let rows = 0;
  try {
    const taken = await timed(async () => {
      rows = (await eventLogSource({ root }).load(db, range, featuresOf())).rows;
    });
    return { taken, rows };
  } finally {
    db.close();
  }
}

function featuresOf(): Feature[] {
  const features = [
    ...CATEGORIES.map((name) => ({ kind: 'categorical' as const, name })),
    ...NUMBERS.map((name) => ({ kind: 'numeric' as const, name })),
  ];
  return lineConfigSchema.parse({ line: 'feed', features }).features;
}

/** Returns the bytes written. */
async function writeHour(root: string, input: { hour: number; rows: number; segments: number }): Promise<number> {
  const startMs = START_MS + input.hour * HOUR_MS;
  const folderOf = (kind: SegmentKind): string => join(root, kind, partitionOf(startMs));
  for (const kind of ['impressions', 'feedback'] as const) await mkdir(folderOf(kind), { recursive: true });
  let [bytes, written] = [0, 0];
  for (let segment = 0; segment < input.segments; segment += 1) {
    const upTo = Math.round((input.rows * (segment + 1)) / input.segments);
    const atMs = startMs + Math.floor((HOUR_MS * segment) / input.segments);
    const [shown, clicks]: [string[], string[]] = [[], []];
    for (; written < upTo; written += 1) {
      const [impressionId, line] = impressionLine(input.hour * input.rows + written, atMs);
      shown.push(line);
      if (written % Math.round(1 / CLICKS) === 0) clicks.push(clickLine(impressionId, atMs));
    }
    const name = `gateway-1-0a1b2c3d-${String(segment + 1).padStart(8, '0')}.ndjson`;
    for (const [kind, lines] of [
      ['impressions', shown],
      ['feedback', clicks],
    ] as const) {
      const text = lines.join('');
      bytes += text.length;
      await writeFile(join(folderOf(kind), name), text);
    }
  }
  return bytes;
}

function impressionLine(n: number, atMs: number): [id: string, line: string] {
  const slate = Math.floor(n / SLATE);
  const signature = createHash('sha256').update(String(slate)).digest('base64url').slice(0, 22);
  const impressionId = `${signature}.${String(n % SLATE)}`;
  const bits = createHash('sha256').update(impressionId).digest();
  const categories = CATEGORIES.map((name, i) => [name, String(bits.readBigInt64LE(i) % BigInt(10 ** (2 + (i % 5))))]);
  const numbers = NUMBERS.map((name, i) => [name, Math.fround(bits.readUInt16LE(2 * i) / 997)]);
  const record = {
    impressionId,
    requestId: signature.slice(0, 16),
    line: 'feed',
    userId: `user-${String(slate % 50_000)}`,
    version: 7,
    arm: slate % 10 === 0 ? 'canary' : 'stable',
    eventTimeMs: atMs + (slate % 1_000),
    propensity: 1,
    itemId: `item-${String(bits.readUInt16LE(20))}`,
    position: n % SLATE,
    score: Math.fround(bits.readUInt32LE(24) / 2 ** 32),
    features: Object.fromEntries([...categories, ...numbers]) as Record<string, string | number>,
    arrivedAtMs: atMs + 1_000,
  };
  return [impressionId, `${JSON.stringify(record)}\n`];
}

function clickLine(impressionId: string, atMs: number): string {
  const record = {
    impressionId,
    line: 'feed',
    event: 'click',
    value: null,
    eventTimeMs: atMs,
    arrivedAtMs: atMs + 1_000,
  };
  return `${JSON.stringify(record)}\n`;
}
