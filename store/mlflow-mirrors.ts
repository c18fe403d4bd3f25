import { onlyRow, type Queryable } from './database.ts';
import type { PhaseRecord, VersionRecord } from './types.ts';

/** A line that one worker mirrors, until its claim runs out. */
export interface ClaimedLine {
  line: string;
  /** What the line looked like when it was claimed, to be recorded once all of it is mirrored. */
  state: string;
  attempts: number;
}

/** Of the cycle that a version came from; null in every field for those without. */
export interface VersionOrigin {
  workflowId: string | null;
  runId: string | null;
  trigger: string | null;
  outcome: string | null;
  phases: PhaseRecord[] | null;
}

/** A version whose copy is not what it should be. */
export interface BehindVersion extends Omit<VersionRecord, 'features' | 'checkpointSha256'> {
  modelSha256: string;
  origin: VersionOrigin;
  /** What is recorded once it is mirrored. */
  state: string;
  attempts: number;
  /** Of MLflow; null before the first time. */
  runId: string | null;
  modelVersion: string | null;
}

/** Where an alias of a line should be; `modelVersion` is MLflow's number, null while the version was not mirrored. */
export interface MirroredAlias {
  alias: string;
  version: number;
  modelVersion: string | null;
}

/** Longer than one version takes when every request is answered just before its timeout. */
const CLAIM_MS = 300_000;
const FIRST_BACKOFF_MS = 2_000;
const LONGEST_LINE_BACKOFF_MS = 60_000;
const LONGEST_VERSION_BACKOFF_MS = 3_600_000;

/** What of a line can change: each part is one look into an index, so that thousands of lines are one cheap query. */
const LINE_STATE = `concat_ws('/', $1::text, h.epoch,
  coalesce((select max(id) from version_history v where v.line = h.line), 0),
  coalesce((select c.cycle_id || '=' || coalesce(c.outcome, '') from cycles c
            where c.line = h.line order by c.started_at desc limit 1), '-'),
  coalesce((select md5(string_agg(a.alias || '=' || a.version, ',' order by a.alias)) from aliases a where a.line = h.line), '-'))`;
/** What of a version can change. */
const VERSION_STATE = `concat_ws('/', $1::text, v.status, coalesce(c.outcome, '-'))`;

/**
 * Claims lines that changed since they were mirrored, longest due first, each for one worker at a time.
 *
 * @param of.target where to: another one begins from nothing.
 * @param of.now what counts as due.
 */
export async function claimMlflowLines(
  db: Queryable,
  { target, now, limit }: { target: string; now: Date; limit: number },
): Promise<ClaimedLine[]> {
  await db.query(
    `insert into mlflow_lines (line, next_attempt_at) select l.line, $1 from lines l
     where not exists (select from mlflow_lines m where m.line = l.line) on conflict do nothing`,
    [now],
  );
  const { rows } = await db.query<ClaimedLine>(
    `with due as (
       select m.line, s.state from mlflow_lines m join route_heads h using (line)
       cross join lateral (select ${LINE_STATE} as state) s
       where m.next_attempt_at <= $2 and m.mirrored is distinct from s.state
       order by m.next_attempt_at, m.line limit $4 for update of m skip locked)
     update mlflow_lines m set attempts = attempts + 1,
       next_attempt_at = $2::timestamptz + make_interval(secs => $3::float8 / 1000)
     from due where m.line = due.line returning m.line, due.state, m.attempts`,
    [target, now, CLAIM_MS, limit],
  );
  return rows;
}

/**
 * Gives a claimed line back: `mirrored` until it changes again, `unfinished` to be claimed again at once, `failed` to be
 * tried again after 2 s, doubling to 60 s.
 */
export async function releaseMlflowLine(
  db: Queryable,
  { line, state, attempts }: ClaimedLine,
  { how, now, note }: { how: 'mirrored' | 'unfinished' | 'failed'; now: Date; note: string | null },
): Promise<void> {
  const waitMs = how === 'failed' ? backoffMs(attempts, LONGEST_LINE_BACKOFF_MS) : 0;
  await db.query(
    `update mlflow_lines set mirrored = case when $2 = 'mirrored' then $3 else mirrored end,
       attempts = case when $2 = 'failed' then attempts else 0 end,
       next_attempt_at = $4::timestamptz + make_interval(secs => $5::float8 / 1000), last_error = $6
     where line = $1`,
    [line, how, state, now, waitMs, note],
  );
}

