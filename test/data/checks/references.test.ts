import { expect, test } from 'vitest';
import { chooseReferences } from '../../../data/checks/references.ts';
import { HOUR } from '../feed.ts';

const DAY = 24 * HOUR;
/** Cycles of four hours, newest first, back from an hour that is `from` hours after the epoch. */
const cycles = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({
    snapshotId: `s${String(index)}`,
    windowStartMs: (from - 4 * (index + 1)) * HOUR,
    cutoffMs: (from - 4 * index) * HOUR,
  }));

test.each([
  { what: 'the first snapshot', earlier: [], season: [], week: [] },
  { what: 'a few hours of history', earlier: cycles(400, 3), season: [], week: [] },
  { what: 'a day of cycles', earlier: cycles(400, 8), season: ['s5'], week: [] },
  { what: 'a week of cycles', earlier: cycles(400, 60), season: ['s5'], week: ['s41'] },
  {
    what: 'one snapshot that covers yesterday and more',
    earlier: [{ snapshotId: 'cold', windowStartMs: 300 * HOUR, cutoffMs: 400 * HOUR }],
    season: ['cold'],
    week: [],
  },
])('$what', ({ earlier, season, week }) => {
  const window = { windowStartMs: 400 * HOUR, cutoffMs: 404 * HOUR };
  const chosen = chooseReferences({ window, seasonMs: DAY, earlier, trainedOn: 'champion' });
  expect(chosen).toMatchObject({ training: 'champion', season, week });
  if (week.length > 0) expect(chosen.earlierSeason).toEqual(['s11']);
  expect(chosen.recent).toEqual(earlier.slice(0, 6).map(({ snapshotId }) => snapshotId));
});

test('of windows that lie inside each other after rejected cycles the one that fits best is taken', () => {
  const window = { windowStartMs: 424 * HOUR, cutoffMs: 428 * HOUR };
  const nested = [420, 412, 404].map((cutoff) => ({
    snapshotId: `to${String(cutoff)}`,
    windowStartMs: 399 * HOUR,
    cutoffMs: cutoff * HOUR,
  }));
  const chosen = chooseReferences({ window, seasonMs: DAY, earlier: nested, trainedOn: null });
  expect(chosen.season).toEqual(['to404']);
});

test('a snapshot that covers yesterday and the day before tells nothing of what moved between them', () => {
  const window = { windowStartMs: 400 * HOUR, cutoffMs: 424 * HOUR };
  const cold = { snapshotId: 'cold', windowStartMs: 340 * HOUR, cutoffMs: 400 * HOUR };
  const chosen = chooseReferences({ window, seasonMs: DAY, earlier: [cold], trainedOn: null });
  expect(chosen).toMatchObject({ season: ['cold'], earlierSeason: [] });
});

test('a long window is compared with all cycles of the day before, a week back only where that is not the season', () => {
  const window = { windowStartMs: 400 * HOUR, cutoffMs: 424 * HOUR };
  const day = chooseReferences({ window, seasonMs: DAY, earlier: cycles(400, 12), trainedOn: null });
  expect(day.season).toEqual(['s0', 's1', 's2', 's3', 's4', 's5']);
  expect(day.training).toBeNull();
  const weekly = chooseReferences({ window, seasonMs: 7 * DAY, earlier: cycles(400, 60), trainedOn: null });
  expect(weekly).toMatchObject({ week: [], season: ['s36', 's37', 's38', 's39', 's40', 's41'] });
});
