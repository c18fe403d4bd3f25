import type { Fault, FaultWindow } from '../fault.ts';

const LOADED = ['volume.hourly', 'volume.arrival', 'volume'] as const;
const COPIED = ['duplicates'] as const;
const TIMES = ['clock'] as const;

const keep = (rows: (window: FaultWindow) => string, share: number) => (window: FaultWindow) => [
  `DELETE FROM faulty WHERE ${rows(window)} AND NOT ${window.some(share, 'loaded')}`,
];
const again =
  (rows: (window: FaultWindow) => string, id = 'impression_id') =>
  (window: FaultWindow) => [
    `INSERT INTO faulty SELECT * REPLACE (${id} AS impression_id, least(arrived_at_ms + 60000, ${String(window.nowMs - 1)}) AS arrived_at_ms)
   FROM faulty WHERE ${rows(window)}`,
  ];
const shift = (ms: number, rows: (window: FaultWindow) => string) => (window: FaultWindow) => [
  `UPDATE faulty SET time_ms = time_ms + ${String(ms)} WHERE ${rows(window)}`,
];
const fresh = ({ fresh: rows }: FaultWindow): string => rows;
const freshShare = (share: number) => (window: FaultWindow) => `${window.fresh} AND ${window.some(share)}`;
const hour = (back: number) => (window: FaultWindow) => window.hour(back);
const HOURS = 3_600_000;
const MINUTES = 60_000;

const loading = (name: string, strong: boolean, change: Fault['change'] & object): Fault => ({
  ...{ kind: 'half-loaded', name, strong, change },
  expect: [...LOADED],
});
const stale = (name: string, strong: boolean, hours: number): Fault => ({
  ...{ kind: 'stale', name, strong, expect: ['freshness', ...LOADED] },
  change: ({ newest }) => [`DELETE FROM faulty WHERE ${newest(hours)}`],
});
const twice = (name: string, strong: boolean, change: Fault['change'] & object): Fault => ({
  ...{ kind: 'loaded twice', name, strong, change },
  expect: [...COPIED],
});
const clock = (name: string, strong: boolean, change: Fault['change'] & object, more: Fault['expect'] = []): Fault => ({
  ...{ kind: 'clock', name, strong, change },
  expect: [...TIMES, ...more],
});
const zone = (name: string, strong: boolean, change: Fault['change'] & object, more: Fault['expect'] = []): Fault => ({
  ...clock(name, strong, change, more),
  kind: 'time zone',
});

/** What did not come in, came twice, or at a wrong time. */
export const arrivalFaults: Fault[] = [
  loading('newest hour at 0.5', true, keep(hour(0), 0.5)),
  loading('newest hour at 0.3', true, keep(hour(0), 0.3)),
  loading('newest hour at 0.75', false, keep(hour(0), 0.75)),
  loading('an hour in the middle at 0.5', true, keep(hour(2), 0.5)),
  loading('an hour in the middle at 0.2', true, keep(hour(1), 0.2)),
  loading('newest hour missing', true, keep(hour(0), 0)),
  loading('an hour in the middle missing', true, keep(hour(2), 0)),
  loading('the oldest hour of the window missing', true, keep(hour(3), 0)),
  loading(
    'newest 4 h at 0.5',
    true,
    keep(({ newest }) => newest(4), 0.5),
  ),
  loading(
    'newest 4 h at 0.3',
    true,
    keep(({ newest }) => newest(4), 0.3),
  ),
  loading(
    'newest 4 h at 0.75',
    false,
    keep(({ newest }) => newest(4), 0.75),
  ),
  loading(
    'newest 2 h at 0.4',
    true,
    keep(({ newest }) => newest(2), 0.4),
  ),
  loading('two of three gateways silent', true, (window) => [
    `DELETE FROM faulty WHERE ${window.fresh} AND ${window.users(0.67)}`,
  ]),
  stale('nothing for 3 h', true, 3),
  stale('nothing for 8 h', true, 8),
  stale('nothing for half an hour', false, 0.5),
  twice('the window, under the same ids', true, again(fresh)),
  twice('the window, under new ids', true, again(fresh, `impression_id || '-2'`)),
  twice('one hour, under new ids', true, again(hour(1), `impression_id || '-2'`)),
  twice(
    'the whole table, under the same ids',
    true,
    again(() => 'true'),
  ),
  twice('the window three times', true, (window) => [
    ...again(fresh, `impression_id || '-2'`)(window),
    ...again((other) => `${other.fresh} AND impression_id NOT LIKE '%-2'`, `impression_id || '-3'`)(window),
  ]),
  twice('a tenth of the window', false, again(freshShare(0.1))),
  clock('5 % of the rows dated a day ahead', true, shift(24 * HOURS, freshShare(0.05))),
  clock('30 % of the rows dated a year ahead', true, shift(8_760 * HOURS, freshShare(0.3))),
  clock('0.3 % of the rows dated an hour ahead', false, shift(HOURS, freshShare(0.003))),
  clock('all clocks 20 min ahead', true, shift(20 * MINUTES, fresh)),
  clock('one gateway in three 20 min ahead', true, shift(20 * MINUTES, freshShare(0.33))),
  clock(
    'all clocks set back by 20 min',
    true,
    shift(-20 * MINUTES, ({ newest }) => newest(3)),
  ),
  clock('one gateway in three set back by 20 min', false, shift(-20 * MINUTES, freshShare(0.33))),
  clock('all clocks a minute ahead', false, shift(MINUTES, fresh)),
  zone('all rows +8 h', true, shift(8 * HOURS, fresh), ['freshness']),
  zone('all rows -8 h', true, shift(-8 * HOURS, fresh), ['freshness']),
  zone('30 % of the rows +8 h', true, shift(8 * HOURS, freshShare(0.3))),
  zone('30 % of the rows -8 h', true, shift(-8 * HOURS, freshShare(0.3))),
  zone(
    'all rows -1 h',
    true,
    shift(-HOURS, ({ newest }) => newest(4)),
  ),
  zone(
    'all rows +1 h',
    true,
    shift(HOURS, ({ newest }) => newest(4)),
  ),
];
