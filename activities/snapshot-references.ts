import type { CheckReport, Reference, References } from '../data/checks/check.ts';
import { chooseReferences, loadReferences, referenceTo, type LoadedSnapshot } from '../data/checks/references.ts';
import { parseProfile, type Profile } from '../data/profile/index.ts';
import { snapshotManifestSchema, type SnapshotManifest } from '../data/snapshot.ts';
import { findRemoved } from '../store/removed-artifacts.ts';
import { passedSnapshots, readSnapshot } from '../store/snapshots.ts';
import type { CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';

/**
 * What a snapshot's fresh rows are compared with: profiles of earlier snapshots that passed. One that was written under
 * another contract counts as not there.
 *
 * @throws ArtifactError when a profile is missing or damaged: a baseline that was lost must not look like a first snapshot.
 */
export async function snapshotReferences(
  deps: DataDependencies,
  { cycle, manifest }: { cycle: CycleRecord; manifest: SnapshotManifest },
): Promise<References> {
  const { line, config } = cycle;
  const parent = cycle.parent === null ? null : await readVersion(deps.db, { line, version: cycle.parent });
  const chosen = chooseReferences({
    window: manifest,
    seasonMs: config.snapshot.season,
    earlier: await passedSnapshots(deps.db, { line, beforeMs: manifest.cutoffMs }),
    trainedOn: parent?.lineage.snapshotId ?? null,
  });
  return loadReferences(chosen, (ids) => loadReference(deps, ids));
}

/**
 * The snapshots' profiles as one; null without ids, or when none of them had rows. One that retention removed counts as not
 * there: it keeps what the checks ask for (policy/retention.ts), but a taint may lead to a parent of long ago.
 *
 * @throws ArtifactError
 */
export async function loadReference(
  deps: Pick<DataDependencies, 'db' | 'artifacts'>,
  ids: readonly string[],
): Promise<Reference | null> {
  const loaded: LoadedSnapshot[] = [];
  for (const snapshotId of ids) {
    const record = await readSnapshot(deps.db, snapshotId);
    const manifest = snapshotManifestSchema.safeParse(record.manifest).data;
    if (manifest === undefined) continue;
    if ((await findRemoved(deps.db, [manifest.profiles.fresh?.sha256])).length > 0) continue;
    const profile = await readProfile(deps, manifest.profiles.fresh);
    if (profile !== null) loaded.push({ snapshotId, manifest, profile, report: record.report as CheckReport | null });
  }
  return referenceTo(loaded);
}

/** @returns null without rows. @throws ArtifactError when the profile is missing or damaged. */
export async function readProfile(
  deps: Pick<DataDependencies, 'artifacts'>,
  ref: { sha256: string } | null,
): Promise<Profile | null> {
  return ref === null ? null : parseProfile(await deps.artifacts.get(ref.sha256));
}
