import { describe, expect, it } from 'vitest';
import type { GateConfig } from '../../config/schema.ts';
import type { Estimate, Evaluation, Figures } from '../../policy/evaluation.ts';
import type { GateVerdict } from '../../policy/gate.ts';
import {
  absentPart,
  codes,
  decide,
  first,
  interval,
  normal,
  part,
  rulesOf,
  throughJson,
  type Change,
} from './gate-cases.ts';

type Kind = GateVerdict['kind'];

describe('against a champion', () => {
  it.each<[string, Estimate, Kind]>([
    ['a lower bound on the tolerance', interval(-0.002, 0.01), 'pass'],
    ['a clear gain', interval(0.01, 0.02), 'pass'],
    ['a small loss that is known to be small', interval(-0.0019, -0.0001), 'pass'],
    ['bounds on both sides of the tolerance', interval(-0.0021, 0.01), 'inconclusive'],
    ['an upper bound on the tolerance', interval(-0.01, -0.002), 'inconclusive'],
    ['a loss beyond the tolerance', interval(-0.01, -0.0021), 'reject'],
    ['the same model twice', interval(0, 0), 'pass'],
  ])('%s', (_, gain, kind) => {
    expect(decide({ gain }).kind).toBe(kind);
  });

  it.each<[string, Estimate, Kind]>([
    ['the same model twice', interval(0, 0), 'pass'],
    ['a lower bound on 0', interval(0, 0.01), 'pass'],
    ['a lower bound below 0', interval(-1e-9, 0.01), 'inconclusive'],
    ['an upper bound below 0', interval(-0.01, -1e-9), 'reject'],
  ])('without a tolerance: %s', (_, gain, kind) => {
    expect(decide({ gain, config: { tolerance: 0 } }).kind).toBe(kind);
  });

  it('says what was found, against what, on how much', () => {
    const [, comparison] = decide().reasons;
    expect(comparison).toMatchObject({
      code: 'gate.comparison.pass',
      numbers: { metric: 'auc', lower: -0.001, tolerance: 0.002, limit: -0.002, rows: 20_000 },
    });
    expect(comparison?.message).toBe(
      'Not inferior: in auc the challenger gains 0.001 over version 3 (95 % bounds -0.001 to 0.003, 20,000 rows of 4,000 users); the lower bound is at least -0.002.',
    );
  });

  it('names the rows that would decide, on whichever side of the tolerance the gain lies', () => {
    // z.95 + z.85 = 2.68129; the margin is 0.007 on both sides: (2.68129 * 0.01 / 0.007)^2 = 14.7 times the rows.
    const better = decide({ gain: normal(0.005, 0.01) });
    expect(better.reasons[0]?.numbers?.['decideRows']).toBe(293_441);
    expect(better.reasons[0]?.message).toContain('about 293,441 rows would decide for it');
    const worse = decide({ gain: normal(-0.009, 0.01) });
    expect(worse.reasons[0]?.message).toContain('about 293,441 rows would decide against it');
  });

  it('needs no fewer rows than show a loss of twice the tolerance: the gain may not stay where few rows put it', () => {
    // (2.68129 * 0.01 / 0.002)^2 = 179.7.
    const verdict = decide({ gain: normal(0.005, 0.01) });
    expect(verdict.reasons[0]?.message).toContain('3,594,651 would show a loss of twice the tolerance');
    expect(verdict).toMatchObject({ kind: 'inconclusive', neededRows: 3_594_651, neededUsers: 718_931 });
    expect(rulesOf(verdict, 'nonInferior.auc')[0]).toMatchObject({ neededRows: 3_594_651, neededUsers: 718_931 });
    // The gain lies closer to the limit than the tolerance: that takes more.
    expect(decide({ gain: normal(-0.001, 0.01) }).neededRows).toBe(14_378_601);
  });

  it.each<[string, Change]>([
    ['the gain is the tolerance itself', { gain: interval(-0.003, -0.001, -0.002) }],
    ['the standard error is not known', { gain: { ...normal(0, 0.01), standardError: NaN } }],
    ['the standard error is lost', { gain: { estimate: 0, lower: -0.01, upper: 0.01 } as Estimate }],
  ])('names no rows when %s', (_, change) => {
    const verdict = decide(change);
    expect(verdict.kind).toBe('inconclusive');
    expect(verdict).not.toHaveProperty('neededRows');
    expect(verdict.reasons[0]?.message).toContain('more rows alone would not decide');
  });

  it('does not pass a gain over a champion that was scored without its features', () => {
    const evaluation = { championMissing: ['author_id'] };
    const verdict = decide({ evaluation, gain: interval(0.01, 0.02) });
    expect(verdict.kind).toBe('inconclusive');
    expect(verdict.reasons[0]?.message).toContain('author_id');
    expect(verdict).not.toHaveProperty('neededRows');
    expect(decide({ evaluation, gain: interval(-0.02, -0.01) }).kind).toBe('reject');
  });

  it('must not be worse in any further metric either', () => {
    const config = { notWorse: [{ metric: 'logLoss', tolerance: 0.001 } as const] };
    expect(decide({ config }).kind).toBe('pass');
    const worse = decide({ config, gain: { logLoss: interval(-0.004, -0.002) } });
    expect(worse.kind).toBe('reject');
    expect(worse.reasons.map(({ message }) => message)).toEqual([expect.stringContaining('in logLoss')]);
    expect(decide({ config, gain: { logLoss: interval(-0.004, 0.002) } }).kind).toBe('inconclusive');
  });
});

