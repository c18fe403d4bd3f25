import { describe, expect, it } from 'vitest';
import type { GateConfig } from '../../config/schema.ts';
import type { Evaluation, EvaluationMetric } from '../../policy/evaluation.ts';
import { decideGate } from '../../policy/gate.ts';
import {
  absentPart,
  changed,
  codes,
  decide,
  defaults,
  interval,
  throughJson,
  well,
  type Change,
} from './gate-cases.ts';

describe('what is not known holds', () => {
  const nan = { estimate: NaN, lower: NaN, upper: NaN, standardError: NaN };
  it.each<[string, Change, string]>([
    ['no rows', { overall: { rows: 0, positives: 0, users: 0 } }, 'gate.holdout-empty'],
    ['a row count that is NaN', { overall: { rows: NaN } }, 'gate.holdout-empty'],
    ['no positives', { overall: { positives: 0 } }, 'gate.one-class'],
    ['no negatives', { overall: { positives: 20_000 } }, 'gate.one-class'],
    ['too few users for an interval', { overall: { users: 9 } }, 'gate.too-few-users'],
    ['a metric that is NaN, though no rule reads it', { challenger: { logLoss: nan } }, 'gate.not-a-number'],
    ['a ranking metric that is NaN, though the rows define it', { challenger: { mrr: nan } }, 'gate.not-a-number'],
    ['a gain that is NaN', { gain: nan }, 'gate.not-a-number'],
    ['a bound that is NaN', { gain: { ...interval(0.1, 0.2), lower: NaN } }, 'gate.not-a-number'],
    ['an infinite bound', { gain: interval(0.1, Infinity, 0.2) }, 'gate.not-a-number'],
    ['bounds the wrong way round', { gain: interval(0.2, 0.1) }, 'gate.not-a-number'],
    [
      'a champion that was not evaluated',
      { evaluation: { champion: null }, overall: { champion: null, gain: null } },
      'gate.baseline-missing',
    ],
    ['a gain that is missing', { overall: { gain: null } }, 'gate.baseline-missing'],
    [
      'whether the champion had its features',
      { evaluation: { championMissing: null as unknown as string[] } },
      'gate.metric-missing',
    ],
    ["a champion's calibration that is NaN", { championMetrics: { calibration: nan } }, 'gate.not-a-number'],
  ])('%s', (_, change, code) => {
    const verdict = decide(change);
    expect(verdict.kind).toBe('hold');
    expect(codes(verdict)).toContain(code);
    const { config, ...rest } = change;
    const travelled = throughJson(changed(rest));
    expect(decideGate({ evaluation: travelled, config: { ...defaults, ...config }, hasChampion: true }).kind).toBe(
      'hold',
    );
  });

  it('also where another rule rejects, which is told after it', () => {
    const config: Partial<GateConfig> = { notWorse: [{ metric: 'ndcg', tolerance: 0 }] };
    const verdict = decide({ config, gain: { auc: interval(-0.02, -0.01), ndcg: nan } });
    expect(verdict.kind).toBe('hold');
    expect(codes(verdict)).toEqual(['gate.not-a-number', 'gate.comparison.inferior']);
  });

  it('an empty holdout is told once, not by every rule that lacks its figures', () => {
    const overall = { rows: 0, positives: 0, users: 0, champion: null, gain: null };
    expect(codes(decide({ overall }))).toEqual(['gate.holdout-empty']);
  });

  it('a missing baseline is told once', () => {
    const config: Partial<GateConfig> = { notWorse: [{ metric: 'ndcg', tolerance: 0 }] };
    expect(codes(decide({ overall: { champion: null, gain: null }, config }))).toEqual(['gate.baseline-missing']);
  });

  it.each<EvaluationMetric>(['ndcg', 'mrr', 'hitRate'])(
    '%s where no request has a positive, whatever its number',
    (metric) => {
      const config: Partial<GateConfig> = { thresholds: [{ metric, min: 0.1 }] };
      const without = decide({ overall: { groups: 2_000, groupsWithoutPositive: 2_000 }, config });
      expect(without.kind).toBe('hold');
      expect(without.reasons[0]?.message).toContain('none of the 2,000 requests is known to have a positive');
      const ungrouped = decide({ overall: { groups: 0, groupsWithoutPositive: 0 }, config });
      expect(ungrouped.reasons).toMatchObject([{ code: 'gate.no-rankings' }]);
      expect(decide({ overall: { groups: 0, groupsWithoutPositive: 0 }, challenger: { [metric]: nan } }).kind).toBe(
        'pass',
      );
    },
  );

  const oldShape = {
    ...{ rows: 20_000, positives: 900, users: 4_000, champion: 3, gain: interval(0.01, 0.02), latencyMsPerRow: 0.1 },
    challengerMetrics: { auc: interval(0.69, 0.71) },
    championMetrics: { auc: interval(0.69, 0.71) },
  };
  const { slices: _slices, gaps: _gaps, notes: _notes, latency: _latency, championMissing: _missing, ...bare } = well;
  const everything: Partial<GateConfig> = {
    notWorse: [{ metric: 'mrr', tolerance: 0.1 }],
    minGain: [{ metric: 'auc', by: 0.1, relative: true }],
    slices: [absentPart],
    segmentGap: [{ slice: 'surface', metric: 'auc', max: 0.1 }],
    latency: [{ candidates: 50, maxP50: 1, maxP99: 1, maxRatio: 1 }],
    size: { maxBytes: 1, maxRatio: 1 },
  };
  it.each<[string, unknown]>([
    ['of an older build', oldShape],
    ['that is empty', {}],
    ['that is null', null],
    ['without most of its keys', bare],
    ['whose figures are empty', { ...well, overall: {} }],
    ['whose metrics are empty', { ...well, overall: { ...well.overall, challenger: {}, champion: {}, gain: {} } }],
    ['whose metrics are null', { ...well, overall: { ...well.overall, challenger: null, champion: null, gain: null } }],
    [
      'whose parts are empty',
      {
        ...well,
        slices: [{ slice: 'surface' }],
        gaps: [{ slice: 'surface', metric: 'auc' }],
        latency: [{ candidates: 50 }],
      },
    ],
    ['whose numbers are text', throughJson({ ...well, overall: { ...well.overall, rows: '20000' } })],
  ])('an evaluation %s does not throw', (_, evaluation) => {
    for (const hasChampion of [true, false]) {
      const config = { ...defaults, ...everything };
      expect(decideGate({ evaluation: evaluation as Evaluation, config, hasChampion }).kind).toBe('hold');
    }
  });

  it('says that an evaluation is of an older build', () => {
    const evaluation = oldShape as unknown as Evaluation;
    expect(codes(decideGate({ evaluation, config: defaults, hasChampion: true }))).toEqual(['gate.older-build']);
  });
});
