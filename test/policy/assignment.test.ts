import { describe, expect, it } from 'vitest';
import { assignArm, userPoint } from '../../policy/assignment.ts';

const users = Array.from({ length: 20_000 }, (_, index) => `user-${String(index)}`);

describe('userPoint', () => {
  it('stays what it was: a changed hash would move users between arms during a ramp', () => {
    expect(userPoint('user-1', 'cycle-1')).toBe(0.2616738388314843);
    expect(userPoint('', '')).toBe(0.6524143973365426);
    expect(userPoint('Ünïcode 東京', 's')).toBe(0.18826366472057998);
  });

  it('spreads users evenly over [0, 1), whatever the salt', () => {
    for (const salt of ['a', 'b', 'cycle-2026']) {
      const counts = new Array<number>(20).fill(0);
      for (const user of users) {
        const bin = Math.floor(userPoint(user, salt) * 20);
        counts[bin] = (counts[bin] ?? NaN) + 1;
      }
      expect(counts).toHaveLength(20);
      // Chi-square with 19 degrees of freedom: 43.8 is its 99.9 % point.
      expect(counts.reduce((sum, found) => sum + (found - 1_000) ** 2 / 1_000, 0)).toBeLessThan(43.8);
    }
  });

  it('draws the users anew for each salt', () => {
    const first = users.filter((user) => userPoint(user, 'cycle-1') < 0.1);
    const again = first.filter((user) => userPoint(user, 'cycle-2') < 0.1);
    expect(again.length / first.length).toBeGreaterThan(0.07);
    expect(again.length / first.length).toBeLessThan(0.13);
  });
});

describe('assignArm', () => {
  const route = { canary: 7, canaryShare: 0.25, holdback: 0.1, holdbackVersion: null };
  /** After the promotion of version 7. */
  const watched = { canary: null, canaryShare: 0, holdback: 0.1, holdbackVersion: 6 };

  it.each([
    [0, 'canary'],
    [0.2499, 'canary'],
    [0.25, 'stable'],
    [0.8999, 'stable'],
    [0.9, 'holdback'],
    [0.9999, 'holdback'],
  ] as const)('puts the point %f in %s', (point, arm) => {
    expect(assignArm({ point, route, canaryAllowed: true })).toBe(arm);
  });

  it('answers canary users by stable when the canary is not allowed, and leaves the others', () => {
    expect(assignArm({ point: 0, route, canaryAllowed: false })).toBe('stable');
    expect(assignArm({ point: 0.95, route, canaryAllowed: false })).toBe('holdback');
  });

  it('keeps the holdback of the ramp in the watch after it, and nobody else', () => {
    for (const user of users) {
      const point = userPoint(user, 'cycle-1');
      const inRamp = assignArm({ point, route: { ...route, canaryShare: 0.9 }, canaryAllowed: true });
      const inWatch = assignArm({ point, route: watched, canaryAllowed: false });
      expect(inWatch).toBe(inRamp === 'holdback' ? 'holdback' : 'stable');
    }
  });

  it('has neither canary nor holdback without a canary and a version of the holdback', () => {
    for (const point of [0, 0.5, 0.99]) {
      expect(assignArm({ point, route: { ...route, canary: null }, canaryAllowed: true })).toBe('stable');
    }
  });

  it('keeps every user of a small step in the larger steps, and never takes one from the holdback', () => {
    const armAt = (point: number, canaryShare: number): string =>
      assignArm({ point, route: { ...route, canaryShare }, canaryAllowed: true });
    for (const user of users) {
      const point = userPoint(user, 'cycle-1');
      const arms = [0.01, 0.05, 0.25, 0.5, 0.9].map((share) => armAt(point, share));
      expect(arms.join()).toMatch(/^(holdback,?){5}$|^(stable,?)*(canary,?)*$/);
    }
  });
});