describe('a minimum gain', () => {
  const absolute = { config: { minGain: [{ metric: 'auc', by: 0.005, relative: false }] } } satisfies Change;
  const relative = { config: { minGain: [{ metric: 'ndcg', by: 0.01, relative: true }] } } satisfies Change;

  it.each<[string, Change, Estimate, Kind]>([
    ['reached', absolute, interval(0.005, 0.01), 'pass'],
    ['not surely reached', absolute, interval(0.0049, 0.01), 'inconclusive'],
    ['surely missed, though no loss', absolute, interval(0.001, 0.0049), 'reject'],
    // 1 % of the champion's 0.41.
    ['reached as a share', relative, interval(0.0041, 0.01), 'pass'],
    ['not surely reached as a share', relative, interval(0.004, 0.01), 'inconclusive'],
    ['missed as a share', relative, interval(0.001, 0.004), 'reject'],
  ])('%s', (_, rule, gain, kind) => {
    expect(decide({ ...rule, gain }).kind).toBe(kind);
  });

  it('says what the share is of, and how many rows would show that there is none', () => {
    const [reason] = decide({ ...relative, gain: { ndcg: normal(0.003, 0.002) } }).reasons;
    expect(reason?.message).toContain("0.0041 (1 % of the champion's 0.41) lies between the bounds");
    expect(reason?.message).toMatch(/would decide against it, and 34,215 would show that there is no gain at all/);
  });

  it('is not known as a share of nothing', () => {
    const none = { estimate: 0, lower: 0, upper: 0, standardError: 0 };
    const verdict = decide({ ...relative, gain: interval(0, 0), championMetrics: { ndcg: none } });
    expect([verdict.kind, codes(verdict)]).toEqual(['hold', ['gate.min-gain.no-base']]);
    expect(verdict.reasons[0]?.message).toContain("The champion's ndcg is 0: no gain is 1 % of it");
  });

  it('comes on top of non-inferiority', () => {
    const verdict = decide({ ...relative, gain: { ndcg: interval(0.01, 0.02), auc: interval(-0.02, -0.01) } });
    expect(codes(verdict)).toEqual(['gate.comparison.inferior']);
  });
});

describe('absolute thresholds', () => {
  it.each<[string, GateConfig['thresholds'][number], Estimate, Kind]>([
    ['wholly below the minimum', { metric: 'auc', min: 0.55 }, interval(0.5, 0.549), 'reject'],
    ['partly below the minimum', { metric: 'auc', min: 0.55 }, interval(0.5, 0.55), 'pass'],
    ['wholly above the maximum', { metric: 'calibration', max: 1.2 }, interval(1.21, 1.3), 'reject'],
    ['partly above the maximum', { metric: 'calibration', max: 1.2 }, interval(1.2, 1.3), 'pass'],
    ['below a range', { metric: 'calibration', min: 0.8, max: 1.2 }, interval(0.5, 0.7), 'reject'],
    ['within a range', { metric: 'calibration', min: 0.8, max: 1.2 }, interval(0.9, 1.1), 'pass'],
    ['normalized entropy above 1', { metric: 'normalizedEntropy', max: 1 }, interval(1.01, 1.1), 'reject'],
    ['a ranking metric', { metric: 'ndcg', min: 0.3 }, interval(0.2, 0.29), 'reject'],
  ])('%s', (_, threshold, found, kind) => {
    const config = { thresholds: [threshold], calibration: null };
    expect(decide({ challenger: { [threshold.metric]: found }, config }).kind).toBe(kind);
  });

  it('block whatever the comparison says, and a rejection names only what rejected', () => {
    const challenger = { auc: interval(0.5, 0.52) };
    expect(codes(decide({ challenger, gain: interval(0.01, 0.02) }))).toEqual(['gate.threshold.auc']);
    expect(codes(decide({ challenger, gain: interval(-0.02, -0.01) }))).toEqual([
      'gate.threshold.auc',
      'gate.comparison.inferior',
    ]);
  });
});

