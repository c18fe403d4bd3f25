import type { Queryable } from './database.ts';

/** An artifact that retention removed, or is removing. */
export interface RemovedArtifact {
  sha256: string;
  line: string;
  what: string;
  bytes: number;
  why: string;
  removedAt: Date;
}

const COLUMNS = 'sha256, line, what, bytes, why, removed_at as "removedAt"';

/** Records artifacts as removed, before their files go: so nothing is ever gone without a word. */
export async function recordRemoved(
  db: Queryable,
  removed: readonly Omit<RemovedArtifact, 'removedAt'>[],
): Promise<void> {
  await db.query(
    `insert into removed_artifacts (sha256, line, what, bytes, why)
     select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
     on conflict (sha256) do update set line = excluded.line, what = excluded.what, bytes = excluded.bytes,
       why = excluded.why, removed_at = clock_timestamp()`,
    [
      ...[removed.map(({ sha256 }) => sha256), removed.map(({ line }) => line), removed.map(({ what }) => what)],
      ...[removed.map(({ bytes }) => bytes), removed.map(({ why }) => why)],
    ],
  );
}

/** Takes back that artifacts were removed: their files are there. */
export async function forgetRemoved(db: Queryable, sha256s: readonly string[]): Promise<void> {
  if (sha256s.length > 0) await db.query('delete from removed_artifacts where sha256 = any($1)', [sha256s]);
}

/** Those of the artifacts that retention removed. */
export async function findRemoved(
  db: Queryable,
  sha256s: readonly (string | null | undefined)[],
): Promise<RemovedArtifact[]> {
  const wanted = sha256s.filter((sha256) => sha256 != null);
  if (wanted.length === 0) return [];
  const { rows } = await db.query<RemovedArtifact>(`select ${COLUMNS} from removed_artifacts where sha256 = any($1)`, [
    wanted,
  ]);
  return rows;
}

/** All that is recorded as removed, of one line or of all. */
export async function listRemoved(db: Queryable, line?: string): Promise<RemovedArtifact[]> {
  const { rows } = await db.query<RemovedArtifact>(
    `select ${COLUMNS} from removed_artifacts where $1::text is null or line = $1 order by removed_at desc, sha256`,
    [line ?? null],
  );
  return rows;
}

/** For `openLocalArtifacts`: why an artifact is missing, where retention removed it. */
export function whyRemoved(db: Queryable): (sha256: string) => Promise<string | null> {
  return async (sha256) => {
    const [removed] = await findRemoved(db, [sha256]);
    return removed === undefined ? null : describeRemoved(removed);
  };
}

/** `model of version 3 of "news-feed", removed by retention at 2026-01-31T12:00:05Z: why`. */
export function describeRemoved({ what, line, removedAt, why }: RemovedArtifact): string {
  const at = `${removedAt.toISOString().slice(0, 19)}Z`;
  return `${what} of "${line}", removed by retention at ${at}: ${why}`;
}
