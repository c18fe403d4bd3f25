import { z } from 'zod';
import { snapshotArtifacts } from '../../store/artifact-references.ts';
import { ArtifactError, type ArtifactStore } from '../../store/artifacts.ts';
import type { Database } from '../../store/database.ts';
import { readSnapshot } from '../../store/snapshots.ts';
import { INPUT_ORDER_VERSION, type Lineage, type VersionRecord } from '../../store/types.ts';
import { readVersion } from '../../store/versions.ts';

/** A trainer's manifest as far as it names what lies elsewhere now. */
const recorded = z.looseObject({
  snapshot: z.object({ train: z.array(z.string()), replay: z.array(z.string()), holdout: z.array(z.string()) }),
  warmStart: z.object({ checkpoint: z.string() }).nullable(),
  seed: z.number(),
  threads: z.number(),
  devices: z.number().default(0),
});
export type RecordedManifest = z.infer<typeof recorded>;

/** All that training a version again takes, from its lineage. Paths are local and verified. */
export interface ReproductionInputs {
  record: VersionRecord;
  lineage: Lineage;
  manifest: RecordedManifest;
  files: RecordedManifest['snapshot'];
  /** Null when it was trained from scratch; a checkpoint that is gone says where it went. */
  parent: { version: number; sha256: string | null; checkpoint: { path: string } | { gone: string } } | null;
}

/** What a version can not be trained again without; the message names all of it. */
export class NotReproducible extends Error {
  override name = 'NotReproducible';
}

/**
 * Reads what a version was trained from.
 *
 * @throws NotReproducible that names each artifact that is missing or damaged, and what removed it. A missing checkpoint of
 * the parent is no error here: the parent can be trained again.
 */
export async function reproductionInputs(
  { db, artifacts }: { db: Database; artifacts: ArtifactStore },
  { line, version }: { line: string; version: number },
): Promise<ReproductionInputs> {
  const record = await readVersion(db, { line, version });
  const lineage = completeLineage(record);
  const missing: string[] = [];
  const found = async <T>(what: string, work: () => Promise<T>): Promise<T | null> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ArtifactError)) throw error;
      missing.push(goneAs(what, error));
      return null;
    }
  };
  const text = await found(`trainer manifest of version ${String(version)}`, () =>
    artifacts.get(lineage.trainerManifestSha256),
  );
  const snapshot = await readSnapshot(db, lineage.snapshotId);
  const files: RecordedManifest['snapshot'] = { train: [], replay: [], holdout: [] };
  for (const { sha256, what, part } of snapshotArtifacts(snapshot)) {
    if (part !== 'train' && part !== 'replay' && part !== 'holdout') continue;
    const path = await found(what, () => artifacts.path(sha256));
    if (path !== null) files[part].push(path);
  }
  if (text === null || missing.length > 0)
    throw new NotReproducible(
      `version ${String(version)} of "${line}" can not be trained again: ${missing.join('; ')}`,
    );
  const manifest = recorded.parse(JSON.parse(Buffer.from(text).toString('utf8')));
  const parent = manifest.warmStart === null ? null : await parentOf({ db, artifacts }, { record, lineage });
  return { record, lineage, manifest, files, parent };
}

async function parentOf(
  { db, artifacts }: { db: Database; artifacts: ArtifactStore },
  { record: { line, version }, lineage }: { record: VersionRecord; lineage: Lineage },
): Promise<ReproductionInputs['parent']> {
  if (lineage.parent === null)
    throw new NotReproducible(
      `version ${String(version)} of "${line}" was trained from a checkpoint, but its lineage names no parent`,
    );
  const { checkpointSha256: sha256 } = await readVersion(db, { line, version: lineage.parent });
  const what = `checkpoint of version ${String(lineage.parent)}`;
  if (sha256 === null)
    return { version: lineage.parent, sha256, checkpoint: { gone: `${what}: it has none on record` } };
  try {
    return { version: lineage.parent, sha256, checkpoint: { path: await artifacts.path(sha256) } };
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    return { version: lineage.parent, sha256, checkpoint: { gone: goneAs(what, error) } };
  }
}

/** `checkpoint of version 3 of "news", removed by retention at ...`, or what is wrong with the file. */
function goneAs(what: string, { removed, message }: ArtifactError): string {
  return removed ?? `${what}: ${message}`;
}

function completeLineage({ line, version, lineage }: VersionRecord): Lineage {
  if (version === INPUT_ORDER_VERSION)
    throw new NotReproducible(`version 0 of "${line}" keeps the input's order: nothing was trained`);
  const { snapshotId, trainerManifestSha256, config } = lineage;
  if (snapshotId !== undefined && trainerManifestSha256 !== undefined && config !== undefined)
    return lineage as Lineage;
  throw new NotReproducible(
    `the lineage of version ${String(version)} of "${line}" is incomplete: it names no snapshot`,
  );
}