describe('calibration', () => {
  it.each<[string, Estimate, Estimate, Kind]>([
    ['partly within, though worse than the champion', interval(1.09, 1.3), interval(0.99, 1.01), 'pass'],
    ['wholly above and worse', interval(1.11, 1.3), interval(0.99, 1.01), 'reject'],
    ['wholly below and worse', interval(0.5, 0.89), interval(0.99, 1.01), 'reject'],
    ['wholly above on an odd block, as good as the champion', interval(1.2, 1.3), interval(1.2, 1.3), 'pass'],
    ['wholly above, the champion further below', interval(1.15, 1.25), interval(0.7, 0.72), 'pass'],
    // 1.3 is closer to 1 than 0.75 by factor, though not by difference.
    ['compared by factor', interval(1.29, 1.31), interval(0.74, 0.76), 'pass'],
    ['a model that promises nothing', interval(0, 0), interval(0.99, 1.01), 'reject'],
    ['what can not be', interval(-0.6, -0.4), interval(0.99, 1.01), 'reject'],
  ])('%s', (_, challenger, champion, kind) => {
    const change = { challenger: { calibration: challenger }, championMetrics: { calibration: champion } };
    expect(decide(change).kind).toBe(kind);
    expect(decide({ ...change, config: { calibration: null } }).kind).toBe('pass');
  });
});

describe('cost', () => {
  const limit = { candidates: 50 };
  it.each<[string, Partial<GateConfig>, Kind, string]>([
    ['a fast median', { latency: [{ ...limit, maxP50: 1 }] }, 'pass', 'latency.50.p50'],
    ['a slow median', { latency: [{ ...limit, maxP50: 0.9 }] }, 'reject', 'latency.50.p50'],
    ['a slow tail', { latency: [{ ...limit, maxP50: 1, maxP99: 3.9 }] }, 'reject', 'latency.50.p99'],
    ['somewhat slower than the champion', { latency: [{ ...limit, maxRatio: 1.25 }] }, 'pass', 'latency.50.ratio'],
    ['slower than the champion', { latency: [{ ...limit, maxRatio: 1.2 }] }, 'reject', 'latency.50.ratio'],
    ['requests that were not timed', { latency: [{ candidates: 7, maxP50: 9 }] }, 'hold', 'latency.7.p50'],
    ['a small model', { size: { maxBytes: 100_000 } }, 'pass', 'size.bytes'],
    ['a large model', { size: { maxBytes: 99_999 } }, 'reject', 'size.bytes'],
    ['larger than the champion', { size: { maxRatio: 1.1 } }, 'reject', 'size.ratio'],
  ])('%s', (_, config, kind, rule) => {
    const verdict = decide({ config });
    expect(verdict.kind).toBe(kind);
    expect(rulesOf(verdict, rule)[0]?.kind).toBe(kind);
  });

  it.each<[string, Partial<Evaluation>]>([
    ['no size', { modelBytes: NaN }],
    ["no champion's size", { championBytes: null }],
    ["a champion's size of 0", { championBytes: 0 }],
    ['a size of 0', { modelBytes: 0 }],
  ])('%s holds', (_, evaluation) => {
    expect(decide({ evaluation, config: { size: { maxBytes: 1e9, maxRatio: 1e9 } } }).kind).toBe('hold');
  });

  it("is told in the config's own units", () => {
    const config = { latency: [{ ...limit, maxP99: 3 }], size: { maxBytes: 50_000 } };
    expect(decide({ config }).reasons.map(({ message }) => message)).toEqual([
      'The 99th percentile of scoring 50 candidates is 4 ms: more than is allowed, at most 3 ms.',
      'The size of model.onnx is 100,000 bytes: more than is allowed, at most 50,000 bytes.',
    ]);
  });
});

