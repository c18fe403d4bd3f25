import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, open, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { openDuckDb, sqlName, sqlText, type Duck } from '../duckdb.ts';
import { countLines } from './count-lines.ts';
import { manifestName, readHour, type CompactedHour, type HourState } from './hour-state.ts';
import { HOUR_MS, listHours, type LogHour } from './layout.ts';
import { featuresIn, mergeTypes, type LoggedTypes } from './logged-features.ts';
import {
  featureColumn,
  featuresType,
  FIELDS,
  HAS_FEATURES,
  segmentRecords,
  TORN,
  compactedRecords,
} from './record-sql.ts';
import { mergeNames, packNames } from './segment-names.ts';

/** What a compaction has done so far; a process may die after any of them, and the log reads the same. */
export type CompactionStep = 'parquetWritten' | 'manifestWritten' | 'switched';

export type CompactionResult =
  | { kind: 'compacted'; hour: LogHour; manifest: CompactedHour; segments: number; segmentBytes: number }
  /** Nothing came since the last compaction. */
  | { kind: 'unchanged' }
  /** Somebody else compacted the hour at the same time: what this one made is thrown away. */
  | { kind: 'overtaken' };

/** Memory that DuckDB may take: a compaction streams, and needs about a row group. */
const MEMORY_LIMIT = '1GiB';

/**
 * The hours whose segments can be compacted: nothing came for `quietMs` (by the folder's modification time, so whatever
 * clock the records are dated by), and the hour is over. An hour of a clock that runs ahead of this machine's counts as over
 * when nothing came for a whole hour: a clock that is not slower than this one has left it by then.
 */
export async function hoursToCompact(input: { root: string; nowMs: number; quietMs: number }): Promise<LogHour[]> {
  const due: LogHour[] = [];
  for (const hour of await listHours(input.root)) {
    const { mtimeMs } = await stat(hour.folder);
    const quietForMs = input.nowMs - mtimeMs;
    const over = hour.startMs + HOUR_MS <= input.nowMs || quietForMs >= HOUR_MS;
    if (!over || quietForMs < input.quietMs) continue;
    const { segments } = await readHour(hour);
    if (segments.length > 0) due.push(hour);
  }
  return due;
}

/**
 * Writes the records of an hour's segments, with those that were compacted before, as one Parquet file, and switches readers to
 * it by a manifest that names the segments it stands for. Every line becomes a row, a torn one a row of NULL; repeats stay, and
 * are removed when a snapshot is taken, so that it counts the same rows whether the log was compacted or not.
 *
 * The manifest appears under the next generation's number by `link`, which refuses a name that is taken: of two compactions
 * at once one wins, and a process that was stopped in the middle for hours can not put an old state back.
 *
 * @param input.afterStep called after each step.
 * @throws Error when the file does not hold as many rows as the segments have lines, or the earlier file is damaged; readers
 * see the hour as it was.
 */
export async function compactHour(
  hour: LogHour,
  { afterStep = () => undefined }: { afterStep?: (step: CompactionStep) => void } = {},
): Promise<CompactionResult> {
  const state = await readHour(hour);
  if (state.segments.length === 0) return { kind: 'unchanged' };
  await requireIntact(state);
  const generation = (state.compacted?.generation ?? 0) + 1;
  const path = join(
    hour.folder,
    `compacted-${String(generation).padStart(8, '0')}-${randomUUID().slice(0, 8)}.parquet`,
  );
  const db = await openDuckDb();
  try {
    await db.run(`SET memory_limit = '${MEMORY_LIMIT}'`);
    const features = await featuresOf(db, state);
    await writeParquet(db, { state, features, path });
    const counts = await countRows(db, { state, features, path });
    await flush(path);
    afterStep('parquetWritten');
    const { size } = await stat(path);
    const manifest: CompactedHour = {
      contractVersion: 1,
      kind: hour.kind,
      hourStartMs: hour.startMs,
      generation,
      compactedAt: new Date().toISOString(),
      file: { name: basename(path), sha256: await sha256Of(path), bytes: size },
      ...counts,
      replaces: mergeNames(
        state.compacted?.replaces ?? packNames([]),
        state.segments.map((segment) => basename(segment)),
      ),
    };
    const segmentBytes = await bytesOf(state.segments);
    const switched = await publish(hour, { manifest, afterStep });
    if (!switched) {
      await rm(path);
      return { kind: 'overtaken' };
    }
    afterStep('switched');
    return { kind: 'compacted', hour, manifest, segments: state.segments.length, segmentBytes };
  } finally {
    db.close();
  }
}

/** Damage must not be carried into the next file. */
async function requireIntact({ compacted }: HourState): Promise<void> {
  if (compacted === null || (await sha256Of(compacted.path)) === compacted.file.sha256) return;
  throw new Error(
    `${compacted.path} is not the file that its manifest names (another sha256): put it back from a backup, or move it and its manifest away and lose the hour's ${String(compacted.rows)} rows`,
  );
}

/** By model line. */
async function featuresOf(db: Duck, { hour, compacted, segments }: HourState): Promise<Map<string, LoggedTypes>> {
  if (hour.kind === 'feedback') return new Map();
  const found = await featuresIn(db, segments);
  for (const { line, features } of compacted?.lines ?? []) found.set(line, mergeTypes(features, found.get(line) ?? {}));
  return found;
}

