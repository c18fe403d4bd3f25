import { describe, expect, it } from 'vitest';
import { SCORE_BINS } from '../../policy/score-bins.ts';
import { judgeShadow, type ShadowReading } from '../../policy/shadow.ts';
import { lineConfig } from './line-config.ts';

const config = lineConfig().shadow;

/** Scores in the middle of the scale, moved up by some bins. */
function bins(scores: number, moved = 0): number[] {
  const counts = new Array<number>(SCORE_BINS).fill(0);
  for (let bin = 0; bin < 10; bin++) counts[28 + bin + moved] = scores / 10;
  return counts;
}

const well: ShadowReading = {
  requests: 200,
  errors: 1,
  notNumbers: 0,
  dropped: 3,
  olderRequests: 0,
  scoreMeanDifference: 0.03,
  scoreDifferenceDeviation: 0.05,
  latencyMsMean: 2,
  stableLatencyMsMean: 1.5,
  scoreBins: bins(1_990),
  stableScoreBins: bins(1_990),
  rankings: 199,
  overlapMean: 0.9,
  tauMean: 0.8,
  tauDeviation: 0.2,
  mirror: { answered: 203, share: 1, copies: 203, unsettled: 0, gateways: 2 },
};
const nothing: Partial<ShadowReading> = {
  ...{ requests: 0, errors: 0, dropped: 0, scoreMeanDifference: NaN, latencyMsMean: NaN, stableLatencyMsMean: NaN },
  ...{ rankings: 0, overlapMean: NaN, tauMean: NaN, tauDeviation: NaN, scoreBins: [], stableScoreBins: [] },
  ...{ scoreDifferenceDeviation: NaN, mirror: { answered: 0, share: NaN, copies: 0, unsettled: 0, gateways: 0 } },
};
const mirror = (change: Partial<ShadowReading['mirror']>): Partial<ShadowReading> => ({
  mirror: { ...well.mirror, ...change },
});
const judge = (
  change: Partial<ShadowReading>,
  options: { silenced?: boolean; warn?: boolean } = {},
): ReturnType<typeof judgeShadow> =>
  judgeShadow({
    reading: { ...well, ...change },
    config: { ...config, onDivergence: options.warn === true ? 'warn' : 'reject' },
    silenced: options.silenced ?? false,
  });

const ALL = [
  ...['score-shift', 'score-distribution', 'rank-agreement', 'error-rate', 'nan-rate', 'latency', 'sample-ratio'],
].map((name) => `shadow.${name}`);

