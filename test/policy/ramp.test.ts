import { describe, expect, it } from 'vitest';
import { rampSteps } from '../../policy/ramp.ts';
import { lineConfig } from './line-config.ts';

describe('rampSteps', () => {
  it('divides the default window evenly and leaves the holdback out of the last step', () => {
    const { steps, holdback, window } = lineConfig().canary;
    expect(rampSteps({ steps, holdback, windowMs: window })).toEqual(
      [0.01, 0.05, 0.25, 0.5, 0.95].map((share) => ({ share, durationMs: 360_000 })),
    );
  });

  it('caps any step at what the holdback leaves', () => {
    const steps = rampSteps({ steps: [60, 95, 100], holdback: 0.1, windowMs: 3_000 });
    expect(steps.map(({ share }) => share)).toEqual([0.6, 0.9, 0.9]);
  });

  it('gives whole milliseconds that add up to the window', () => {
    const steps = rampSteps({ steps: [1, 2, 3, 4, 5, 6, 7], holdback: 0, windowMs: 1_000 });
    expect(steps.every(({ durationMs }) => Number.isInteger(durationMs))).toBe(true);
    expect(steps.reduce((sum, { durationMs }) => sum + durationMs, 0)).toBe(1_000);
  });

  it('never lets canary and holdback add up to more than all traffic, which the store refuses', () => {
    for (let holdback = 0; holdback <= 0.5; holdback += 0.0007) {
      const [step] = rampSteps({ steps: [100], holdback, windowMs: 1 });
      expect((step?.share ?? NaN) + holdback).toBeLessThanOrEqual(1);
    }
  });
});
