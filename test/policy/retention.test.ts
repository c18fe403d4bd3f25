import { describe, expect, it } from 'vitest';
import {
  decideRetention,
  SNAPSHOT_PARTS,
  VERSION_PARTS,
  type Kept,
  type RetainedVersion,
  type RetentionFacts,
} from '../../policy/retention.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = 1_000 * DAY;
/** Versions 1 to 20, one a day, the last yesterday; each trained from the one before on a snapshot of its own. */
const COUNT = 20;

const createdAtMs = (number: number): number => NOW - (COUNT - number + 1) * DAY;
const snapshotOf = (number: number): string => `snapshot-${String(number)}`;

function version(number: number, change: Partial<RetainedVersion> = {}): RetainedVersion {
  return {
    version: number,
    parent: number === 1 ? null : number - 1,
    status: 'archived',
    cycleId: `cycle-${String(number)}`,
    snapshotId: snapshotOf(number),
    createdAtMs: createdAtMs(number),
    trainingCutoffMs: createdAtMs(number) - 2 * HOUR,
    takenAtMs: createdAtMs(number) - HOUR,
    fromParent: number > 1,
    strategy: number === 1 ? 'full' : 'incremental',
    newRowsFromMs: createdAtMs(number) - 2 * HOUR,
    lastRoutedMs: null,
    ...change,
  };
}

/** A line that keeps nothing by age or number, whose stable is version 20 after 16, 11 and 6. Full trainings: 1 and 15. */
function facts(
  change: Partial<RetentionFacts> = {},
  versions: Record<number, Partial<RetainedVersion>> = {},
): RetentionFacts {
  const given: Record<number, Partial<RetainedVersion>> = {
    15: { strategy: 'full', fromParent: false },
    16: { lastRoutedMs: createdAtMs(20) },
    20: { status: 'stable', lastRoutedMs: Infinity },
    ...versions,
  };
  const all = Array.from({ length: COUNT }, (_, index) => version(index + 1, given[index + 1]));
  return {
    nowMs: NOW,
    config: { versions: 0, for: 0, stables: 3 },
    snapshot: { season: DAY, maxWindow: 7 * DAY },
    versions: all,
    snapshots: all.map((of) => ({
      snapshotId: of.snapshotId ?? '',
      cycleId: of.cycleId ?? '',
      createdAtMs: of.createdAtMs - HOUR,
      cutoffMs: of.createdAtMs - HOUR,
      passed: true,
    })),
    stables: [20, 16, 11, 6, 0],
    pinned: [],
    aliases: [],
    openCycles: [],
    nextParent: 20,
    ...change,
  };
}

/** Versions of which all is kept: its own artifacts and its snapshot. */
function whole({ versions, snapshots }: Kept): number[] {
  return [...versions]
    .filter(
      ([number, parts]) =>
        parts.size === VERSION_PARTS.length && snapshots.get(snapshotOf(number))?.size === SNAPSHOT_PARTS.length,
    )
    .map(([number]) => number)
    .sort((a, b) => a - b);
}

const withPart = <Key, Part>(of: ReadonlyMap<Key, ReadonlyMap<Part, string>>, part: Part): Key[] =>
  [...of].filter(([, parts]) => parts.has(part)).map(([key]) => key);

const sorted = (numbers: number[]): number[] => numbers.toSorted((a, b) => a - b);

describe('what is kept whole', () => {
  it.each<[string, RetentionFacts, number[]]>([
    ['the stable and the two stables before it', facts(), [11, 16, 20]],
    ['more stables as configured', facts({ config: { versions: 0, for: 0, stables: 4 } }), [6, 11, 16, 20]],
    ['pinned versions', facts({ pinned: [3] }), [3, 11, 16, 20]],
    ['versions with an alias', facts({ aliases: [{ alias: 'baseline', version: 2 }] }), [2, 11, 16, 20]],
    [
      'the newest versions, whatever became of them',
      facts({ config: { versions: 4, for: 0, stables: 3 } }),
      [11, 16, 17, 18, 19, 20],
    ],
    ['young versions', facts({ config: { versions: 0, for: 3 * DAY, stables: 3 } }), [11, 16, 18, 19, 20]],
    ['a canary', facts({}, { 9: { status: 'canary', lastRoutedMs: Infinity } }), [9, 11, 16, 20]],
    [
      'what was routed an hour ago',
      facts({}, { 9: { status: 'rejected', lastRoutedMs: NOW - HOUR } }),
      [9, 11, 16, 20],
    ],
    [
      'not what was routed last week',
      facts({}, { 9: { status: 'rejected', lastRoutedMs: NOW - 7 * DAY } }),
      [11, 16, 20],
    ],
    [
      'candidate, champion and parent of an open cycle',
      facts({ openCycles: [{ cycleId: 'cycle-19', champion: 7, parent: 5, candidate: 19 }] }),
      [5, 7, 11, 16, 19, 20],
    ],
    [
      'a stable that was rolled back, which takes no place',
      facts({}, { 16: { status: 'rolledBack' } }),
      [6, 11, 16, 20],
    ],
  ])('%s', (_, given, expected) => {
    expect(whole(decideRetention(given))).toEqual(expected);
  });

  it('says why', () => {
    const { versions } = decideRetention(facts({ pinned: [3] }));
    expect(versions.get(20)?.get('model')).toBe('is routed');
    expect(versions.get(3)?.get('model')).toBe('is pinned');
    expect(versions.get(11)?.get('result')).toBe('is one of the last 3 stables');
    expect(versions.get(2)?.get('checkpoint')).toBe('version 3, trained from it, is pinned');
  });
});

