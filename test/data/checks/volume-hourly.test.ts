import { describe, expect, test } from 'vitest';
import { checkVolume } from '../../../data/checks/volume.ts';
import { checkVolumeArrival } from '../../../data/checks/volume-arrival.ts';
import { checkVolumeHourly } from '../../../data/checks/volume-hourly.ts';
import type { Finding } from '../../../data/checks/check.ts';
import { ARRIVAL_AGES_MS } from '../../../data/snapshot-manifest.ts';
import {
  contextOf,
  CUTOFF,
  hourlyManifest,
  hourRow,
  HOUR,
  MINUTE,
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

const scaled = (hour: HourRow, share: number): HourRow =>
  hourRow(hour.startMs, Math.round(hour.rows * share), { duplicates: 0 });
const only = (hours: readonly number[], change: (hour: HourRow) => HourRow | null): ManifestShape => ({
  hour: (back, hour) => (hours.includes(back) ? change(hour) : hour),
});
const half = (hour: HourRow): HourRow => scaled(hour, 0.5);
const at = (shape: ManifestShape, cutoffMs: number): ManifestShape => ({ ...shape, cutoffMs });
const NIGHT = CUTOFF - 9 * HOUR;

describe('volume.hourly', () => {
  const cases: Case[] = [
    {
      what: 'a clean window',
      shape: {},
      status: 'pass',
      says: /^4 hours compared with the seasons before; the lowest/,
    },
    {
      what: 'a half-loaded hour',
      shape: only([1], half),
      status: 'block',
      says: /^2026-01-12 10:00 to 11:00 UTC has 4\d\d of \d{3} rows expected \(0\.(4|5)\d\): missing or only partly loaded, at least 0\.68/,
    },
    { what: 'the newest hour half loaded', shape: only([0], half), status: 'block', says: /11:00 to 12:00 UTC/ },
    {
      what: 'a half-loaded hour of the night',
      shape: at(only([2], half), NIGHT),
      status: 'block',
      says: /00:00 to 01:00/,
    },
    {
      what: 'a missing hour',
      shape: only([2], () => null),
      status: 'block',
      says: /has 0 of \d+ rows expected \(0\)|has 0 of/,
    },
    {
      what: 'two hours',
      shape: only([0, 2], half),
      status: 'block',
      says: /09:00 to 10:00 UTC has .*, 2026-01-12 11:00 to 12:00 UTC has /,
    },
    {
      what: 'the whole window half loaded, at the level of the hours before',
      shape: only([0, 1, 2, 3], half),
      status: 'block',
      says: /the newest 4 h hold .* at the level of the hours before \(0\.\d+\)/,
    },
    {
      what: 'a window half loaded on a day that has twice the rows: the season before alone would not show it',
      shape: { hour: (back, hour) => (back < 4 ? hour : back < 20 ? scaled(hour, 2) : hour) },
      status: 'block',
      says: /the newest 4 h hold/,
    },
    {
      what: 'a day at twice the level',
      shape: { hour: (back, hour) => (back < 20 ? scaled(hour, 2) : hour) },
      status: 'pass',
      says: /lowest/,
    },
    {
      what: 'a day at 0.6 of the level',
      shape: { hour: (back, hour) => (back < 20 ? scaled(hour, 0.6) : hour) },
      status: 'pass',
      says: /lowest/,
    },
    { what: 'a mild dip', shape: only([1], (hour) => scaled(hour, 0.85)), status: 'pass', says: /lowest/ },
    {
      what: 'a line so thin that an hour without rows is chance',
      shape: { hour: (back, hour) => (back === 1 ? null : hourRow(hour.startMs, 3)) },
      status: 'pass',
      says: /holds 0 rows of 3 expected/,
    },
    {
      what: 'an hour that is always quiet on this weekday',
      shape: { historyHours: 9 * 24, ...only([1, 1 + 168], (hour) => scaled(hour, 0.3)) },
      status: 'pass',
      says: /lowest/,
    },
    {
      what: 'an hour missing one season before, with other seasons to compare with',
      shape: only([1, 25], () => null),
      status: 'block',
      says: /has 0 of/,
    },
    {
      what: 'a first snapshot over days, a hole in the middle',
      shape: { windowHours: 120, ...only([60], () => null) },
      status: 'block',
      says: /2026-01-09 23:00 to 2026|2026-01-09 23:00 to 00:00 UTC has 0 of/,
    },
    { what: 'a first snapshot over days', shape: { windowHours: 120 }, status: 'pass', says: /hours compared/ },
    {
      what: 'a day after missed cycles, all of it half loaded',
      shape: { windowHours: 24, hour: (back, hour) => (back < 24 ? half(hour) : hour) },
      status: 'block',
      says: /the 4 h from 2026-01-11 12:00 UTC hold .* at the level of the hours before \(0\.(4|5)\d\)/,
    },
    {
      what: 'two days after missed cycles, all of them half loaded',
      shape: { windowHours: 48, hour: (back, hour) => (back < 48 ? half(hour) : hour) },
      status: 'block',
      says: /the 4 h from 2026-01-10 12:00 UTC hold/,
    },
    {
      what: 'a long window with eight half-loaded hours in the middle',
      shape: { windowHours: 24, hour: (back, hour) => (back >= 8 && back < 16 ? half(hour) : hour) },
      status: 'block',
      says: /the 4 h from 2026-01-11 20:00 UTC hold/,
    },
    {
      what: 'a source that is loaded once a day, whose newest hours nobody can judge',
      shape: {
        maturityMs: HOUR,
        hour: (back, hour) => ({
          ...(back < 2 ? scaled(hour, 0) : hour),
          lagP50Ms: 12 * HOUR,
          lagP95Ms: 20 * HOUR,
          arrivedWithin: ARRIVAL_AGES_MS.map(() => 0),
        }),
      },
      status: 'notApplicable',
      says: /do not come in as they happen, and 4 hours are younger .*how full they are can not be told yet/,
    },
    {
      what: 'less than a season of history',
      shape: { historyHours: 20 },
      status: 'notApplicable',
      says: /19 h of history do not yet reach back to the same hour a day before, 25 h are needed/,
    },
    {
      what: 'history without rows in the same hours',
      shape: { historyHours: 40, hour: (back, hour) => (back > 20 && back < 39 ? null : hour) },
      status: 'block',
      says: /no rows in the same hours of the seasons before/,
    },
    {
      what: 'an hour that normally is not there yet',
      shape: {
        hour: (back, hour) => ({
          ...hour,
          rows: back === 0 ? 0 : hour.rows,
          arrivedWithin: hour.arrivedWithin.map((rows, age) => ((ARRIVAL_AGES_MS[age] ?? 0) < 30 * MINUTE ? 0 : rows)),
        }),
      },
      status: 'pass',
      says: /lowest/,
    },
    {
      what: 'a half-loaded hour after a log that was imported at once',
      shape: {
        hour: (back, hour) =>
          back > 11
            ? { ...hour, lagP50Ms: back * HOUR, lagP95Ms: back * HOUR, arrivedWithin: ARRIVAL_AGES_MS.map(() => 0) }
            : back === 1
              ? half(hour)
              : hour,
      },
      status: 'block',
      says: /10:00 to 11:00/,
    },
  ];

  test.each(cases)('$what', ({ shape, status, says }) => {
    const context = contextOf(hourlyManifest(shape));
    const finding = checkVolumeHourly(context);
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });

  test('says the numbers of the lowest hour', () => {
    const manifest = hourlyManifest(only([1], half));
    const { numbers, threshold } = checkVolumeHourly(contextOf(manifest));
    expect(numbers).toMatchObject({ hours: 4, short: 1, lowestStartMs: CUTOFF - 2 * HOUR });
    expect(numbers['lowestFound']).toBe(Math.round(usualRows(CUTOFF - 2 * HOUR) / 2));
    expect(numbers['lowestRatio']).toBeGreaterThan(0.4);
    expect(numbers['lowestRatio']).toBeLessThan(0.6);
    expect(threshold).toEqual({ minRatio: 0.68, minZ: 3 });
  });

  test('a looser limit lets a half-loaded hour pass', () => {
    const config = { checks: { volumeHourly: { minRatio: 0.3 } } };
    expect(checkVolumeHourly(contextOf(hourlyManifest(only([1], half)), { config })).status).toBe('pass');
  });
});

describe('volume', () => {
  test.each([
    [500, 1_000, 'block', /0\.50 of it, at least 0\.60 expected/],
    [150, 300, 'block', /0\.50 of it/],
    [10, 20, 'pass', /0\.50 of it, .*so few rows vary by as much/],
    [0, 20, 'block', /0\.00 of it/],
    [9, 2, 'pass', /so few rows vary/],
    [1_000, 200, 'block', /5\.00 times it/],
    [7, 0, 'block', /nothing to compare with/],
  ] as const)('%d rows, %d a season before: %s', (recent, recentSeasonBack, status, says) => {
    const manifest = hourlyManifest();
    const source = { ...manifest.source, recent, recentSeasonBack };
    const finding = checkVolume(contextOf({ ...manifest, source }));
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });
});

describe('volume.arrival', () => {
  /** A share of the hour's rows is in at its end, the rest after an hour. */
  const slowly =
    (share: number, maturityMs: number) =>
    (back: number, hour: HourRow): HourRow => {
      const ageMs = maturityMs + back * HOUR;
      const early = Math.round(share * hour.rows);
      const arrivedWithin = ARRIVAL_AGES_MS.map((age) => (age < HOUR ? early : hour.rows));
      return { ...hour, arrivedWithin, rows: ageMs < HOUR ? early : hour.rows, lagP95Ms: HOUR };
    };
  const cases: Case[] = [
    {
      what: 'a clean window',
      shape: {},
      status: 'pass',
      says: /^4 hours of the newest 4 h have arrived as earlier ones did/,
    },
    {
      what: 'the newest hour half loaded',
      shape: only([0], half),
      status: 'block',
      says: /11:00 to 12:00 UTC has .* at their age/,
    },
    {
      what: 'an hour after the cutoff half loaded',
      shape: { maturityMs: 2.5 * HOUR, ...only([-2], half) },
      status: 'block',
      says: /13:00 to 14:00 UTC has/,
    },
    {
      what: 'an hour after the cutoff not there',
      shape: { maturityMs: 2.5 * HOUR, ...only([-1], () => null) },
      status: 'block',
      says: /12:00 to 13:00 UTC has 0 of/,
    },
    {
      what: 'half of the newest hour, as always at that age',
      shape: { hour: slowly(0.5, 3 * MINUTE) },
      status: 'pass',
      says: /have arrived as earlier ones did/,
    },
    {
      what: 'half of the newest hour, as one in five at that age',
      shape: { hour: (back, hour) => (back % 5 === 0 ? slowly(0.5, 3 * MINUTE)(back, hour) : hour) },
      status: 'pass',
      says: /have arrived as earlier ones did/,
    },
    {
      what: 'half of the half that is always there at that age',
      shape: { hour: (back, hour) => (back === 0 ? scaled(hour, 0.25) : slowly(0.5, 3 * MINUTE)(back, hour)) },
      status: 'block',
      says: /11:00 to 12:00 UTC/,
    },
    {
      what: 'nothing, where an hour comes in only later',
      shape: { hour: (back, hour) => (back === 0 ? null : slowly(0, 3 * MINUTE)(back, hour)) },
      status: 'pass',
      says: /have arrived as earlier ones did/,
    },
    {
      what: 'a source that is loaded once a day',
      shape: {
        hour: (_back, hour) => ({
          ...hour,
          lagP50Ms: 12 * HOUR,
          lagP95Ms: 20 * HOUR,
          arrivedWithin: ARRIVAL_AGES_MS.map(() => 0),
        }),
      },
      status: 'notApplicable',
      says: /how full they are can not be told/,
    },
    {
      what: 'labels that take a day: the newest hours are young, the window is not',
      shape: { maturityMs: 24 * HOUR },
      status: 'pass',
      says: /4 hours of the newest 4 h/,
    },
    {
      what: 'less than a season of history',
      shape: { historyHours: 20 },
      status: 'notApplicable',
      says: /19 h of history/,
    },
  ];

  test.each(cases)('$what', ({ shape, status, says }) => {
    const context = contextOf(hourlyManifest(shape));
    const finding = checkVolumeArrival(context);
    expect(finding.message).toMatch(says);
    expect(finding.status).toBe(status);
  });
});
