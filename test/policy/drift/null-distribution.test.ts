import { describe, expect, it } from 'vitest';
import { normalScenario, rejectionRates } from '../../../bench/drift-tests.ts';
import { binCounts, quantileEdges } from '../../../policy/drift/binning.ts';
import {
  chiSquareQuantile,
  chiSquareTwoSample,
  jensenShannonDistance,
  lInfinity,
  psi,
} from '../../../policy/drift/counts.ts';
import { empirical } from '../../../policy/drift/distribution.ts';
import { kolmogorovSmirnov } from '../../../policy/drift/kolmogorov-smirnov.ts';
import {
  jensenShannonNull,
  kolmogorovSmirnovNull,
  lInfinityNull,
  psiNull,
  wassersteinNull,
} from '../../../policy/drift/null-distribution.ts';
import { seededNormal } from '../../../policy/drift/seeded-normal.ts';
import { fencedWasserstein, robustFence } from '../../../policy/drift/wasserstein.ts';

const ROWS = 2_000;
const EVEN = Array<number>(10).fill(ROWS / 10);

describe('false alarms and power', () => {
  it('are 5 % +- 1 at a nominal 5 % for every measure, on 3,000 pairs of one distribution', () => {
    const normal = seededNormal(11);
    const draw = (): Float64Array => Float64Array.from({ length: ROWS }, () => normal()).sort();
    const [first, second] = [empirical(draw()), empirical(draw())];
    const critical = {
      psi: psiNull(EVEN, EVEN).quantile(0.95),
      jensenShannon: jensenShannonNull(EVEN, EVEN).quantile(0.95),
      lInfinity: lInfinityNull(EVEN, EVEN).quantile(0.95),
      chiSquare: chiSquareQuantile(0.95, 9),
      wasserstein: wassersteinNull(first, second, robustFence(first, second)).quantile(0.95),
      kolmogorovSmirnov: kolmogorovSmirnovNull(ROWS, ROWS).quantile(0.95),
    };
    const alarms = new Map<string, number>();
    const pairs = 3_000;
    for (let pair = 0; pair < pairs; pair++) {
      const [a, b] = [empirical(draw()), empirical(draw())];
      const edges = quantileEdges(a, 10);
      const [reference, current] = [binCounts(a, edges), binCounts(b, edges)];
      const values = {
        psi: psi(reference, current),
        jensenShannon: jensenShannonDistance(reference, current),
        lInfinity: lInfinity(reference, current),
        chiSquare: chiSquareTwoSample(reference, current).statistic,
        wasserstein: fencedWasserstein(a, b, robustFence(a, b)),
        kolmogorovSmirnov: kolmogorovSmirnov(weightless(a), weightless(b)).d,
      };
      for (const measure of Object.keys(critical) as (keyof typeof critical)[]) {
        if (values[measure] > critical[measure]) alarms.set(measure, (alarms.get(measure) ?? 0) + 1 / pairs);
      }
    }
    for (const measure of Object.keys(critical)) {
      expect(alarms.get(measure), measure).toBeGreaterThan(0.04);
      expect(alarms.get(measure), measure).toBeLessThan(0.06);
    }
  });

  it('find a shift of 0.2 standard deviations in at least 95 % of 150 pairs, by each measure', () => {
    const power = rejectionRates(normalScenario(ROWS, 0.2), 150, 12);
    expect(Object.keys(power)).toHaveLength(7);
    for (const [measure, rate] of Object.entries(power)) expect(rate, measure).toBeGreaterThanOrEqual(0.95);
  });

  /** D alone: without whole weights the costly exact p-value is left out. */
  function weightless<T extends { counted: boolean }>(sample: T): T {
    return { ...sample, counted: false };
  }
});

describe('null distributions', () => {
  it.each([
    ['PSI', psiNull(EVEN, EVEN)],
    ['Jensen-Shannon', jensenShannonNull(EVEN, EVEN)],
    ['Kolmogorov-Smirnov', kolmogorovSmirnovNull(ROWS, ROWS)],
    ['L-infinity', lInfinityNull(EVEN, EVEN)],
    [
      'Wasserstein',
      wassersteinNull(empirical([...EVEN.keys()]), empirical([...EVEN.keys()]), { low: 0, high: 9, scale: 3 }),
    ],
  ])('of %s agree with themselves, and fall on beyond all draws', (_, under) => {
    for (const q of [0.5, 0.9, 0.95, 0.99]) expect(under.pValue(under.quantile(q))).toBeCloseTo(1 - q, 2);
    const far = [1, 1.5, 2, 3].map((factor) => under.pValue(factor * under.quantile(0.99)));
    for (const [index, p] of far.entries()) expect(p).toBeLessThan(far[index - 1] ?? 0.011);
    expect(far[3]).toBeLessThan(1e-5);
    expect(under.pValue(0)).toBe(1);
    expect(() => under.quantile(1)).toThrow(RangeError);
  });

  it('shrink with the samples’ sizes', () => {
    const small = EVEN.map((count) => count / 100);
    expect(psiNull(small, EVEN).quantile(0.95)).toBeCloseTo(chiSquareQuantile(0.95, 9) / (20 * (2000 / 2020)), 9);
    expect(lInfinityNull(small, small).quantile(0.95)).toBeCloseTo(10 * lInfinityNull(EVEN, EVEN).quantile(0.95), 9);
  });

  it('of two bins is that of one difference of shares', () => {
    const sigma = Math.sqrt((0.3 * 0.7) / 1000);
    expect(lInfinityNull([600, 1400], [600, 1400]).quantile(0.95) / sigma).toBeCloseTo(1.96, 1);
  });

  it('of L-infinity refuse more bins than are simulated', () => {
    const many = Array<number>(1001).fill(5);
    expect(() => lInfinityNull(many, many)).toThrow('pool the rare ones');
  });
});
