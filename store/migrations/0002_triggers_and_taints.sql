-- Up Migration

-- The version that the cycle's challenger is trained from: the champion, unless it is contaminated (then the reason is
-- kept). Null: from scratch.
alter table cycles
  add column parent int,
  add column parent_reason text;
update cycles set parent = nullif(stable_at_start, 0);
alter table cycles add foreign key (line, parent) references versions (line, version);

-- Snapshots whose data was found bad later. Removing a taint fills the last columns; nothing is deleted.
create table taints (
  id          bigint generated always as identity primary key,
  snapshot_id text not null references snapshots,
  line        text not null references lines,
  reason      text not null,
  who         text not null,
  at          timestamptz not null default clock_timestamp(),
  removed_at     timestamptz,
  removed_by     text,
  removed_reason text,
  check ((removed_at is null) = (removed_by is null) and (removed_at is null) = (removed_reason is null))
);
create unique index taints_one_in_force_a_snapshot on taints (snapshot_id) where removed_at is null;
create index taints_by_line on taints (line);

-- Each time a trigger asked for a cycle: the same one does not ask again before a new cycle began and an interval passed.
create table trigger_firings (
  id       bigint generated always as identity primary key,
  line     text not null references lines,
  trigger  text not null,
  why      text not null,
  fired_at timestamptz not null default clock_timestamp()
);
create index trigger_firings_by_line on trigger_firings (line, trigger, fired_at desc);

create index snapshots_by_line on snapshots (line, created_at desc);

-- Down Migration

drop index snapshots_by_line;
drop table trigger_firings, taints;
alter table cycles drop column parent, drop column parent_reason;
