-- Up Migration

-- Which status may follow which. What is not here is refused by a trigger below.
create table version_transitions (
  from_status text not null,
  to_status   text not null,
  primary key (from_status, to_status)
);
insert into version_transitions (from_status, to_status) values
  -- Its cycle puts it into the route, changes what it is there, or takes it out again (moveRoute).
  ('candidate', 'shadow'), ('candidate', 'canary'),
  ('shadow', 'canary'), ('shadow', 'candidate'),
  ('canary', 'shadow'), ('canary', 'candidate'),
  -- The canary is promoted; a line's first version without having been one (promote).
  ('canary', 'stable'), ('candidate', 'stable'),
  -- The gate, a person, the shadow or a cycle that ended before it was routed (closeCycle).
  ('candidate', 'rejected'), ('shadow', 'rejected'), ('canary', 'rejected'),
  -- Its cycle or an operator takes it back (rollbackCycle, operatorRollback, takeover of a dead run).
  ('candidate', 'rolledBack'), ('shadow', 'rolledBack'), ('canary', 'rolledBack'), ('stable', 'rolledBack'),
  -- Another one took its place: a promotion, or an operator who went to a newer version.
  ('stable', 'archived'),
  -- Its promotion is undone when another one is stable already (a late rollbackCycle).
  ('archived', 'rolledBack'),
  -- A rollback returns to it; an operator may name one that was rolled back itself.
  ('archived', 'stable'), ('rolledBack', 'stable');

-- Each status a version ever had, oldest first, written by a trigger; the first row has no `from`. Of versions that are
-- older than this table it has the status they had when it was made.
create table version_history (
  id          bigint generated always as identity primary key,
  line        text not null,
  version     int not null,
  from_status text,
  to_status   text not null,
  at          timestamptz not null default clock_timestamp(),
  foreign key (line, version) references versions (line, version)
);
create index version_history_by_version on version_history (line, version, id);
insert into version_history (line, version, to_status) select line, version, status from versions order by line, version;
create trigger version_history_is_kept before update or delete on version_history for each row execute function refuse_change();
create trigger version_history_is_not_truncated before truncate on version_history for each statement execute function refuse_change();

-- A version's life: how it begins, which status follows which, and that nothing else about it changes. Metrics may get
-- new keys.
create function check_version_lifecycle() returns trigger language plpgsql as $$
declare
  before jsonb;
  changed text;
  allowed text;
begin
  if tg_op = 'INSERT' then
    if new.version = 0 and new.status = 'stable' or new.version > 0 and new.status in ('candidate', 'rejected') then
      return new;
    end if;
    raise exception 'version % of % can not begin as %: version 0 begins as stable, the others as candidate or rejected',
      new.version, new.line, new.status using errcode = 'check_violation';
  end if;

  before := to_jsonb(old);
  select string_agg(key, ', ' order by key) into changed from jsonb_each(to_jsonb(new))
    where key not in ('status', 'metrics') and value is distinct from before->key;
  if changed is not null then
    raise exception 'version % of % is on record for ever: its % can not change', old.version, old.line, changed
      using errcode = 'check_violation';
  end if;
  select string_agg(key, ', ' order by key) into changed from jsonb_each(old.metrics)
    where value is distinct from new.metrics->key;
  if changed is not null then
    raise exception 'metrics of version % of % are on record for ever: new ones may be added, % can not change',
      old.version, old.line, changed using errcode = 'check_violation';
  end if;

  if new.status = old.status or exists (
    select from version_transitions where from_status = old.status and to_status = new.status
  ) then
    return new;
  end if;
  select string_agg(to_status, ', ' order by to_status) into allowed from version_transitions where from_status = old.status;
  raise exception 'version % of % can not go from % to %: from % it can go %',
    old.version, old.line, old.status, new.status, old.status, coalesce('to ' || allowed, 'nowhere')
    using errcode = 'check_violation';
end $$;
create trigger versions_lifecycle before insert or update on versions for each row execute function check_version_lifecycle();
create trigger versions_are_kept before delete on versions for each row execute function refuse_change();
create trigger versions_are_not_truncated before truncate on versions for each statement execute function refuse_change();

create function write_version_history() returns trigger language plpgsql as $$
begin
  insert into version_history (line, version, from_status, to_status)
    values (new.line, new.version, case when tg_op = 'UPDATE' then old.status end, new.status);
  return null;
end $$;
create trigger versions_begin_history after insert on versions for each row execute function write_version_history();
create trigger versions_write_history after update on versions for each row
  when (old.status is distinct from new.status) execute function write_version_history();

-- At each commit a line has exactly one stable version, and its route has the same one.
create function check_one_stable() returns trigger language plpgsql as $$
declare
  routed int;
  stables int[];