/** The versions of a line that changed since they were mirrored, oldest first. Version 0 has nothing to mirror. */
export async function versionsBehindMlflow(
  db: Queryable,
  { line, target, now, limit }: { line: string; target: string; now: Date; limit: number },
): Promise<BehindVersion[]> {
  const { rows } = await db.query<BehindVersion>(
    `select v.line, v.version, v.status, v.parent, v.cycle_id as "cycleId", v.model_sha256 as "modelSha256",
       v.training_cutoff_ms as "trainingCutoffMs", v.lineage, v.metrics, v.created_at as "createdAt",
       json_build_object('workflowId', c.workflow_id, 'runId', c.run_id, 'trigger', c.trigger, 'outcome', c.outcome,
         'phases', c.phases) as origin,
       ${VERSION_STATE} as state, coalesce(m.attempts, 0) as attempts, m.run_id as "runId", m.model_version as "modelVersion"
     from versions v left join cycles c using (cycle_id)
     left join mlflow_mirrors m on m.line = v.line and m.version = v.version
     where v.line = $2 and v.version > 0 and m.mirrored is distinct from ${VERSION_STATE}
       and coalesce(m.next_attempt_at, '-infinity') <= $3
     order by v.version limit $4`,
    [target, line, now, limit],
  );
  return rows;
}

/** How many versions of a line have a copy, and the first that MLflow refused last time, with its words. */
export async function mlflowStanding(db: Queryable, line: string): Promise<{ copies: number; refused: string | null }> {
  const { rows } = await db.query<{ copies: number; refused: string | null }>(
    `select count(run_id)::int as copies,
       (array_agg('version ' || version || ': ' || last_error order by version) filter (where last_error is not null))[1] as refused
     from mlflow_mirrors where line = $1`,
    [line],
  );
  return onlyRow(rows);
}

/** Records a version's copy, and extends the claim of its line. */
export async function recordMlflowVersion(
  db: Queryable,
  {
    line,
    version,
    state,
    runId,
    modelVersion,
    now,
  }: Pick<BehindVersion, 'line' | 'version' | 'state'> & {
    runId: string;
    modelVersion: string;
    now: Date;
  },
): Promise<void> {
  await db.query(
    `with claim as (
       update mlflow_lines set next_attempt_at = $6::timestamptz + make_interval(secs => $7::float8 / 1000) where line = $1)
     insert into mlflow_mirrors (line, version, mirrored, run_id, model_version, next_attempt_at) values ($1, $2, $3, $4, $5, $6)
     on conflict (line, version) do update set mirrored = excluded.mirrored, run_id = excluded.run_id,
       model_version = excluded.model_version, attempts = 0, next_attempt_at = excluded.next_attempt_at, last_error = null`,
    [line, version, state, runId, modelVersion, now, CLAIM_MS],
  );
}

/** Records that MLflow refuses a version: it is tried again after 2 s, doubling to an hour, and keeps no other waiting. */
export async function recordMlflowRefusal(
  db: Queryable,
  {
    line,
    version,
    attempts,
    error,
    now,
  }: Pick<BehindVersion, 'line' | 'version' | 'attempts'> & {
    error: string;
    now: Date;
  },
): Promise<void> {
  await db.query(
    `insert into mlflow_mirrors (line, version, attempts, last_error, next_attempt_at)
     values ($1, $2, 1, $3, $4::timestamptz + make_interval(secs => $5::float8 / 1000))
     on conflict (line, version) do update set attempts = mlflow_mirrors.attempts + 1, last_error = excluded.last_error,
       next_attempt_at = excluded.next_attempt_at`,
    [line, version, error, now, backoffMs(attempts + 1, LONGEST_VERSION_BACKOFF_MS)],
  );
}

/** The line's own aliases, and those of its route: `stable`, `canary`, `shadow`. None is on version 0. */
export async function aliasesForMlflow(
  db: Queryable,
  { line, target }: { line: string; target: string },
): Promise<MirroredAlias[]> {
  const { rows } = await db.query<MirroredAlias>(
    `select n.alias, n.version, m.model_version as "modelVersion"
     from (
       select alias, version from aliases where line = $1
       union all
       select r.alias, r.version from route_heads h join routes using (line, epoch),
         lateral (values ('stable', stable), ('canary', canary), ('shadow', shadow)) r (alias, version)
       where h.line = $1
     ) n
     left join mlflow_mirrors m on m.line = $1 and m.version = n.version and starts_with(m.mirrored, $2 || '/')
     where n.version > 0 order by n.alias`,
    [line, target],
  );
  return rows;
}

/** Where a version is in MLflow; null when it was not mirrored. */
export async function mlflowCopy(
  db: Queryable,
  { line, version }: { line: string; version: number },
): Promise<{ runId: string; modelVersion: string; lastError: string | null } | null> {
  const { rows } = await db.query<{ runId: string; modelVersion: string; lastError: string | null }>(
    `select run_id as "runId", model_version as "modelVersion", last_error as "lastError" from mlflow_mirrors
     where line = $1 and version = $2 and run_id is not null`,
    [line, version],
  );
  return rows[0] ?? null;
}

function backoffMs(attempts: number, longest: number): number {
  return Math.min(longest, FIRST_BACKOFF_MS * 2 ** Math.min(attempts - 1, 30));
}
