import { describe, expect, it } from 'vitest';
import type { GateConfig } from '../../config/schema.ts';
import { seededNormal } from '../../policy/drift/seeded-normal.ts';
import { decide, defaults, normal, part } from './gate-cases.ts';

const extending: Partial<GateConfig> = {
  onInconclusive: 'extend',
  extend: { ...defaults.extend, times: 2 },
  tolerance: 0.002,
};

describe('a gate that may look three times', () => {
  it.each([
    ['passes with room for it', normal(0, 0.0009), 'pass'],
    ['is not sure of what a single look would pass', normal(0, 0.0012), 'inconclusive'],
    ['is not sure of what a single look would reject', normal(-0.004, 0.0012), 'inconclusive'],
    ['rejects with room for it', normal(-0.004, 0.0009), 'reject'],
  ] as const)('%s', (_, gain, kind) => {
    expect(decide({ gain, config: extending }).kind).toBe(kind);
  });

  it('says at which level, and asks for as many rows more', () => {
    const gain = normal(0, 0.0012);
    const once = decide({ gain: normal(0, 0.0013), config: { tolerance: 0.002 } });
    const often = decide({ gain, config: extending });
    expect(often.reasons[0]?.message).toContain('98.33 %, for up to 3 looks, bounds -0.0026 to 0.0026');
    expect(often.neededRows).toBeGreaterThan(once.neededRows ?? Infinity);
  });

  it('never has narrower bounds than one that looks once, wherever the estimate lies', () => {
    const skewed = { estimate: -0.01, lower: -0.0021, upper: 0.004, standardError: 0.001 };
    expect(decide({ gain: skewed, config: { tolerance: 0.002 } }).kind).toBe('inconclusive');
    expect(decide({ gain: skewed, config: extending }).kind).toBe('inconclusive');
    const above = { ...skewed, estimate: 0.01, lower: -0.004, upper: -0.0019 };
    expect(decide({ gain: above, config: extending }).kind).toBe('inconclusive');
  });

  it('judges parts of slices alike', () => {
    const slices = [{ ...asked, slice: 'surface', tolerance: 0.002 }];
    const evaluation = { slices: [part('home', normal(-0.004, 0.0012))] };
    const kindOf = (config: Partial<GateConfig>) =>
      decide({ gain: normal(0, 0.0001), evaluation, config: { ...config, slices } }).kind;
    expect(kindOf({})).toBe('reject');
    expect(kindOf(extending)).toBe('inconclusive');
  });

  it('passes a challenger that loses the tolerance in 5 % of cases at most, all looks together', () => {
    const draw = seededNormal(1);
    const trials = 2_000;
    let passed = 0;
    let passedAtOnce = 0;
    for (let trial = 0; trial < trials; trial++) {
      const looks = accumulating(draw, { loss: 0.002, standardError: 0.002, times: 3 });
      if (looks.some((gain) => decide({ gain, config: extending }).kind === 'pass')) passed += 1;
      if (looks.some((gain) => decide({ gain, config: { tolerance: 0.002 } }).kind === 'pass')) passedAtOnce += 1;
    }
    expect(passed / trials).toBeLessThan(0.05);
    expect(passedAtOnce / trials).toBeGreaterThan(0.07);
  });
});

const asked = {
  metric: 'auc',
  minRows: 1_000,
  correction: 'holm',
  required: [],
  onInconclusive: 'inconclusive',
} as const satisfies Partial<GateConfig['slices'][number]>;

/** Gains found on one, two, three times the rows, each on those of before and as many more. */
function accumulating(draw: () => number, of: { loss: number; standardError: number; times: number }) {
  let sum = 0;
  return Array.from({ length: of.times }, (_, index) => {
    sum += draw() * of.standardError - of.loss;
    return normal(sum / (index + 1), of.standardError / Math.sqrt(index + 1));
  });
}
