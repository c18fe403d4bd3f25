-- Up Migration

-- Model lines and the config that is in force. Cycles freeze a copy of it when they begin.
create table lines (
  line        text primary key,
  config      jsonb not null,
  config_hash text not null,
  applied_by  text not null,
  applied_at  timestamptz not null default now()
);

-- The event clock of a line: event time = event_ms + (operating time - operating_ms) * rate. No row: the wall clock.
create table event_clocks (
  line         text primary key references lines,
  event_ms     bigint not null,
  operating_ms bigint not null,
  rate         double precision not null check (rate >= 0)
);

-- One row a cycle. At most one open cycle a line: the partial index is the claim.
create table cycles (
  cycle_id     text primary key,
  line         text not null references lines,
  workflow_id  text not null,
  run_id       text not null,
  trigger      text not null,
  config       jsonb not null,
  config_hash  text not null,
  -- The stable version when the cycle began: what a rollback returns to, and the champion that is evaluated.
  stable_at_start int not null,
  candidate    int,
  phases       jsonb not null default '[]',
  started_at   timestamptz not null default now(),
  closed_at    timestamptz,
  outcome      text check (outcome in ('promoted', 'rejected', 'skipped', 'rolledBack', 'aborted', 'failed')),
  reasons      jsonb not null default '[]',
  check ((closed_at is null) = (outcome is null))
);
create unique index cycles_one_open_a_line on cycles (line) where closed_at is null;
create index cycles_by_line on cycles (line, started_at desc);

-- Version 0 keeps the input's order: no model, no parent, never a champion.
create table versions (
  line        text not null references lines,
  version     int not null check (version >= 0),
  status      text not null check (status in ('candidate', 'shadow', 'canary', 'stable', 'archived', 'rejected', 'rolledBack')),
  parent      int,
  cycle_id    text references cycles,
  model_sha256      text,
  checkpoint_sha256 text,
  features    jsonb not null default '[]',
  -- Event time (Unix ms) up to which rows were trained on; the next snapshot begins here.
  training_cutoff_ms bigint,
  lineage     jsonb not null default '{}',
  metrics     jsonb not null default '{}',
  created_at  timestamptz not null default now(),
  primary key (line, version),
  foreign key (line, parent) references versions (line, version),
  check (version = 0 or (model_sha256 is not null and cycle_id is not null)),
  check (parent is null or parent > 0)
);
create unique index versions_one_stable_a_line on versions (line) where status = 'stable';

-- Every route a line ever had. The highest epoch is in force; rows are never changed.
create table routes (
  line         text not null references lines,
  epoch        bigint not null check (epoch >= 1),
  stable       int not null,
  canary       int,
  canary_share double precision not null default 0 check (canary_share >= 0 and canary_share <= 1),
  holdback     double precision not null default 0 check (holdback >= 0 and holdback <= 0.5),
  shadow       int,
  shadow_share double precision not null default 0 check (shadow_share >= 0 and shadow_share <= 1),
  -- Salts the user hash, so that each cycle draws its users anew.
  salt         text not null,
  cycle_id     text references cycles,
  who          text not null,
  why          text not null,
  at           timestamptz not null default clock_timestamp(),
  primary key (line, epoch),
  foreign key (line, stable) references versions (line, version),
  foreign key (line, canary) references versions (line, version),
  foreign key (line, shadow) references versions (line, version),
  check ((canary is null) = (canary_share = 0)),
  check ((shadow is null) = (shadow_share = 0)),
  check (canary is null or canary <> stable),
  check (shadow is null or shadow <> stable),
  check (canary is null or canary_share + holdback <= 1),
  check ((canary is null and shadow is null) or cycle_id is not null)
);
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'rows of % are kept for ever: % refused', tg_table_name, tg_op;
end $$;
create trigger routes_are_kept before update or delete on routes for each row execute function refuse_change();
create trigger routes_are_not_truncated before truncate on routes for each statement execute function refuse_change();

