import type { DriftAlarm, TrainingPast } from '../policy/training-strategy.ts';
import { onlyRow, type Queryable, type Transaction } from './database.ts';

/** Ends the key of the effect that records how a cycle trains. */
const TRAINING = '/training';
/** More than a season of online updates, and few enough to look at each time a cycle begins. */
const CYCLES_LOOKED_AT = 1_000;

/** The key under which a cycle's decision is recorded. */
export function trainingKey(cycleId: string): string {
  return `${cycleId}${TRAINING}`;
}

/**
 * What the cycles before this one did, by their recorded decisions. A cycle of an older build counts as a whole one.
 *
 * @param input.driftCode the code of the first reason of trainings in full that drift asked for.
 */
export async function readTrainingPast(
  db: Queryable,
  { line, cycleId, driftCode }: { line: string; cycleId: string; driftCode: string },
): Promise<TrainingPast> {
  const { rows } = await db.query<TrainingPast>(
    `with past as (
       select c.started_at, e.result->>'strategy' as strategy, (e.result->>'eventNowMs')::float8 as event_ms,
         e.result->'reasons'->0->>'code' as code, jsonb_typeof(e.result->'repair') = 'object' as repaired,
         c.candidate is not null or c.phases @> '[{"phase": "train"}]' as trained
       from (select * from cycles where line = $1 and cycle_id <> $2 order by started_at desc limit ${String(CYCLES_LOOKED_AT)}) c
         left join effects e on e.key = c.cycle_id || '${TRAINING}')
     select (extract(epoch from max(started_at) filter (where strategy is distinct from 'online')) * 1000)::float8 as "wholeCycleMs",
       max(event_ms) filter (where trained and strategy = 'full') as "fullMs",
       max(event_ms) filter (where trained and strategy = 'full' and code = $3) as "fullByDriftMs",
       max(event_ms) filter (where trained and repaired) as "repairMs"
     from past`,
    [line, cycleId, driftCode],
  );
  return onlyRow(rows);
}

/** What the drift checks said of the newest snapshot that was checked and is not tainted; null without one. */
export async function readDriftAlarm(db: Queryable, line: string): Promise<DriftAlarm | null> {
  const { rows } = await db.query<DriftAlarm>(
    `select (s.manifest->>'eventNowMs')::float8 as "takenAtMs",
       coalesce((select jsonb_agg(jsonb_build_object('check', r->>'check', 'status', r->>'status', 'message', r->>'message'))
         from jsonb_array_elements(s.report->'results') r
         where r->>'check' like 'drift.%' and r->>'status' in ('warn', 'block')), '[]') as findings,
       coalesce(e.result->>'strategy' = 'full', false)
         and (c.candidate is not null or c.phases @> '[{"phase": "train"}]') as answered
     from snapshots s join cycles c using (cycle_id) left join effects e on e.key = s.cycle_id || '${TRAINING}'
     where s.line = $1 and s.report is not null and s.manifest->>'extends' is null
       and not exists (select from taints t where t.snapshot_id = s.snapshot_id and t.removed_at is null)
     order by s.created_at desc limit 1`,
    [line],
  );
  return rows[0] ?? null;
}

/**
 * The version itself, unless an online update made it; then its newest ancestor that was trained whole and was not rolled
 * back. The version itself, too, when it has none.
 */
export async function newestTrainedWhole(
  db: Queryable,
  { line, version }: { line: string; version: number },
): Promise<number> {
  const { rows } = await db.query<{ version: number }>(
    `with recursive descent as (
       select version, parent, status, lineage->>'strategy' as strategy from versions where line = $1 and version = $2
       union all
       select v.version, v.parent, v.status, v.lineage->>'strategy'
       from versions v join descent d on v.version = d.parent
       where v.line = $1 and (d.strategy = 'online' or d.status = 'rolledBack'))
     select version from descent
     where strategy is distinct from 'online' and (status <> 'rolledBack' or version = $2) order by version desc limit 1`,
    [line, version],
  );
  return rows[0]?.version ?? version;
}

/**
 * The newest child of a version that was to be trained on from it, and that its trainer says it trained from scratch; null
 * without one.
 */
export async function childFromScratch(
  db: Queryable,
  { line, version }: { line: string; version: number },
): Promise<number | null> {
  const { rows } = await db.query<{ version: number | null }>(
    `select max(version) as version from versions
     where line = $1 and parent = $2 and lineage->>'strategy' = 'full' and lineage->'training'->>'strategy' <> 'full'`,
    [line, version],
  );
  return onlyRow(rows).version;
}

/** Gives an open cycle another parent than the one it was claimed with, and adds why. */
export async function changeParent(
  tx: Transaction,
  { cycleId, parent, reason }: { cycleId: string; parent: number; reason: string },
): Promise<void> {
  await tx.query(
    `update cycles set parent = $2, parent_reason = concat_ws('; ', parent_reason, $3::text) where cycle_id = $1`,
    [cycleId, parent, reason],
  );
}
