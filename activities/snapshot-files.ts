import { snapshotManifestSchema, type SnapshotManifest } from '../data/snapshot.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import type { Database } from '../store/database.ts';
import { readSnapshot } from '../store/snapshots.ts';

/** Local paths of a snapshot's Parquet files, each verified against its sha256 on the way. */
export interface SnapshotFiles {
  train: string[];
  replay: string[];
  holdout: string[];
}

/** @throws Error when the snapshot is unknown or its record is not a manifest. */
export async function snapshotManifest(db: Database, snapshotId: string): Promise<SnapshotManifest> {
  return snapshotManifestSchema.parse((await readSnapshot(db, snapshotId)).manifest);
}

export async function localFiles(artifacts: ArtifactStore, manifest: SnapshotManifest): Promise<SnapshotFiles> {
  const paths = (refs: { sha256: string }[]): Promise<string[]> =>
    Promise.all(refs.map((ref) => artifacts.path(ref.sha256)));
  const [train, replay, holdout] = await Promise.all([
    paths(manifest.files.train),
    paths(manifest.files.replay),
    paths(manifest.files.holdout),
  ]);
  return { train, replay, holdout };
}
