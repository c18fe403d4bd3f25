import {
  decideRetention,
  type Kept,
  type RetainedSnapshot,
  type RetainedVersion,
  type RetentionFacts,
  type SnapshotPart,
  type VersionPart,
} from '../policy/retention.ts';
import {
  snapshotArtifacts,
  versionArtifacts,
  type ArtifactReference,
  type ReferringVersion,
} from './artifact-references.ts';
import type { Queryable } from './database.ts';
import { readLine } from './lines.ts';
import { parentFor } from './parents.ts';
import { currentRoute } from './route-head.ts';
import { INPUT_ORDER_VERSION } from './types.ts';

/** Somebody who refers to an artifact; `keep` says why it must stay for them, null that they can do without. */
export interface Owner {
  line: string;
  what: string;
  kind: StorageKind;
  keep: string | null;
}
export const STORAGE_KINDS = ['models', 'checkpoints', 'snapshots', 'profiles', 'predictions', 'other'] as const;
export type StorageKind = (typeof STORAGE_KINDS)[number];

const KINDS: Partial<Record<VersionPart | SnapshotPart, StorageKind>> = {
  ...{ model: 'models', checkpoint: 'checkpoints', predictions: 'predictions', profiles: 'profiles' },
  ...{
    train: 'snapshots',
    replay: 'snapshots',
    holdout: 'snapshots',
    historical: 'snapshots',
    unlabelled: 'snapshots',
  },
};

/** All that a line refers to, by artifact, with what retention says of it. */
export async function readOwners(
  db: Queryable,
  { line, nowMs }: { line: string; nowMs: number },
): Promise<{ sha256: string; owner: Owner }[]> {
  const [versions, snapshots] = [await readVersions(db, line), await readSnapshots(db, line)];
  const kept = await decide(db, { line, nowMs, versions, snapshots });
  const owned = (
    { sha256, what, part }: ArtifactReference<VersionPart | SnapshotPart>,
    keep: string | undefined,
  ): { sha256: string; owner: Owner } => ({
    sha256,
    owner: { line, what, kind: KINDS[part] ?? 'other', keep: keep ?? null },
  });
  return [
    ...versions.flatMap((version) =>
      versionArtifacts(version).map((ref) =>
        owned(ref, kept === null ? UNREADABLE : kept.versions.get(version.version)?.get(ref.part)),
      ),
    ),
    ...snapshots.flatMap((snapshot) =>
      [...snapshotArtifacts(snapshot), ...outputsOf(snapshot)].map((ref) =>
        owned(ref, kept === null ? UNREADABLE : kept.snapshots.get(snapshot.snapshotId)?.get(ref.part)),
      ),
    ),
    ...(await namedByOpenCycles(db, line)).map(({ sha256, cycleId }) => ({
      sha256,
      owner: {
        line,
        what: `work of cycle ${cycleId}`,
        kind: 'other' as const,
        keep: `is used by open cycle ${cycleId}`,
      },
    })),
  ];
}

const UNREADABLE = "its line's stored config can not be read: apply it again";

type VersionRow = RetainedVersion & ReferringVersion;
type SnapshotRow = RetainedSnapshot & { manifest: unknown; outputs: Record<string, unknown> | null };

/** Null when the config that says what stays can not be read: then all of it does. */
async function decide(
  db: Queryable,
  of: { line: string; nowMs: number; versions: VersionRow[]; snapshots: SnapshotRow[] },
): Promise<Kept | null> {
  const { line } = of;
  const config = await readLine(db, line).then(
    (record) => record.config,
    () => null,
  );
  if (config === null) return null;
  const { stable } = await currentRoute(db, line);
  return decideRetention({
    ...{ nowMs: of.nowMs, config: config.retention, snapshot: config.snapshot },
    ...{ versions: of.versions, snapshots: of.snapshots },
    ...(await readNames(db, line)),
    nextParent: (await parentFor(db, { line, stable })).parent,
  });
}