describe('without a champion', () => {
  it('the thresholds decide alone, and what compares is recorded as not applicable', () => {
    const verdict = decide(first);
    expect(verdict.kind).toBe('pass');
    expect(codes(verdict)).toEqual([
      'gate.threshold.auc',
      'gate.comparison.not-applicable',
      'gate.calibration.not-applicable',
    ]);
  });

  it('every rule that compares does not apply, the others do', () => {
    const config: Partial<GateConfig> = {
      notWorse: [{ metric: 'ndcg', tolerance: 0 }],
      minGain: [{ metric: 'auc', by: 1, relative: true }],
      slices: [absentPart],
      latency: [{ candidates: 50, maxP50: 1, maxP99: 4, maxRatio: 1 }],
      size: { maxBytes: 100_000, maxRatio: 1 },
    };
    const { kind, rules } = decide({ ...first, config });
    expect(kind).toBe('pass');
    const kinds = Object.fromEntries(rules.map((rule) => [rule.rule, rule.kind]));
    expect(kinds).toEqual({
      holdout: 'pass',
      'thresholds.auc': 'pass',
      'nonInferior.auc': 'notApplicable',
      'nonInferior.ndcg': 'notApplicable',
      'minGain.auc': 'notApplicable',
      calibration: 'notApplicable',
      'slices.surface.auc': 'notApplicable',
      'latency.50.p50': 'pass',
      'latency.50.p99': 'pass',
      'latency.50.ratio': 'notApplicable',
      'size.bytes': 'pass',
      'size.ratio': 'notApplicable',
    });
  });

  it.each<[string, Change, Kind]>([
    ['a model below the thresholds', { challenger: { auc: interval(0.48, 0.53) } }, 'reject'],
    ['a model that is too large', { config: { size: { maxBytes: 1 } } }, 'reject'],
    [
      'a threshold on what is not known',
      { challenger: { mrr: normal(NaN, 1) }, config: { thresholds: [{ metric: 'mrr', min: 0 }] } },
      'hold',
    ],
  ])('%s', (_, change, kind) => {
    expect(decide({ ...first, ...change }).kind).toBe(kind);
  });

  it.each([[[]], [[{ metric: 'auc' as const }]]])(
    'nothing passes with the thresholds %o, which could reject nothing',
    (thresholds) => {
      const size = { maxBytes: 1e9 };
      const verdict = decide({ ...first, config: { thresholds, size } });
      expect(verdict.kind).toBe('hold');
      expect(codes(verdict)).toEqual(['gate.no-criterion']);
    },
  );

  it('a champion that was evaluated is compared with, whoever says that there is none', () => {
    expect(decide({ hasChampion: false, gain: interval(-0.02, -0.01) }).kind).toBe('reject');
  });
});

describe('the verdict', () => {
  const mixed: Change = {
    evaluation: { slices: [part('home', interval(0, 0.001)), part('search', interval(-0.05, 0.05))] },
    gain: { auc: interval(-0.01, 0.01), logLoss: interval(0, 0.01) },
    config: {
      notWorse: [{ metric: 'logLoss', tolerance: 0 }],
      slices: [
        {
          slice: 'surface',
          metric: 'auc',
          tolerance: 0.01,
          minRows: 1_000,
          correction: 'holm',
          required: [],
          onInconclusive: 'inconclusive',
        },
      ],
    },
  };

  it('tells every rule, and leads with what did not decide', () => {
    const verdict = decide(mixed);
    expect(verdict.kind).toBe('inconclusive');
    expect(verdict.rules.map(({ rule, kind }) => `${rule} ${kind}`)).toEqual([
      'holdout pass',
      'thresholds.auc pass',
      'nonInferior.auc inconclusive',
      'nonInferior.logLoss pass',
      'calibration pass',
      'slices.surface.auc pass',
      'slices.surface.auc inconclusive',
    ]);
    expect(codes(verdict)).toEqual([
      'gate.comparison.inconclusive',
      'gate.slice.inconclusive',
      'gate.threshold.auc',
      'gate.comparison.pass',
      'gate.calibration.pass',
    ]);
  });

  it('needs the rows of the rule that needs most, and none where some rule has none', () => {
    const verdict = decide(mixed);
    const open = verdict.rules.filter(({ kind }) => kind === 'inconclusive');
    expect(open).toHaveLength(2);
    expect(verdict.neededRows).toBe(Math.max(...open.map(({ neededRows = NaN }) => neededRows)));
    const undecidable = decide({ ...mixed, gain: { auc: interval(-0.003, -0.001), logLoss: interval(0, 0.01) } });
    expect(undecidable.kind).toBe('inconclusive');
    expect(undecidable).not.toHaveProperty('neededRows');
  });

  it('survives JSON as it is', () => {
    for (const change of [{}, mixed, first, { overall: { rows: NaN } } as { overall: Partial<Figures> }]) {
      const verdict = decide(change);
      expect(throughJson(verdict)).toEqual(verdict);
    }
  });
});
