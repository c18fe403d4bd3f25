import { expect, test } from 'vitest';
import type { Finding } from '../../../data/checks/check.ts';
import { checkClock } from '../../../data/checks/clock.ts';
import {
  contextOf,
  HOUR,
  hourlyManifest,
  hourRow,
  MINUTE,
  SECOND,
  usualRows,
  type HourRow,
  type ManifestShape,
} from './hourly-manifest.ts';

interface Case {
  what: string;
  shape: ManifestShape;
  status: Finding['status'];
  says: RegExp;
}

const changed =
  (from: number, to: number, change: (hour: HourRow, back: number) => Partial<HourRow>) =>
  (back: number, hour: HourRow): HourRow =>
    back >= from && back < to ? { ...hour, ...change(hour, back) } : hour;
const lag = (p50: number, p95 = p50 + 15 * SECOND): Partial<HourRow> => ({ lagP50Ms: p50, lagP95Ms: p95 });

const cases: Case[] = [
  { what: 'clocks that are right', shape: {}, status: 'pass', says: /rows arrive 5 s after their event as before/ },
  {
    what: 'many rows of the future',
    shape: { counts: { future: 40 } },
    status: 'block',
    says: /40 rows are dated after the snapshot, 0\.0\d+ of the fresh rows, at most 0\.001/,
  },
  {
    what: 'one row of the future',
    shape: { counts: { future: 1 } },
    status: 'warn',
    says: /1 rows? (is|are) dated after/,
  },
  {
    what: 'a part that arrived before it happened',
    shape: { hour: changed(0, 1, ({ rows }) => ({ beforeEvent: Math.round(rows / 10) })) },
    status: 'block',
    says: /arrived before they happened \(0\.10, at most 0\.03/,
  },
  {
    what: 'a part that always arrived before it happened',
    shape: { hour: changed(0, 200, ({ rows }) => ({ beforeEvent: Math.round(rows / 10) })) },
    status: 'pass',
    says: /none to speak of/,
  },
  {
    what: 'a clock set back by a quarter of an hour',
    shape: { hour: changed(0, 2, () => lag(15 * MINUTE + 5 * SECOND)) },
    status: 'block',
    says: /arrived 15\.1 min after their event, all alike, 5 s is usual: a clock that jumped/,
  },
  {
    what: 'a time zone',
    shape: { hour: changed(0, 4, () => lag(8 * HOUR + 5 * SECOND)) },
    status: 'block',
    says: /arrived 8 h after their event.*a time zone/,
  },
  {
    what: 'a shipper slower by a minute',
    shape: { hour: changed(0, 2, () => lag(65 * SECOND, 140 * SECOND)) },
    status: 'pass',
    says: /as before/,
  },
  {
    what: 'a shipper that was stuck: the older the row, the later it arrived',
    shape: { hour: changed(0, 3, (_, back) => lag(back * HOUR + 30 * MINUTE, back * HOUR + 57 * MINUTE)) },
    status: 'warn',
    says: /arrived later than usual .* slow or stuck/,
  },
  {
    what: 'a part of the rows in another time zone, dated into hours of before the window',
    shape: { counts: { lateIncluded: 300 }, hour: changed(8, 12, () => lag(5 * SECOND, 8 * HOUR + 6 * SECOND)) },
    status: 'block',
    says: /a part of the rows of .* 3 h more arrived 8 h after their event, alike in each hour/,
  },
  {
    what: 'late rows long ago, that this snapshot does not train on',
    shape: { hour: changed(8, 12, () => lag(5 * SECOND, 8 * HOUR + 6 * SECOND)) },
    status: 'pass',
    says: /as before/,
  },
  {
    what: 'a log that always takes hours',
    shape: { hour: changed(0, 200, (_, back) => lag(2 * HOUR + (back % 3) * 20 * MINUTE, 4 * HOUR)) },
    status: 'pass',
    says: /as before/,
  },
  {
    what: 'a day dated eight hours off by who loads whole days',
    shape: {
      windowHours: 24,
      hour: (back, hour) => (back < 24 ? hourRow(hour.startMs, usualRows(hour.startMs - 8 * HOUR)) : hour),
    },
    status: 'block',
    says: /only when moved by -?8 h: a time zone/,
  },
  {
    what: 'a day at another level',
    shape: { windowHours: 24, hour: (back, hour) => (back < 24 ? hourRow(hour.startMs, hour.rows * 2) : hour) },
    status: 'pass',
    says: /as before/,
  },
  {
    what: 'a day with a flatter profile',
    shape: {
      windowHours: 24,
      hour: (back, hour) => (back < 24 ? hourRow(hour.startMs, Math.round(hour.rows ** 0.7 * 5)) : hour),
    },
    status: 'pass',
    says: /as before/,
  },
  {
    what: 'a line so thin that no hour says anything of its clocks',
    shape: { hour: (_back, hour) => ({ ...hour, rows: 6 }) },
    status: 'pass',
    says: /no hour of the fresh window has 20 rows, so the time until arrival was not compared/,
  },
  {
    what: 'a line so thin, whose rows arrive before they happened',
    shape: { hour: (back, hour) => ({ ...hour, rows: 6, beforeEvent: back < 4 ? 6 : 0 }) },
    status: 'block',
    says: /24 of 24 rows of the fresh hours arrived before they happened/,
  },
  {
    what: 'too little history to know a usual lag',
    shape: { historyHours: 8 },
    status: 'pass',
    says: /too few earlier hours/,
  },
];

test.each(cases)('$what', ({ shape, status, says }) => {
  const context = contextOf(hourlyManifest(shape));
  const finding = checkClock(context);
  expect(finding.message).toMatch(says);
  expect(finding.status).toBe(status);
});
