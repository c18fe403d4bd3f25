import { z } from 'zod';
import type { SnapshotPart, VersionPart } from '../policy/retention.ts';
import type { VersionRecord } from './types.ts';

/** An artifact that something on record refers to. */
export interface ArtifactReference<Part extends string = string> {
  sha256: string;
  /** `model of version 3`, `train of snapshot 3f9c2a71b0de`. */
  what: string;
  part: Part;
}

export type ReferringVersion = Pick<VersionRecord, 'version' | 'modelSha256' | 'checkpointSha256'> & {
  lineage: Pick<VersionRecord['lineage'], 'trainerManifestSha256' | 'predictionsSha256' | 'resultSha256'>;
};

const NAMES: Record<VersionPart, string> = {
  model: 'model',
  checkpoint: 'checkpoint',
  trainerManifest: 'trainer manifest',
  predictions: 'predictions',
  result: "trainer's result",
};

/** The artifacts of a version itself; those of its snapshot are the snapshot's. */
export function versionArtifacts(of: ReferringVersion): ArtifactReference<VersionPart>[] {
  const { version, modelSha256, checkpointSha256, lineage } = of;
  const hashes: Record<VersionPart, string | null | undefined> = {
    model: modelSha256,
    checkpoint: checkpointSha256,
    trainerManifest: lineage.trainerManifestSha256,
    predictions: lineage.predictionsSha256,
    result: lineage.resultSha256,
  };
  return (Object.keys(hashes) as VersionPart[]).flatMap((part) => {
    const sha256 = hashes[part];
    return sha256 == null ? [] : [{ sha256, what: `${NAMES[part]} of version ${String(version)}`, part }];
  });
}

const file = z.object({ sha256: z.string() });
const PARTS = ['train', 'replay', 'holdout', 'historical', 'unlabelled'] as const;
/** What every contract's manifest has; what one part of it can not be read as hides no other. */
const referring = z.object({
  files: z.record(z.string(), z.array(file).catch([])).catch({}),
  profiles: z.record(z.string(), file.nullable().catch(null)).catch({}),
});

/**
 * The artifacts of a snapshot: its manifest, whose sha256 is its id, its files and its profiles. Reads manifests of other
 * contracts, too: a part that is not known here stays for as long as the manifest. Of what is no manifest only itself.
 */
export function snapshotArtifacts(of: { snapshotId: string; manifest: unknown }): ArtifactReference<SnapshotPart>[] {
  const { snapshotId, manifest } = of;
  const what = (part: string): string => `${part} of snapshot ${snapshotId.slice(0, 12)}`;
  const own = { sha256: snapshotId, what: what('manifest'), part: 'manifest' as const };
  const parsed = referring.safeParse(manifest).data;
  if (parsed === undefined) return [own];
  const files = Object.entries(parsed.files).flatMap(([name, refs]) => {
    const part: SnapshotPart = PARTS.find((known) => known === name) ?? 'manifest';
    return refs.map(({ sha256 }) => ({ sha256, what: what(name), part }));
  });
  const profiles = Object.entries(parsed.profiles).flatMap(([name, profile]) =>
    profile === null
      ? []
      : [{ sha256: profile.sha256, what: what(`profile of ${name} rows`), part: 'profiles' as const }],
  );
  return [own, ...files, ...profiles];
}
