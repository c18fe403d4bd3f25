import { expect, test } from 'vitest';
import type { Finding } from '../../../data/checks/check.ts';
import { checkDuplicates } from '../../../data/checks/duplicates.ts';
import { contextOf, hourlyManifest, type HourRow, type ManifestShape } from './hourly-manifest.ts';

interface Case {
  what: string;
  shape: ManifestShape;
  passed?: ManifestShape;
  status: Finding['status'];
  says: RegExp;
}

const repeated =
  (share: number, from = 0, to = 1_000) =>
  (back: number, hour: HourRow): HourRow =>
    back >= from && back < to ? { ...hour, duplicates: Math.round((hour.rows * share) / (1 - share)) } : hour;

const cases: Case[] = [
  {
    what: 'the usual repeats',
    shape: {},
    status: 'pass',
    says: /repeat others and were removed, up to 0\.03 of an hour, at most 0\.18 expected: nine in ten earlier hours/,
  },
  {
    what: 'the window loaded twice',
    shape: { hour: repeated(0.5, 0, 4) },
    status: 'block',
    says: /up to 0\.50 of an hour .* loaded twice/,
  },
  {
    what: 'one hour loaded twice',
    shape: { hour: repeated(0.5, 2, 3) },
    status: 'block',
    says: /2026-01-12 09:00 to 10:00 UTC/,
  },
  {
    what: 'half of an hour loaded twice',
    shape: { hour: repeated(0.33, 2, 3) },
    status: 'block',
    says: /loaded twice/,
  },
  {
    what: 'an hour with three times the usual repeats',
    shape: { hour: repeated(0.1, 2, 3) },
    status: 'pass',
    says: /removed/,
  },
  {
    what: 'every row twice, always',
    shape: { hour: repeated(0.5) },
    passed: { hour: repeated(0.5) },
    status: 'pass',
    says: /up to 0\.50/,
  },
  {
    what: 'the whole table loaded twice since the last snapshot',
    shape: { hour: repeated(0.5) },
    passed: {},
    status: 'block',
    says: /loaded twice/,
  },
  {
    what: 'older hours loaded twice: they are removed, and do not train',
    shape: { hour: repeated(0.5, 40, 50) },
    status: 'pass',
    says: /removed/,
  },
  {
    what: 'every row twice in a first snapshot',
    shape: { windowHours: 120, hour: repeated(0.5) },
    status: 'block',
    says: /at most 0\.40 expected while there is no history/,
  },
  {
    what: 'usual repeats in a first snapshot',
    shape: { windowHours: 120 },
    status: 'pass',
    says: /while there is no history/,
  },
  {
    what: 'two of four rows repeated on a line with hardly any',
    shape: { hour: (back, hour) => (back === 1 ? { ...hour, rows: 2, duplicates: 2 } : hour) },
    status: 'pass',
    says: /up to 0\.50/,
  },
  {
    what: 'a first snapshot of less than two hours, loaded twice',
    shape: { historyHours: 1, windowHours: 1, hour: repeated(0.5) },
    status: 'block',
    says: /at most 0\.40 expected while there is no history/,
  },
  { what: 'no rows', shape: { hour: (back, hour) => (back < 4 ? null : hour) }, status: 'pass', says: /hold no rows/ },
];

test.each(cases)('$what', ({ shape, passed, status, says }) => {
  const options = passed === undefined ? {} : { passed: hourlyManifest(passed) };
  const finding = checkDuplicates(contextOf(hourlyManifest(shape), options));
  expect(finding.message).toMatch(says);
  expect(finding.status).toBe(status);
});

test('hours of a source of another kind are no baseline', () => {
  const passed = hourlyManifest();
  const repeating = { hour: repeated(0.3) };
  const find = (kind: string): Finding['status'] =>
    checkDuplicates(
      contextOf(hourlyManifest(repeating), { passed: { ...passed, source: { ...passed.source, kind } as never } }),
    ).status;
  expect(find('lake')).toBe('block');
  expect(find('eventLog')).toBe('pass');
});
