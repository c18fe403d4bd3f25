import { describe, expect, it } from 'vitest';
import type { RateLook } from '../../../policy/sequential/models.ts';
import { UsualRate } from '../../../policy/sequential/usual-rate.ts';

const look = (canary: number, stable: number, trials = 100): RateLook => ({
  canary: { events: canary, trials },
  stable: { events: stable, trials: 9 * trials },
});

describe('UsualRate', () => {
  it('lets what is usual count as it is', () => {
    const usual = new UsualRate();
    for (const events of [18, 25, 12, 20, 28]) expect(usual.weigh(look(2, events))).toBe(1);
  });

  it('lets an outage count for one and a half times the usual, whichever arm it is in', () => {
    for (const outage of [look(20, 180), look(200, 0)]) {
      const usual = new UsualRate();
      for (let index = 0; index < 30; index++) usual.weigh(look(2, 18));
      expect(usual.weigh(outage)).toBeCloseTo((1.5 * 20 + 2) / 200, 9);
    }
  });

  it('goes by the rate, not by the number', () => {
    const usual = new UsualRate();
    for (let index = 0; index < 30; index++) usual.weigh(look(2, 18));
    expect(usual.weigh(look(20, 180, 1_000))).toBe(1);
  });

  it('learns a rate that stays', () => {
    const usual = new UsualRate();
    for (let index = 0; index < 30; index++) usual.weigh(look(2, 18));
    for (let index = 0; index < 400; index++) usual.weigh(look(6, 54));
    expect(usual.weigh(look(6, 54))).toBe(1);
  });

  it('knows nothing of looks without traffic, and nothing after a reset', () => {
    const usual = new UsualRate();
    expect(usual.weigh(look(0, 0, 0))).toBe(1);
    usual.weigh(look(2, 18));
    usual.reset();
    expect(usual.weigh(look(20, 180))).toBe(1);
  });
});
