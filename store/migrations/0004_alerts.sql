-- Up Migration

-- How far an alert is with each channel. One without a row has not been tried there yet.
create table deliveries (
  alert_id bigint not null references outbox on delete cascade,
  channel  text not null,
  -- `refused`: the other side will never take it; it is not tried again.
  state    text not null default 'waiting' check (state in ('waiting', 'taken', 'refused')),
  attempts int not null default 0,
  -- Claimed by a deliverer, or backing off, until then.
  next_attempt_at timestamptz not null default now(),
  -- The other side asked to be left alone until then, whatever the alert.
  channel_held_until timestamptz,
  last_error text,
  settled_at timestamptz,
  primary key (alert_id, channel)
);
create index deliveries_holding on deliveries (channel, channel_held_until) where channel_held_until is not null;
create index deliveries_refused on deliveries (settled_at) where state = 'refused';
insert into deliveries (alert_id, channel, state, attempts, settled_at)
  select id, unnest(delivered_channels), 'taken', attempts, coalesce(delivered_at, now()) from outbox;

-- What is waited for is of each channel now. `delivered_at` is when every channel had taken or refused the alert.
alter table outbox drop column attempts, drop column next_attempt_at, drop column delivered_channels, drop column last_error;
create index outbox_pending on outbox (id) where delivered_at is null;
-- Alerts about one problem reach a channel in their order.
create index outbox_threads on outbox ((coalesce(alert->'incident'->>'key', dedup_key)), id) where delivered_at is null;

-- Lasting problems of lines: opened by an alert, updated by further ones about the same, resolved by what ends them.
create table incidents (
  id        bigint generated always as identity primary key,
  key       text not null,
  line      text not null,
  -- How far cycles come that have the problem: one that comes further ends it.
  stage     int not null,
  title     text not null,
  alerts    int not null default 1,
  -- Whether somebody was woken for it.
  paged     boolean not null default false,
  opened_at timestamptz not null default clock_timestamp(),
  last_at   timestamptz not null default clock_timestamp(),
  resolved_at timestamptz
);
create unique index incidents_open on incidents (key) where resolved_at is null;
create index incidents_open_by_line on incidents (line) where resolved_at is null;

-- Down Migration

drop table incidents;
drop index outbox_threads, outbox_pending;
alter table outbox
  add column attempts int not null default 0,
  add column next_attempt_at timestamptz not null default now(),
  add column delivered_channels text[] not null default '{}',
  add column last_error text;
update outbox o set attempts = d.attempts, delivered_channels = d.channels, last_error = d.errors
  from (select alert_id, max(attempts) as attempts, coalesce(array_agg(channel) filter (where state <> 'waiting'), '{}') as channels,
      string_agg(channel || ': ' || last_error, '; ') filter (where state = 'waiting') as errors
    from deliveries group by alert_id) d
  where d.alert_id = o.id;
create index outbox_pending on outbox (next_attempt_at) where delivered_at is null;
drop table deliveries;
