import { describe, expect, test } from 'vitest';
import { mergeNames, nameTest, packNames } from '../../../data/event-log/segment-names.ts';

const name = (stem: string, number: number): string => `${stem}-${String(number).padStart(8, '0')}.ndjson`;

describe('names of segments', () => {
  test('are ranges of numbers where a writer numbered them, and say for each name whether it is one', () => {
    const names = [...[5, 1, 2, 3, 9].map((n) => name('gw-1-ab', n)), name('gw-2-cd', 7), 'torn.ndjson'];
    const packed = packNames(names);
    expect(packed).toEqual({
      numbered: {
        'gw-1-ab-': [
          [1, 3],
          [5, 5],
          [9, 9],
        ],
        'gw-2-cd-': [[7, 7]],
      },
      others: ['torn.ndjson'],
    });
    const has = nameTest(packed);
    expect(names.every(has)).toBe(true);
    const strangers = [name('gw-1-ab', 4), name('gw-1-ab', 8), name('gw-1', 1), name('gw-3-ab', 1), 'x.ndjson'];
    expect(strangers.filter(has)).toEqual([]);
    expect(nameTest(packNames([]))(name('constructor', 1))).toBe(false);
  });

  test.each([
    { first: [1, 2, 3], then: [4, 5], ranges: [[1, 5]] },
    { first: [1, 2, 9], then: [5], ranges: [[1, 2], [5, 5], [9, 9]] }, // prettier-ignore
    { first: [1, 3], then: [2], ranges: [[1, 3]] },
    { first: [], then: [2], ranges: [[2, 2]] },
    { first: [2], then: [2], ranges: [[2, 2]] },
  ])('of two compactions go together: $first and $then', ({ first, then, ranges }) => {
    const numbered = (numbers: readonly number[]): string[] => numbers.map((n) => name('gw', n));
    const merged = mergeNames(packNames([...numbered(first), 'a.ndjson']), [...numbered(then), 'b.ndjson', 'a.ndjson']);
    expect(merged).toEqual({ numbered: { 'gw-': ranges }, others: ['a.ndjson', 'b.ndjson'] });
  });
});