describe('judgeShadow', () => {
  it.each<[string, Partial<ShadowReading>, string, string[]]>([
    ['all well', {}, 'pass', ALL],
    ['scores far above', { scoreMeanDifference: 0.16 }, 'diverged', ['shadow.score-shift']],
    ['scores far below', { scoreMeanDifference: -0.16 }, 'diverged', ['shadow.score-shift']],
    ['scores of another distribution', { scoreBins: bins(1_990, 8) }, 'diverged', ['shadow.score-distribution']],
    ['a distribution a little off, as of a first refresh', { scoreBins: bins(1_990, 2) }, 'pass', ALL],
    ['the reverse ranking', { tauMean: -1, tauDeviation: 0 }, 'diverged', ['shadow.rank-agreement']],
    ['an unrelated ranking', { tauMean: 0.01, tauDeviation: 0.5 }, 'diverged', ['shadow.rank-agreement']],
    ['as little agreement as allowed', { tauMean: 0.2, tauDeviation: 0.5 }, 'pass', ALL],
    ['a ranking too noisy to tell', { tauMean: 0.15, tauDeviation: 0.5 }, 'insufficient', ['shadow.rank-agreement']],
    ['too few rankings to compare', { rankings: 29, tauMean: -1, tauDeviation: 0 }, 'pass', ALL],
    ['requests of one candidate', { rankings: 0, overlapMean: NaN, tauMean: NaN, tauDeviation: NaN }, 'pass', ALL],
    ['errors', { errors: 3 }, 'diverged', ['shadow.error-rate']],
    [
      'nothing but errors',
      { ...nothing, requests: 200, errors: 200, mirror: { ...well.mirror, copies: 200, answered: 200 } },
      'diverged',
      ['shadow.error-rate'],
    ],
    ['one NaN', { notNumbers: 1 }, 'diverged', ['shadow.nan-rate']],
    ['slow scoring', { latencyMsMean: 6, stableLatencyMsMean: 1.9 }, 'diverged', ['shadow.latency']],
    ['a ratio of next to nothing', { latencyMsMean: 4.9, stableLatencyMsMean: 0.1 }, 'pass', ALL],
    [
      'all of it at once',
      { errors: 30, notNumbers: 9, latencyMsMean: 90 },
      'diverged',
      ['shadow.error-rate', 'shadow.nan-rate', 'shadow.latency'],
    ],
    ['few copies', { requests: 29, ...mirror({ copies: 32, answered: 32 }) }, 'insufficient', ['shadow.requests']],
    ['no copies, and no traffic', nothing, 'insufficient', ['shadow.requests']],
    ['a difference that is NaN', { scoreMeanDifference: NaN }, 'unknown', ['shadow.not-a-number']],
    ['an agreement that is NaN', { tauMean: NaN }, 'unknown', ['shadow.not-a-number']],
    ['counts that are NaN', { requests: NaN }, 'unknown', ['shadow.not-a-number']],
  ])('with %s', (_, change, status, codes) => {
    const verdict = judge(change);
    expect(verdict.status).toBe(status);
    expect(verdict.reasons.map(({ code }) => code)).toEqual(codes);
  });

  it.each<[string, Partial<ShadowReading>, string]>([
    ['fewer copies than answers', mirror({ answered: 204 }), 'shadow.sample-ratio'],
    ['more copies than answers', mirror({ answered: 202 }), 'shadow.sample-ratio'],
    ['copies of requests that nobody answered', mirror({ answered: 0, share: NaN }), 'shadow.sample-ratio'],
    ['twice the share', mirror({ answered: 812, share: 0.125 }), 'shadow.sample-ratio'],
    ['no copy at all', { ...nothing, ...mirror({ copies: 0, answered: 500 }) }, 'shadow.sample-ratio'],
    ['copies that vanish', mirror({ unsettled: 129 }), 'shadow.unsettled'],
    ['more outcomes than copies', mirror({ unsettled: -1 }), 'shadow.unsettled'],
    ['many dropped copies', { dropped: 51, ...mirror({ copies: 251, answered: 251 }) }, 'shadow.dropped'],
    ['counts of the mirror that are NaN', mirror({ copies: NaN }), 'shadow.sample-ratio'],
  ])('does not trust %s, whatever they show or is silenced', (_, change, code) => {
    for (const wellOrNot of [{}, { scoreMeanDifference: 0.5 }]) {
      for (const options of [{}, { silenced: true }, { warn: true }]) {
        const verdict = judge({ ...change, ...wellOrNot }, options);
        expect(verdict.status).toBe('unknown');
        expect(verdict.reasons.map((one) => one.code)).toContain(code);
      }
    }
  });

  it.each<[string, Partial<ShadowReading>]>([
    ['half of the requests', mirror({ answered: 400, share: 0.5 })],
    ['a few more than half', mirror({ answered: 370, share: 0.5 })],
    ['some that are still open', mirror({ unsettled: 128 })],
    ['some dropped', { dropped: 49, ...mirror({ copies: 249, answered: 249 }) }],
  ])('trusts a mirror that copied %s', (_, change) => {
    expect(judge(change).status).toBe('pass');
  });

  it('calls a shadow that fails diverged, however badly it was copied', () => {
    expect(judge({ errors: 100, ...mirror({ answered: 900 }) }).status).toBe('diverged');
  });

  describe('with gateways of an older build', () => {
    it('judges the others, and says so', () => {
      const { status, reasons } = judge({ olderRequests: 100, ...mirror({ answered: 101, copies: 101 }) });
      expect(status).toBe('pass');
      expect(reasons.at(-1)?.message).toMatch(/^100 of 200 copies are of gateways of an older build/);
    });

    it('knows nothing when the others copied too little', () => {
      const older = { ...nothing, ...{ requests: 200, olderRequests: 180, scoreMeanDifference: 0 } };
      const { status, reasons } = judge({ ...older, latencyMsMean: 2, stableLatencyMsMean: 2 });
      expect([status, reasons.map(({ code }) => code)]).toEqual(['unknown', ['shadow.older-gateways']]);
      expect(reasons[0]?.message).toContain('Update the gateways.');
    });
  });

  it('says in one line what was seen', () => {
    expect(judge({}).summary).toBe(
      '200 copies (1 failed, 0 NaN, 3 dropped); scores +0.03 ± 0.05; PSI 0, KS 0; tau-b 0.8, 90 % of the first the same; scored in 2 ms, stable in 1.5 ms',
    );
    expect(judge({ ...nothing, requests: 200, errors: 200 }).summary).toMatch(/^200 copies \(200 failed.*no rankings/);
  });

  it('does not know what could not be read', () => {
    expect(judgeShadow({ reading: { error: 'connection refused' }, config, silenced: true })).toEqual({
      status: 'unknown',
      reasons: [
        expect.objectContaining({
          code: 'shadow.source',
          message: expect.stringContaining('connection refused') as string,
        }),
      ],
    });
  });

  it.each([{ silenced: true }, { warn: true }])('only warns of divergences with %o, and says why', (options) => {
    const diverged = { scoreMeanDifference: 0.3, scoreBins: bins(1_990, 8), tauMean: -1, tauDeviation: 0 };
    const verdict = judge(diverged, options);
    expect(verdict.status).toBe('warned');
    expect(verdict.reasons.map(({ code }) => code)).toEqual(ALL.slice(0, 3));
    for (const { message } of verdict.reasons) expect(message).toMatch(/It goes on, because/);
    expect(judge({ tauMean: 0.15, tauDeviation: 0.5 }, options).status).toBe('warned');
  });

  it.each([{ errors: 100 }, { notNumbers: 1 }, { latencyMsMean: 500 }, { scoreMeanDifference: NaN }])(
    'never lets %o pass as a warning',
    (change) => {
      expect(judge(change, { silenced: true, warn: true }).status).toMatch(/diverged|unknown/);
    },
  );
});
