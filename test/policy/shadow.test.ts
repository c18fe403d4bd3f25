import { describe, expect, it } from 'vitest';
import { judgeShadow, type ShadowReading } from '../../policy/shadow.ts';
import { lineConfig } from './line-config.ts';

const config = lineConfig().shadow;
const well: ShadowReading = {
  requests: 200,
  errors: 1,
  dropped: 3,
  scoreMeanDifference: 0.03,
  latencyMsMean: 2,
  stableLatencyMsMean: 1.5,
};
const judge = (
  change: Partial<ShadowReading>,
  options: { silenced?: boolean; warn?: boolean } = {},
): ReturnType<typeof judgeShadow> =>
  judgeShadow({
    reading: { ...well, ...change },
    config: { ...config, onDivergence: options.warn === true ? 'warn' : 'reject' },
    silenced: options.silenced ?? false,
  });

describe('judgeShadow', () => {
  it.each<[string, Partial<ShadowReading>, string, string[]]>([
    ['all well', {}, 'pass', ['shadow.score-shift', 'shadow.error-rate', 'shadow.latency']],
    ['scores far above', { scoreMeanDifference: 0.16 }, 'diverged', ['shadow.score-shift']],
    ['scores far below', { scoreMeanDifference: -0.16 }, 'diverged', ['shadow.score-shift']],
    ['errors', { errors: 3 }, 'diverged', ['shadow.error-rate']],
    [
      'nothing but errors',
      { errors: 200, scoreMeanDifference: NaN, latencyMsMean: NaN },
      'diverged',
      ['shadow.error-rate'],
    ],
    ['slow scoring', { latencyMsMean: 6, stableLatencyMsMean: 1.9 }, 'diverged', ['shadow.latency']],
    ['a ratio of next to nothing', { latencyMsMean: 4.9, stableLatencyMsMean: 0.1 }, 'pass', []],
    ['both at once', { errors: 30, latencyMsMean: 90 }, 'diverged', ['shadow.error-rate', 'shadow.latency']],
    ['few copies', { requests: 29 }, 'insufficient', ['shadow.requests']],
    [
      'no copies',
      { requests: 0, errors: 0, scoreMeanDifference: NaN, latencyMsMean: NaN },
      'insufficient',
      ['shadow.requests'],
    ],
    ['a difference that is NaN', { scoreMeanDifference: NaN }, 'unknown', ['shadow.not-a-number']],
    ['counts that are NaN', { requests: NaN }, 'unknown', ['shadow.not-a-number']],
  ])('with %s', (_, change, status, codes) => {
    const verdict = judge(change);
    expect(verdict.status).toBe(status);
    if (codes.length > 0) expect(verdict.reasons.map(({ code }) => code)).toEqual(codes);
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

  it.each([{ silenced: true }, { warn: true }])('only warns of shifted scores with %o, and says why', (options) => {
    const verdict = judge({ scoreMeanDifference: 0.3 }, options);
    expect(verdict.status).toBe('warned');
    expect(verdict.reasons[0]?.message).toMatch(/differ from stable's by 0.3 .*goes on, because/);
  });

  it.each([{ errors: 100 }, { latencyMsMean: 500 }, { requests: 3 }, { scoreMeanDifference: NaN }])(
    'never lets %o pass as a warning',
    (change) => {
      expect(judge(change, { silenced: true, warn: true }).status).toMatch(/diverged|insufficient|unknown/);
    },
  );
});
