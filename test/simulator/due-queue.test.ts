import { describe, expect, it } from 'vitest';
import { DueQueue } from '../../simulator/due-queue.ts';
import { seededRandom } from '../../simulator/seeded-random.ts';

describe('the due queue', () => {
  it('gives out what is due, the earliest first, and of the same time the first come', () => {
    const random = seededRandom(1);
    const queue = new DueQueue<{ dueMs: number; order: number }>();
    const items = Array.from({ length: 2_000 }, (_, order) => ({ dueMs: Math.floor(100 * random.uniform()), order }));
    const taken: typeof items = [];
    for (const [index, item] of items.entries()) {
      queue.push(item.dueMs, item);
      if (index === 1_000) taken.push(...queue.takeDue(29));
    }
    expect(taken.every(({ dueMs }) => dueMs <= 29)).toBe(true);
    const sorted = (list: typeof items): typeof items =>
      [...list].sort((a, b) => a.dueMs - b.dueMs || a.order - b.order);
    expect(taken).toEqual(sorted(items.slice(0, 1_001)).filter(({ dueMs }) => dueMs <= 29));
    const rest = queue.takeDue(Infinity);
    expect(rest).toEqual(sorted(items.filter((item) => !taken.includes(item))));
    expect(queue.size).toBe(0);
  });

  it('takes no more than asked for and leaves what is not due', () => {
    const queue = new DueQueue<string>();
    for (const [dueMs, item] of [
      [3, 'c'],
      [1, 'a'],
      [2, 'b'],
    ] as const)
      queue.push(dueMs, item);
    expect(queue.takeDue(0)).toEqual([]);
    expect(queue.takeDue(3, 2)).toEqual(['a', 'b']);
    expect(queue.takeDue(3)).toEqual(['c']);
  });
});
