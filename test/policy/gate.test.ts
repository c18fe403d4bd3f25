import { describe, expect, it } from 'vitest';
import type { GateConfig } from '../../config/schema.ts';
import { decideGate, type Evaluation, type GateVerdict, type Interval } from '../../policy/gate.ts';
import { lineConfig } from './line-config.ts';

const defaults = lineConfig().gate;

function interval(lower: number, upper: number, estimate = (lower + upper) / 2): Interval {
  return { estimate, lower, upper };
}

/** A challenger as good as the champion, and known to be. */
const well: Evaluation = {
  rows: 20_000,
  positives: 900,
  users: 4_000,
  champion: 3,
  challengerMetrics: { auc: interval(0.69, 0.71), logLoss: interval(0.17, 0.19), calibration: interval(0.97, 1.03) },
  championMetrics: { auc: interval(0.69, 0.71), logLoss: interval(0.17, 0.19), calibration: interval(0.97, 1.03) },
  gain: interval(-0.001, 0.003),
  gainStandardError: 0.00122,
  maxScoreChange: 0.04,
  championMissing: [],
  latencyMsPerRow: 0.01,
  modelBytes: 100_000,
};

function decide(
  change: Partial<Evaluation>,
  options: { config?: Partial<GateConfig>; hasChampion?: boolean } = {},
): GateVerdict {
  return decideGate({
    evaluation: { ...well, ...change },
    config: { ...defaults, ...options.config },
    hasChampion: options.hasChampion ?? true,
  });
}

const codes = ({ reasons }: GateVerdict): string[] => reasons.map(({ code }) => code);

describe('against a champion', () => {
  it.each<[string, Interval, GateVerdict['kind']]>([
    ['a lower bound on the tolerance', interval(-0.002, 0.01), 'pass'],
    ['a clear gain', interval(0.01, 0.02), 'pass'],
    ['a small loss that is known to be small', interval(-0.0019, -0.0001), 'pass'],
    ['bounds on both sides of the tolerance', interval(-0.0021, 0.01), 'inconclusive'],
    ['an upper bound on the tolerance', interval(-0.01, -0.002), 'inconclusive'],
    ['a loss beyond the tolerance', interval(-0.01, -0.0021), 'reject'],
  ])('%s', (_, gain, kind) => {
    expect(decide({ gain }).kind).toBe(kind);
  });

  it('says what was found, against what, on how much', () => {
    const [, comparison] = decide({}).reasons;
    expect(comparison).toMatchObject({
      code: 'gate.comparison.pass',
      numbers: { lower: -0.001, tolerance: 0.002, rows: 20_000 },
    });
    expect(comparison?.message).toBe(
      'Not inferior: in auc the challenger gains 0.001 over version 3 (95 % bounds -0.001 to 0.003, 20,000 rows of 4,000 users); the lower bound is at least -0.002.',
    );
  });

  it('names the rows that would decide, on whichever side of the tolerance the gain lies', () => {
    // The half width must shrink from 1.6449 * 0.01 to the margin 0.007: (0.016449 / 0.007)^2 = 5.52 times the rows.
    const better = decide({ gain: interval(-0.01, 0.02, 0.005), gainStandardError: 0.01 });
    expect(better.neededRows).toBe(Math.ceil(20_000 * (0.016449 / 0.007) ** 2));
    expect(better.reasons.at(-1)?.message).toMatch(/about 110,43\d rows would decide for it/);
    const worse = decide({ gain: interval(-0.02, 0.01, -0.009), gainStandardError: 0.01 });
    expect(worse.neededRows).toBe(better.neededRows);
    expect(worse.reasons.at(-1)?.message).toContain('would decide against it');
  });

  it('asks for more rows than there were, even where the bounds are not symmetric', () => {
    expect(decide({ gain: interval(-0.0021, 0.02, 0.015), gainStandardError: 0.002 }).neededRows).toBe(20_001);
  });

  it.each([
    ['the gain is the tolerance itself', { gain: interval(-0.003, -0.001, -0.002) }],
    ['the standard error is not known', { gain: interval(-0.01, 0.02), gainStandardError: null }],
  ])('names no rows when %s', (_, change) => {
    const verdict = decide(change);
    expect(verdict.kind).toBe('inconclusive');
    expect(verdict).not.toHaveProperty('neededRows');
  });

  it('does not pass a gain over a champion that was scored without its features', () => {
    const verdict = decide({ championMissing: ['author_id'], gain: interval(0.01, 0.02) });
    expect(verdict.kind).toBe('inconclusive');
    expect(verdict.reasons.at(-1)?.message).toContain('author_id');
    expect(decide({ championMissing: ['author_id'], gain: interval(-0.02, -0.01) }).kind).toBe('reject');
  });
});