begin
  select r.stable into routed from route_heads h join routes r using (line, epoch) where h.line = new.line;
  select array_agg(version order by version) into stables from versions where line = new.line and status = 'stable';
  if routed is null or stables is distinct from array[routed] then
    raise exception 'line % must have one stable version, the one of its route: the route has %, stable is %', new.line,
      coalesce('version ' || routed, 'none'), coalesce('version ' || array_to_string(stables, ' and '), 'none')
      using errcode = 'check_violation';
  end if;
  return null;
end $$;
create constraint trigger lines_have_one_stable after insert on lines
  deferrable initially deferred for each row execute function check_one_stable();
create constraint trigger versions_have_one_stable after insert or update on versions
  deferrable initially deferred for each row execute function check_one_stable();
create constraint trigger route_heads_have_one_stable after insert or update on route_heads
  deferrable initially deferred for each row execute function check_one_stable();

-- Names for versions that people and other systems go by. They move when somebody moves them. `stable`, `canary` and `shadow`
-- are the route's, `latest` is the newest version, and `v3` reads like version 3: none of them can be set.
create table aliases (
  line    text not null references lines,
  alias   text not null check (alias ~ '^[a-z][a-z0-9-]{0,62}$' and alias !~ '^v[0-9]+$'
            and alias not in ('stable', 'canary', 'shadow', 'latest')),
  version int not null,
  who     text not null,
  why     text not null,
  at      timestamptz not null default clock_timestamp(),
  primary key (line, alias),
  foreign key (line, version) references versions (line, version)
);

-- Versions that keep their artifacts whatever retention says.
create table pins (
  line    text not null references lines,
  version int not null,
  who     text not null,
  why     text not null,
  at      timestamptz not null default clock_timestamp(),
  primary key (line, version),
  foreign key (line, version) references versions (line, version)
);

-- What people decided about a version: who, why, when. `details` has what they were shown (the gate's verdict).
create table decisions (
  id       bigint generated always as identity primary key,
  line     text not null references lines,
  version  int not null,
  cycle_id text references cycles,
  kind     text not null check (kind in ('approved', 'rejected', 'expired', 'aliasSet', 'aliasRemoved', 'pinned', 'unpinned')),
  who      text not null,
  why      text not null,
  details  jsonb not null default '{}',
  at       timestamptz not null default clock_timestamp(),
  foreign key (line, version) references versions (line, version)
);
create index decisions_by_version on decisions (line, version, id);
create trigger decisions_are_kept before update or delete on decisions for each row execute function refuse_change();
create trigger decisions_are_not_truncated before truncate on decisions for each statement execute function refuse_change();

-- Artifacts that retention removed, so that whoever misses one learns when and why.
create table removed_artifacts (
  sha256     text primary key,
  line       text not null references lines,
  -- What it was: `model of version 3`, `checkpoint of version 3`, `train of snapshot ab12...`.
  what       text not null,
  bytes      bigint not null,
  why        text not null,
  removed_at timestamptz not null default clock_timestamp()
);
-- What a new version names was put just now, even where the same bytes were removed long ago.
create function forget_removed_artifacts() returns trigger language plpgsql as $$
begin
  delete from removed_artifacts where sha256 in (new.model_sha256, new.checkpoint_sha256,
    new.lineage->>'trainerManifestSha256', new.lineage->>'predictionsSha256', new.lineage->>'resultSha256');
  return null;
end $$;
create trigger versions_are_put after insert on versions for each row execute function forget_removed_artifacts();
-- All that a cycle recorded: retention looks up what open cycles made.
create index effects_by_beginning on effects (key text_pattern_ops);

-- How far a version's copy in MLflow is.
create table mlflow_mirrors (
  line          text not null,
  version       int not null,
  run_id        text,
  -- The number that MLflow gave it.
  model_version text,
  -- What was mirrored last: where to, status, and outcome of the cycle. Differs from the version's own once one changed.
  mirrored      text,
  attempts      int not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error    text,
  primary key (line, version),
  foreign key (line, version) references versions (line, version)
);

-- How far a line's copy in MLflow is, so that lines without a change cost a look and no more.
create table mlflow_lines (
  line     text primary key references lines,
  -- What the line looked like when all of it had been mirrored: where to, newest change of a status, route, outcome, aliases.
  mirrored text,
  attempts int not null default 0,
  -- Claimed by a worker, or backing off, until then.
  next_attempt_at timestamptz not null default now(),
  last_error text
);
create index version_history_by_line on version_history (line, id);

-- Down Migration

drop index effects_by_beginning;
drop trigger lines_have_one_stable on lines;
drop trigger route_heads_have_one_stable on route_heads;
drop trigger versions_have_one_stable on versions;
drop trigger versions_are_put on versions;
drop trigger versions_begin_history on versions;
drop trigger versions_write_history on versions;
drop trigger versions_lifecycle on versions;
drop trigger versions_are_kept on versions;
drop trigger versions_are_not_truncated on versions;
drop function check_one_stable, write_version_history, check_version_lifecycle, forget_removed_artifacts;
drop table mlflow_lines, mlflow_mirrors, removed_artifacts, decisions, pins, aliases, version_history, version_transitions;
