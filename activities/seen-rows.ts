import type { SeenRows } from '../data/evaluation/evaluate.ts';
import type { FileRef, SnapshotManifest } from '../data/snapshot.ts';
import { ArtifactError } from '../store/artifacts.ts';
import type { CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';
import { earlierManifest } from './snapshot-files.ts';

/** Event time. Older parents tell nothing of what users see now. */
const REACH_MS = 7 * 86_400_000;
/** Each file is hashed before it is read: this many bytes take about half a minute. */
const MAX_BYTES = 20e9;

/**
 * The files that the challenger of a cycle was trained on, and those of its parents back to the last training in full, of
 * seven days at most. `lacking` where one of them is not there any more, or where they are too many to read.
 */
export async function seenRows(
  deps: Pick<DataDependencies, 'db' | 'artifacts'>,
  { cycle, manifest }: { cycle: Pick<CycleRecord, 'line' | 'parent'>; manifest: SnapshotManifest },
): Promise<SeenRows> {
  const files = new Map<string, FileRef>();
  const add = (part: SnapshotManifest): void => {
    for (const file of [...part.files.train, ...part.files.replay]) files.set(file.sha256, file);
  };
  add(manifest);
  let parent = manifest.replay === 'all' ? null : cycle.parent;
  while (parent !== null) {
    const { lineage } = await readVersion(deps.db, { line: cycle.line, version: parent });
    const earlier = lineage.snapshotId === undefined ? null : await earlierManifest(deps.db, lineage.snapshotId);
    if (earlier === null) {
      return { kind: 'lacking', why: `it is not on record what version ${String(parent)}, a parent, was trained on` };
    }
    if (earlier.eventNowMs <= manifest.eventNowMs - REACH_MS) break;
    add(earlier);
    parent = lineage.strategy === 'full' ? null : (lineage.parent ?? null);
  }
  return localPaths(deps, [...files.values()]);
}

async function localPaths(
  { artifacts }: Pick<DataDependencies, 'artifacts'>,
  files: readonly FileRef[],
): Promise<SeenRows> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > MAX_BYTES) {
    const gigabytes = (value: number): string => `${(value / 1e9).toFixed(1)} GB`;
    const why = `what was trained on since the last training in full has ${gigabytes(bytes)}: at most ${gigabytes(MAX_BYTES)} are read`;
    return { kind: 'lacking', why };
  }
  try {
    const paths: string[] = [];
    for (const { sha256 } of files) paths.push(await artifacts.path(sha256));
    return { kind: 'files', paths };
  } catch (error) {
    if (error instanceof ArtifactError) return { kind: 'lacking', why: error.message };
    throw error;
  }
}