-- The head that moves are compared with and locked on.
create table route_heads (
  line  text primary key references lines,
  epoch bigint not null,
  foreign key (line, epoch) references routes (line, epoch) deferrable initially deferred
);
create function announce_route() returns trigger language plpgsql as $$
begin
  perform pg_notify('freshet_routes', new.line);
  return new;
end $$;
create trigger route_heads_announce after insert or update on route_heads for each row execute function announce_route();

-- The permission of one cycle to serve its candidate (canary and shadow alike). One a cycle.
create table leases (
  cycle_id   text primary key references cycles,
  line       text not null references lines,
  version    int not null,
  expires_at timestamptz not null,
  renewed_at timestamptz not null default clock_timestamp()
);

-- Processes that route. A process registers before it reads a route and reports an epoch when no request routed under
-- an older one is open.
create table routing_processes (
  process_id    text not null,
  line          text not null references lines,
  boot          text not null,
  reported_epoch bigint not null default 0,
  registered_at timestamptz not null default clock_timestamp(),
  seen_at       timestamptz not null default clock_timestamp(),
  primary key (process_id, line)
);

-- Absolute values by process, boot, bucket and arm: writing a row twice changes nothing.
create table health_sums (
  line        text not null references lines,
  process_id  text not null,
  boot        text not null,
  bucket_at   timestamptz not null,
  version     int not null,
  arm         text not null check (arm in ('stable', 'canary', 'holdback', 'shadow', 'exploration')),
  epoch       bigint not null,
  requests    bigint not null default 0,
  errors      bigint not null default 0,
  impressions bigint not null default 0,
  clicks      bigint not null default 0,
  score_sum   double precision not null default 0,
  log_loss_sum         double precision not null default 0,
  log_loss_square_sum  double precision not null default 0,
  latency_ms_sum       double precision not null default 0,
  -- Counts by upper bound, see serving/latency-histogram.ts.
  latency_buckets      bigint[] not null default '{}',
  -- Shadow only: paired with the stable's answer to the same request.
  score_difference_sum double precision not null default 0,
  stable_latency_ms_sum double precision not null default 0,
  dropped     bigint not null default 0,
  primary key (line, process_id, boot, bucket_at, version, arm, epoch)
);
create index health_sums_by_time on health_sums (line, bucket_at);

-- What must reach people, written in the transaction of the change it reports.
create table outbox (
  id           bigint generated always as identity primary key,
  dedup_key    text not null unique,
  severity     text not null check (severity in ('info', 'warning', 'critical')),
  page         boolean not null default false,
  alert        jsonb not null,
  created_at   timestamptz not null default now(),
  delivered_at timestamptz,
  attempts     int not null default 0,
  next_attempt_at timestamptz not null default now(),
  -- Channels that already took it, so that a retry does not send twice.
  delivered_channels text[] not null default '{}',
  last_error   text
);
create index outbox_pending on outbox (next_attempt_at) where delivered_at is null;

-- The recorded result of each effect, by the key made of cycle and step.
create table effects (
  key    text primary key,
  result jsonb not null,
  at     timestamptz not null default now()
);

-- Snapshots and evaluations by content; files live in the artifact store.
create table snapshots (
  snapshot_id text primary key,
  line        text not null references lines,
  cycle_id    text not null references cycles,
  manifest    jsonb not null,
  report      jsonb,
  created_at  timestamptz not null default now()
);

-- Why the next cycle is started, when it is not the clock: left by whoever triggers the schedule, taken by the cycle.
create table cycle_requests (
  line    text primary key references lines,
  trigger text not null,
  who     text not null,
  why     text not null,
  at      timestamptz not null default clock_timestamp()
);

-- Down Migration

drop table cycle_requests, snapshots, effects, outbox, health_sums, routing_processes, leases, route_heads, routes, versions, cycles, event_clocks, lines;
drop function announce_route, refuse_change;
