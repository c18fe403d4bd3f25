import { describe, expect, it, test } from 'vitest';
import { chooseParent, findContaminated, type Descent, type TaintedWindow } from '../../policy/contamination.ts';

/** Each version trains on one unit of time after its parent's, from its own snapshot. */
function version(number: number, parent: number | null, change: Partial<Descent> = {}): Descent {
  const fromMs = (parent ?? 0) * 10;
  return {
    version: number,
    parent,
    status: 'archived',
    snapshotId: `s${String(number)}`,
    trainedOn: { fromMs, toMs: fromMs + 10 },
    leftOut: [],
    ...change,
  };
}

const window = (snapshotId: string, fromMs: number, toMs: number): TaintedWindow => ({
  ...{ snapshotId, fromMs, toMs, reason: 'half loaded' },
});
const LINE = [version(0, null, { snapshotId: null, trainedOn: null }), version(1, null), version(2, 1), version(3, 2)];

describe('versions with tainted data', () => {
  test.each<[string, Descent[], TaintedWindow[], [number, string][]]>([
    ['none, without a taint', LINE, [], []],
    [
      'the one trained on it and all that descend from that',
      LINE,
      [window('s2', 10, 22)],
      [
        [2, 'trainedOn'],
        [3, 'descends'],
      ],
    ],
    ['the newest alone', LINE, [window('s3', 20, 32)], [[3, 'trainedOn']]],
    [
      'a sibling that trained on the same rows after the first was rejected',
      [...LINE, version(4, 1, { trainedOn: { fromMs: 10, toMs: 15 } })],
      [window('s2', 10, 22)],
      [
        [2, 'trainedOn'],
        [3, 'descends'],
        [4, 'sameRows'],
      ],
    ],
    [
      'not one whose snapshot left the rows out',
      [...LINE, version(4, 1, { trainedOn: { fromMs: 10, toMs: 40 }, leftOut: ['s2'] })],
      [window('s2', 10, 22)],
      [
        [2, 'trainedOn'],
        [3, 'descends'],
      ],
    ],
    [
      'one that left another snapshot out, all the same',
      [...LINE, version(4, 1, { trainedOn: { fromMs: 10, toMs: 40 }, leftOut: ['s3'] })],
      [window('s2', 10, 22)],
      [
        [2, 'trainedOn'],
        [3, 'descends'],
        [4, 'sameRows'],
      ],
    ],
    ['none that ends where the bad rows begin', LINE, [window('s9', 30, 40)], []],
    [
      'the one that trained on what was only the holdout of the bad snapshot',
      LINE,
      [window('s9', 28, 40)],
      [[3, 'sameRows']],
    ],
    ['none by a window without rows', LINE, [window('s9', 15, 15)], []],
    [
      'in whatever order they come',
      [...LINE].reverse(),
      [window('s1', 0, 12)],
      [
        [1, 'trainedOn'],
        [2, 'descends'],
        [3, 'descends'],
      ],
    ],
  ])('are %s', (_name, versions, windows, expected) => {
    const found = findContaminated(versions, windows);
    expect([...found.values()].map((contamination) => [contamination.version, contamination.how])).toEqual(expected);
  });
});

describe('the parent of the next challenger', () => {
  const withTaints = (windows: TaintedWindow[], champion: number | null, versions = LINE) =>
    chooseParent(champion, versions, findContaminated(versions, windows));

  it('is the champion as long as that is clean', () => {
    expect(withTaints([], 3)).toEqual({ parent: 3, reason: null });
    expect(withTaints([window('s9', 40, 50)], 3)).toEqual({ parent: 3, reason: null });
    expect(withTaints([window('s2', 10, 22)], null)).toEqual({ parent: null, reason: null });
  });

  it('is the newest clean ancestor, and says why', () => {
    const { parent, reason } = withTaints([window('s2', 10, 22)], 3);
    expect(parent).toBe(1);
    expect(reason).toMatch(/version 3, descends from version 2 .* s2, which is tainted: half loaded; .*from version 1/);
  });

  it('is never one that was rolled back', () => {
    const versions = LINE.map((each) => (each.version === 2 ? { ...each, status: 'rolledBack' } : each));
    expect(withTaints([window('s3', 20, 32)], 3, versions).parent).toBe(1);
  });

  it('is none when no ancestor is clean', () => {
    const { parent, reason } = withTaints([window('s1', 0, 12)], 3);
    expect(parent).toBeNull();
    expect(reason).toContain('from scratch');
  });
});
