import { describe, expect, it } from 'vitest';
import { sizeThatDecides, sizeThatDetects } from '../../policy/power.ts';
import { normalCdf } from '../../policy/statistics.ts';

const measured = { rows: 10_000, users: 2_000, standardError: 0.004 };

describe('the size that decides', () => {
  it('follows the formula: n ((1.6449 + 1.0364) se / margin)^2', () => {
    expect(sizeThatDecides({ ...measured, estimate: 0 }, { limit: -0.002 })).toEqual({ rows: 287_573, users: 57_515 });
    expect(sizeThatDetects(measured, { margin: 0.002 })).toEqual({ rows: 287_573, users: 57_515 });
  });

  it('plans for a power of 85 %, so that 80 % stand when the standard error is a little off, on both sides of the limit', () => {
    for (const estimate of [0.001, -0.005]) {
      const size = sizeThatDecides({ ...measured, estimate }, { limit: -0.002 });
      const standardError = 0.004 * Math.sqrt(10_000 / (size?.rows ?? NaN));
      expect(normalCdf(0.003 / standardError - 1.6448536)).toBeCloseTo(0.85, 3);
    }
  });

  it('is always more than there was, of no fewer users', () => {
    expect(sizeThatDecides({ ...measured, estimate: 0.5 }, { limit: 0 })).toEqual({ rows: 10_001, users: 2_000 });
    expect(sizeThatDetects({ ...measured, standardError: 0 }, { margin: 0.1 })).toEqual({ rows: 10_001, users: 2_000 });
  });

  it.each([
    ['the estimate is the limit', { ...measured, estimate: -0.002 }],
    ['the estimate is next to it', { ...measured, estimate: -0.002 + 1e-15 }],
    ['the standard error is not known', { ...measured, standardError: NaN, estimate: 0 }],
    ['the rows are not known', { ...measured, rows: NaN, estimate: 0 }],
  ])('is none where %s', (_, given) => {
    expect(sizeThatDecides(given, { limit: -0.002 })).toBeUndefined();
  });

  it.each([0, -1, NaN])('nothing detects a margin of %d', (margin) => {
    expect(sizeThatDetects(measured, { margin })).toBeUndefined();
  });
});