async function readVersions(db: Queryable, line: string): Promise<VersionRow[]> {
  const { rows } = await db.query<VersionRow>(
    `with spans as (
       select stable, canary, holdback_version, shadow, coalesce(lead(at) over (order by epoch), 'infinity') as until
       from routes where line = $1),
     routed as (
       select version, max(until) as until from spans, unnest(array[stable, canary, holdback_version, shadow]) as version
       where version is not null group by version)
     select v.version, v.parent, v.status, v.cycle_id as "cycleId", v.lineage->>'snapshotId' as "snapshotId",
       extract(epoch from v.created_at)::float8 * 1000 as "createdAtMs", v.training_cutoff_ms as "trainingCutoffMs",
       (s.manifest->>'eventNowMs')::float8 as "takenAtMs",
       v.parent is not null and coalesce(v.lineage->'training'->>'strategy', v.lineage->'config'->'training'->>'strategy',
         'incremental') <> 'full' as "fromParent",
       v.lineage->>'strategy' as strategy,
       extract(epoch from c.started_at)::float8 * 1000
         - greatest(0, (s.manifest->>'eventNowMs')::float8 - v.training_cutoff_ms) as "newRowsFromMs",
       case when r.until = 'infinity' then 'infinity'::float8 else extract(epoch from r.until)::float8 * 1000 end as "lastRoutedMs",
       v.model_sha256 as "modelSha256", v.checkpoint_sha256 as "checkpointSha256",
       jsonb_strip_nulls(jsonb_build_object('trainerManifestSha256', v.lineage->'trainerManifestSha256',
         'predictionsSha256', v.lineage->'predictionsSha256', 'resultSha256', v.lineage->'resultSha256')) as lineage
     from versions v left join cycles c using (cycle_id) left join routed r using (version)
       left join snapshots s on s.snapshot_id = v.lineage->>'snapshotId'
     where v.line = $1 and v.version <> $2 order by v.version`,
    [line, INPUT_ORDER_VERSION],
  );
  return rows;
}

async function readSnapshots(db: Queryable, line: string): Promise<SnapshotRow[]> {
  const { rows } = await db.query<SnapshotRow>(
    `select s.snapshot_id as "snapshotId", s.cycle_id as "cycleId", extract(epoch from s.created_at)::float8 * 1000 as "createdAtMs",
       coalesce((s.manifest->>'cutoffMs')::float8, 0) as "cutoffMs",
       coalesce(s.report->>'verdict' = 'pass' and s.manifest->>'extends' is null, false) as passed,
       jsonb_build_object('files', s.manifest->'files', 'profiles', coalesce(s.manifest->'profiles', '{}')) as manifest,
       case when c.candidate is null then e.result end as outputs
     from snapshots s join cycles c using (cycle_id)
       left join effects e on e.key = s.cycle_id || '/train/' || s.snapshot_id
     where s.line = $1`,
    [line],
  );
  return rows;
}

/** What a training left whose cycle registered no version: its result names it. */
function outputsOf({ snapshotId, cycleId, outputs }: SnapshotRow): ArtifactReference<SnapshotPart>[] {
  return Object.entries(outputs ?? {}).flatMap(([name, sha256]) =>
    name.endsWith('Sha256') && typeof sha256 === 'string'
      ? [
          {
            sha256,
            what: `${name.slice(0, -'Sha256'.length)} of cycle ${cycleId}, snapshot ${snapshotId.slice(0, 12)}`,
            part: 'outputs' as const,
          },
        ]
      : [],
  );
}

async function readNames(
  db: Queryable,
  line: string,
): Promise<Pick<RetentionFacts, 'stables' | 'pinned' | 'aliases' | 'openCycles'>> {
  const ask = async <Row extends object>(sql: string): Promise<Row[]> => (await db.query<Row>(sql, [line])).rows;
  const stables = await ask<{ version: number }>(
    'select stable as version from routes where line = $1 group by stable order by max(epoch) desc',
  );
  const pins = await ask<{ version: number }>('select version from pins where line = $1');
  return {
    stables: stables.map(({ version }) => version),
    pinned: pins.map(({ version }) => version),
    aliases: await ask('select alias, version from aliases where line = $1 order by alias'),
    openCycles: await ask(
      `select cycle_id as "cycleId", stable_at_start as champion, parent, candidate from cycles
       where line = $1 and closed_at is null`,
    ),
  };
}

/** Whatever looks like an artifact in the recorded results of open cycles: what they made and have not registered yet. */
async function namedByOpenCycles(db: Queryable, line: string): Promise<{ sha256: string; cycleId: string }[]> {
  // Keys are made of the cycle's id, a slash and more; what begins so lies before the same with the next character, 0.
  const { rows } = await db.query<{ sha256: string; cycleId: string }>(
    `select distinct c.cycle_id as "cycleId", found[1] as sha256
     from cycles c join effects e on e.key ~>~ (c.cycle_id || '/') and e.key ~<~ (c.cycle_id || '0'),
       regexp_matches(e.result::text, '"([0-9a-f]{64})"', 'g') as found
     where c.line = $1 and c.closed_at is null`,
    [line],
  );
  return rows;
}
