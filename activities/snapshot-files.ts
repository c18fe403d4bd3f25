import { snapshotManifestSchema, type SnapshotManifest } from '../data/snapshot.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import type { Database } from '../store/database.ts';
import { readSnapshot } from '../store/snapshots.ts';

/** Local paths of a snapshot's Parquet files, each verified against its sha256 on the way. */
export type SnapshotFiles = Record<keyof SnapshotManifest['files'], string[]>;

/** @throws Error when the snapshot is unknown or its record is not a manifest. */
export async function snapshotManifest(db: Database, snapshotId: string): Promise<SnapshotManifest> {
  return snapshotManifestSchema.parse((await readSnapshot(db, snapshotId)).manifest);
}

/** The manifest of an earlier snapshot; null when it was written under another contract, before an upgrade. */
export async function earlierManifest(db: Database, snapshotId: string): Promise<SnapshotManifest | null> {
  return snapshotManifestSchema.safeParse((await readSnapshot(db, snapshotId)).manifest).data ?? null;
}

export async function localFiles(artifacts: ArtifactStore, manifest: SnapshotManifest): Promise<SnapshotFiles> {
  const paths = (part: keyof SnapshotFiles): Promise<string[]> =>
    Promise.all(manifest.files[part].map(({ sha256 }) => artifacts.path(sha256)));
  const [train, holdout, replay, historical, unlabelled] = await Promise.all([
    paths('train'),
    paths('holdout'),
    paths('replay'),
    paths('historical'),
    paths('unlabelled'),
  ]);
  return { train, holdout, replay, historical, unlabelled };
}
