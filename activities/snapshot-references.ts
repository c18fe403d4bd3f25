import type { CheckReport, Reference, References } from '../data/checks/check.ts';
import { chooseReferences } from '../data/checks/references.ts';
import { mergeProfiles, parseProfile, type Profile } from '../data/profile/index.ts';
import { snapshotManifestSchema, type SnapshotManifest } from '../data/snapshot.ts';
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
  const load = (ids: readonly string[]): Promise<Reference | null> => loadReference(deps, ids);
  const recent = await Promise.all(chosen.recent.map((id) => load([id])));
  return {
    training: chosen.training === null ? null : await load([chosen.training]),
    season: await load(chosen.season),
    earlierSeason: await load(chosen.earlierSeason),
    week: await load(chosen.week),
    recent: recent.filter((reference) => reference !== null),
  };
}

/** The snapshots' profiles as one; null without ids, or when none of them had rows. @throws ArtifactError */
export async function loadReference(
  deps: Pick<DataDependencies, 'db' | 'artifacts'>,
  ids: readonly string[],
): Promise<Reference | null> {
  const loaded: { id: string; manifest: SnapshotManifest; report: CheckReport | null; profile: Profile }[] = [];
  for (const id of ids) {
    const record = await readSnapshot(deps.db, id);
    const manifest = snapshotManifestSchema.safeParse(record.manifest).data;
    if (manifest === undefined) continue;
    const profile = await readProfile(deps, manifest.profiles.fresh);
    if (profile !== null) loaded.push({ id, manifest, report: record.report as CheckReport | null, profile });
  }
  const newest = loaded.toSorted((a, b) => b.manifest.cutoffMs - a.manifest.cutoffMs)[0];
  if (newest === undefined) return null;
  return {
    snapshotIds: loaded.map(({ id }) => id),
    fromMs: Math.min(...loaded.map(({ manifest }) => manifest.windowStartMs)),
    toMs: newest.manifest.cutoffMs,
    profile: mergeProfiles(loaded.map(({ profile }) => profile)),
    manifest: newest.manifest,
    report: newest.report,
  };
}

/** @returns null without rows. @throws ArtifactError when the profile is missing or damaged. */
export async function readProfile(
  deps: Pick<DataDependencies, 'artifacts'>,
  ref: { sha256: string } | null,
): Promise<Profile | null> {
  return ref === null ? null : parseProfile(await deps.artifacts.get(ref.sha256));
}
