-- Up Migration

-- After a promotion the holdback stays on the stable before it until the watch is over. Null: the stable answers it.
alter table routes
  add column holdback_version int,
  add foreign key (line, holdback_version) references versions (line, version),
  add check (holdback_version is null or holdback > 0),
  add check (holdback_version is null or holdback_version <> stable),
  add check (holdback_version is null or (canary is null and shadow is null and cycle_id is not null));

-- Down Migration

alter table routes drop column holdback_version;