describe('what is kept in part', () => {
  it("keeps the parents' checkpoints for training kept versions again, and no checkpoint before them", () => {
    const { versions } = decideRetention(facts({ pinned: [4] }));
    // Version 15 was trained in full, so 14 is needed by nobody.
    expect(sorted(withPart(versions, 'checkpoint'))).toEqual([3, 4, 10, 11, 15, 16, 19, 20]);
    expect(versions.get(10)?.has('model')).toBe(false);
  });

  it('keeps nothing of a parent for a version that was trained in full', () => {
    const { versions } = decideRetention(facts({ pinned: [15] }));
    expect(versions.has(14)).toBe(false);
  });

  it('keeps the rows that a possible parent has seen since its training in full', () => {
    const { snapshots } = decideRetention(facts({ stables: [20] }));
    const seen = withPart(snapshots, 'train').map((id) => Number(id.split('-')[1]));
    expect(sorted(seen)).toEqual([15, 16, 17, 18, 19, 20]);
    expect(snapshots.get('snapshot-17')?.has('holdout')).toBe(false);
    const always = decideRetention(facts({ stables: [20] }, { 15: {} })).snapshots;
    expect(withPart(always, 'train').toSorted().at(0)).toBe('snapshot-14');
  });

  it('keeps the version that whole cycles go on from after online updates, with its historical holdout', () => {
    const online = { strategy: 'online' };
    const given = facts({ stables: [20] }, { 17: { status: 'rolledBack' }, 18: online, 19: online, 20: online });
    const { versions, snapshots } = decideRetention(given);
    expect(versions.get(16)?.has('checkpoint')).toBe(true);
    expect(withPart(snapshots, 'historical').sort()).toEqual(['snapshot-16', 'snapshot-20']);
    expect(versions.has(17)).toBe(false);
  });

  it("keeps the clean ancestor's checkpoint when the champion is contaminated", () => {
    const { versions, snapshots } = decideRetention(facts({ nextParent: 8 }));
    expect([...(versions.get(8)?.keys() ?? [])]).toEqual(['checkpoint']);
    expect(snapshots.get('snapshot-8')?.has('historical')).toBe(true);
  });

  it('keeps models whose scores the next snapshot holds', () => {
    const given = facts(
      { stables: [20] },
      { 13: { lastRoutedMs: createdAtMs(20) }, 12: { lastRoutedMs: createdAtMs(20) - 3 * HOUR } },
    );
    const { versions } = decideRetention({ ...given, nowMs: NOW + 3 * DAY });
    expect(sorted(withPart(versions, 'model'))).toEqual([13, 16, 20]);
  });

  it('keeps profiles of two seasons and a week, and the newest dozen however old', () => {
    const profiles = (given: RetentionFacts): number[] =>
      sorted(withPart(decideRetention(given).snapshots, 'profiles').map((id) => Number(id.split('-')[1])));
    const only = { stables: [20] };
    expect(profiles(facts(only)).at(0)).toBe(9);
    expect(profiles(facts({ ...only, snapshot: { season: 7 * DAY, maxWindow: DAY } })).at(0)).toBe(6);
    const blocked = facts(only).snapshots.map((snapshot) => ({
      ...snapshot,
      passed: snapshot.snapshotId === 'snapshot-14',
    }));
    expect(profiles(facts({ ...only, snapshots: blocked }))).toEqual([14, 16, 20]);
  });
});

describe('snapshots without a version', () => {
  const fruitless = [1, 2, 3].map((days) => ({
    snapshotId: `fruitless-${String(days)}`,
    cycleId: `blocked-${String(days)}`,
    createdAtMs: NOW - days * DAY,
    cutoffMs: NOW - days * DAY,
    passed: false,
  }));
  const given = (change: Partial<RetentionFacts>): RetentionFacts => {
    const base = facts(change);
    return { ...base, snapshots: [...base.snapshots, ...fruitless] };
  };
  const kept = (of: RetentionFacts): string[] =>
    [...decideRetention(of).snapshots.keys()].filter((id) => id.startsWith('fruitless')).sort();

  it.each<[string, Partial<RetentionFacts>, string[]]>([
    ['go with old versions', {}, []],
    [
      'stay while they are young',
      { config: { versions: 0, for: 2 * DAY, stables: 3 } },
      ['fruitless-1', 'fruitless-2'],
    ],
    ['stay as many as versions do', { config: { versions: 1, for: 0, stables: 3 } }, ['fruitless-1']],
    [
      'stay with their open cycle',
      { openCycles: [{ cycleId: 'blocked-3', champion: 20, parent: 20, candidate: null }] },
      ['fruitless-3'],
    ],
  ])('%s', (_, change, expected) => {
    expect(kept(given(change))).toEqual(expected);
  });

  it('stay with the version of their cycle, whose holdout they extended', () => {
    const base = facts({ pinned: [3] });
    const extension = { snapshotId: 'extension', cycleId: 'cycle-3', createdAtMs: 0, cutoffMs: 0, passed: true };
    const { snapshots } = decideRetention({ ...base, snapshots: [...base.snapshots, extension] });
    expect(snapshots.get('extension')?.size).toBe(SNAPSHOT_PARTS.length);
  });
});

it('keeps nothing of a line that has nothing', () => {
  const { versions, snapshots } = decideRetention({
    ...facts(),
    versions: [],
    snapshots: [],
    stables: [0],
    nextParent: null,
  });
  expect([versions.size, snapshots.size]).toEqual([0, 0]);
});