function namesOf(features: ReadonlyMap<string, LoggedTypes>): string[] {
  return [...new Set([...features.values()].flatMap((types) => Object.keys(types)))].sort();
}

interface ParquetToWrite {
  state: HourState;
  features: ReadonlyMap<string, LoggedTypes>;
  path: string;
}

async function writeParquet(db: Duck, { state, features, path }: ParquetToWrite): Promise<void> {
  const { hour, compacted, segments } = state;
  const fields = FIELDS[hour.kind];
  const names = hour.kind === 'impressions' ? namesOf(features) : null;
  const fresh = names === null ? `FROM ${segmentRecords(segments, fields)}` : withFeatures(segments, { fields, names });
  const earlier = compacted === null ? '' : `FROM read_parquet(${sqlText(compacted.path)}) UNION ALL BY NAME`;
  await db.run(`
    COPY (${earlier} ${fresh})
    TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`);
}

/** Each feature in a column of its own. */
function withFeatures(
  segments: readonly string[],
  { fields, names }: { fields: (typeof FIELDS)['impressions']; names: readonly string[] },
): string {
  const groups = differingByMoreThanCase(names);
  const columns = groups.flatMap((group, index) =>
    group.map((name) => `freshet_${String(index)}.${sqlName(name)} AS ${sqlName(featureColumn(name))}`),
  );
  const fixed = Object.keys(fields);
  const [only = [], ...others] = groups;
  // A struct can not have two names that differ by the case of their letters only: then JSON is taken apart once for each.
  const type = others.length === 0 && only.length > 0 ? featuresType(only) : 'JSON';
  const structs = groups.map((group, index) => {
    const json = `json_transform(features, ${sqlText(JSON.stringify(Object.fromEntries(group.map((name) => [name, 'VARCHAR']))))})`;
    return `${type === 'JSON' ? json : 'features'} AS freshet_${String(index)}`;
  });
  const records = segmentRecords(segments, { ...fields, features: [type, 'features'] });
  return (
    `SELECT ${[...fixed, HAS_FEATURES, ...columns].join(', ')} FROM ` +
    `(SELECT ${[...fixed, `features IS NOT NULL AS ${HAS_FEATURES}`, ...structs].join(', ')} FROM ${records})`
  );
}

/** Groups of names in which no two differ by the case of their letters only. */
function differingByMoreThanCase(names: readonly string[]): string[][] {
  const groups: string[][] = [];
  const taken: Set<string>[] = [];
  for (const name of names) {
    const folded = name.toLowerCase();
    let index = taken.findIndex((group) => !group.has(folded));
    if (index === -1) index = taken.length;
    (groups[index] ??= []).push(name);
    (taken[index] ??= new Set()).add(folded);
  }
  return groups;
}

/** @throws Error unless the file has a row for each line of the segments and each row of the earlier file. */
async function countRows(
  db: Duck,
  { state, features, path }: ParquetToWrite,
): Promise<Pick<CompactedHour, 'rows' | 'torn' | 'lines'>> {
  const { hour, compacted, segments } = state;
  const written = compactedRecords([{ path, features: new Set() }], { fields: FIELDS[hour.kind] });
  const int = z.number().int();
  const { rows, torn } = await db.row(
    `SELECT count(*) AS rows, count(*) FILTER (${TORN[hour.kind]}) AS torn FROM ${written}`,
    z.object({ rows: int, torn: int }),
  );
  const expected = (compacted?.rows ?? 0) + (await countLines(segments));
  if (rows !== expected) {
    throw new Error(
      `the segments of ${hour.folder} have ${String(expected)} lines, but ${String(rows)} rows were written: the hour stays as it is`,
    );
  }
  const counts = await db.rows(
    `SELECT line, count(*) AS rows FROM ${written} WHERE NOT ${TORN[hour.kind]} GROUP BY line`,
    z.object({ line: z.string(), rows: int }),
  );
  const rowsOf = new Map(counts.map((count) => [count.line, count.rows]));
  const lines = [...new Set([...rowsOf.keys(), ...features.keys()])].sort();
  return {
    rows,
    torn,
    lines: lines.map((line) => ({ line, rows: rowsOf.get(line) ?? 0, features: features.get(line) ?? {} })),
  };
}

/** Whether readers see it: not when another compaction took this generation. */
async function publish(
  hour: LogHour,
  { manifest, afterStep }: { manifest: CompactedHour; afterStep: (step: CompactionStep) => void },
): Promise<boolean> {
  const written = join(hour.folder, `compacting-${randomUUID()}.tmp`);
  await writeFile(written, `${JSON.stringify(manifest)}\n`);
  await flush(written);
  afterStep('manifestWritten');
  try {
    await link(written, join(hour.folder, manifestName(manifest.generation)));
    await flush(hour.folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(written, { force: true });
  }
}

/** To the disk, not only to the operating system: the segments are deleted on the strength of it. */
async function flush(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

export async function bytesOf(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const path of paths) bytes += (await stat(path)).size;
  return bytes;
}
