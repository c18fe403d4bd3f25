-- Up Migration

-- Dwell in milliseconds, of impressions that had one: the largest of each, no longer than the line's `health.maxDwell`.
alter table health_sums
  add column dwells           bigint not null default 0,
  add column dwell_sum        double precision not null default 0,
  add column dwell_square_sum double precision not null default 0;

-- Shadow only, see store/shadow-sums.ts: what became of the copies, the scores' difference and distribution by bins of their
-- log-odds, and how far both rankings agree. Empty bins: written by a build that counted none of it.
alter table health_sums
  add column copies            bigint not null default 0,
  add column not_numbers       bigint not null default 0,
  add column score_difference_square_sum double precision not null default 0,
  add column rankings          bigint not null default 0,
  add column overlap_sum       double precision not null default 0,
  add column tau_sum           double precision not null default 0,
  add column tau_square_sum    double precision not null default 0,
  add column score_bins        bigint[] not null default '{}',
  add column stable_score_bins bigint[] not null default '{}';

-- Down Migration

alter table health_sums drop column copies, drop column not_numbers, drop column score_difference_square_sum,
  drop column rankings, drop column overlap_sum, drop column tau_sum, drop column tau_square_sum, drop column score_bins,
  drop column stable_score_bins;

alter table health_sums drop column dwells, drop column dwell_sum, drop column dwell_square_sum;