describe('absolute thresholds', () => {
  it.each<[string, GateConfig['thresholds'][number], Interval, GateVerdict['kind']]>([
    ['wholly below the minimum', { metric: 'auc', min: 0.55 }, interval(0.5, 0.549), 'reject'],
    ['partly below the minimum', { metric: 'auc', min: 0.55 }, interval(0.5, 0.55), 'pass'],
    ['wholly above the maximum', { metric: 'calibration', max: 1.2 }, interval(1.21, 1.3), 'reject'],
    ['partly above the maximum', { metric: 'calibration', max: 1.2 }, interval(1.2, 1.3), 'pass'],
    ['below a range', { metric: 'calibration', min: 0.8, max: 1.2 }, interval(0.5, 0.7), 'reject'],
    ['within a range', { metric: 'calibration', min: 0.8, max: 1.2 }, interval(0.9, 1.1), 'pass'],
  ])('%s', (_, threshold, found, kind) => {
    const challengerMetrics = { ...well.challengerMetrics, [threshold.metric]: found };
    const verdict = decide({ challengerMetrics }, { config: { thresholds: [threshold] } });
    expect(verdict.kind).toBe(kind);
  });

  it('block whatever the comparison says, and a rejection names only what rejected', () => {
    const challengerMetrics = { ...well.challengerMetrics, auc: interval(0.5, 0.52) };
    expect(codes(decide({ challengerMetrics, gain: interval(0.01, 0.02) }))).toEqual(['gate.threshold.auc']);
    expect(codes(decide({ challengerMetrics, gain: interval(-0.02, -0.01) }))).toEqual([
      'gate.threshold.auc',
      'gate.comparison.inferior',
    ]);
  });
});

describe('without a champion', () => {
  const first: Partial<Evaluation> = {
    champion: null,
    championMetrics: null,
    gain: null,
    gainStandardError: null,
    maxScoreChange: null,
  };

  it('the thresholds decide alone, and the comparison is recorded as not applicable', () => {
    const verdict = decide(first, { hasChampion: false });
    expect(verdict.kind).toBe('pass');
    expect(codes(verdict)).toEqual(['gate.threshold.auc', 'gate.comparison.not-applicable']);
  });

  it('a model below the thresholds is rejected', () => {
    const challengerMetrics = { ...well.challengerMetrics, auc: interval(0.48, 0.53) };
    expect(decide({ ...first, challengerMetrics }, { hasChampion: false }).kind).toBe('reject');
  });

  it.each([[[]], [[{ metric: 'auc' as const }]]])(
    'nothing passes with the thresholds %o, which could reject nothing',
    (thresholds) => {
      const verdict = decide(first, { hasChampion: false, config: { thresholds } });
      expect(verdict.kind).toBe('hold');
      expect(codes(verdict)).toEqual(['gate.no-criterion']);
    },
  );
});

describe('what is not known holds', () => {
  const nan = interval(NaN, NaN);
  it.each<[string, Partial<Evaluation>, string]>([
    ['no rows', { rows: 0, positives: 0, users: 0 }, 'gate.holdout-empty'],
    ['a row count that is NaN', { rows: NaN }, 'gate.holdout-empty'],
    ['no positives', { positives: 0 }, 'gate.one-class'],
    ['no negatives', { positives: 20_000 }, 'gate.one-class'],
    ['too few users for an interval', { users: 9 }, 'gate.too-few-users'],
    ['a metric that is NaN', { challengerMetrics: { ...well.challengerMetrics, logLoss: nan } }, 'gate.not-a-number'],
    ['a bound that is NaN', { gain: { estimate: 0.1, lower: NaN, upper: 0.2 } }, 'gate.not-a-number'],
    ['an infinite bound', { gain: interval(0.1, Infinity) }, 'gate.not-a-number'],
    [
      'a champion that was not evaluated',
      { champion: null, championMetrics: null, gain: null },
      'gate.baseline-missing',
    ],
    ['a gain that is missing', { gain: null }, 'gate.baseline-missing'],
  ])('%s', (_, change, code) => {
    const verdict = decide(change);
    expect(verdict.kind).toBe('hold');
    expect(codes(verdict)).toContain(code);
  });

  it('also after a trip through JSON, which turns NaN into null', () => {
    const evaluation = JSON.parse(JSON.stringify({ ...well, gain: nan })) as Evaluation;
    expect(decideGate({ evaluation, config: defaults, hasChampion: true }).kind).toBe('hold');
  });
});
