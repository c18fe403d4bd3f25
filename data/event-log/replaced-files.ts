import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { generationOf, readHour } from './hour-state.ts';
import { isSegment, listHours, namesIn, type LogHour } from './layout.ts';
import { nameTest } from './segment-names.ts';

/**
 * Deletes what compactions have replaced, and what those that died left behind: segments, manifests and Parquet files that
 * no reader that begins now would open. Each only `graceMs` after it was replaced or written, so that whoever listed the hour
 * before can still read it. Returns how many files went.
 */
export async function removeReplaced(input: { root: string; nowMs: number; graceMs: number }): Promise<number> {
  let removed = 0;
  for (const hour of await listHours(input.root)) {
    for (const path of await replacedIn(hour, input.nowMs - input.graceMs)) {
      await rm(path, { force: true });
      removed += 1;
    }
  }
  return removed;
}

async function replacedIn(hour: LogHour, beforeMs: number): Promise<string[]> {
  const names = await namesIn(hour.folder);
  if (names.every(isSegment)) return [];
  const { compacted } = await readHour(hour);
  const old: string[] = [];
  if (compacted === null) {
    old.push(...names.filter(isLeftover));
  } else {
    // What the newest manifest does not need was needed until it appeared.
    if (Date.parse(compacted.compactedAt) > beforeMs) return [];
    const isReplaced = nameTest(compacted.replaces);
    const isEarlier = (name: string): boolean => (generationOf(name) ?? Infinity) < compacted.generation;
    old.push(...names.filter((name) => isEarlier(name) || (isSegment(name) && isReplaced(name))));
    old.push(...names.filter((name) => isLeftover(name) && name !== compacted.file.name));
  }
  const paths = old.map((name) => join(hour.folder, name));
  const written = await Promise.all(paths.map(writtenMs));
  return paths.filter((_, index) => (written[index] ?? Infinity) <= beforeMs);
}

/** A Parquet file, or a manifest that never got its name: of a compaction that is under way, that died, or that lost. */
function isLeftover(name: string): boolean {
  return /^(compacted-.+\.parquet|compacting-.+\.tmp)$/.test(name);
}

async function writtenMs(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    // Somebody else deleted it.
    return Infinity;
  }
}
