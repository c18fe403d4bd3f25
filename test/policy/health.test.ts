import { describe, expect, it } from 'vitest';
import type { HealthConfig } from '../../config/schema.ts';
import { judgeHealth, type ArmSums, type HealthReading, type HealthVerdict } from '../../policy/health.ts';
import { lineConfig } from './line-config.ts';

const defaults = lineConfig().health;

/** The sums of `impressions` with a click-through rate and a mean log loss that varies by about its own size. */
function arm(
  impressions: number,
  { ctr = 0.1, logLoss = 0.3, dwell = 0.1 }: { ctr?: number; logLoss?: number; dwell?: number } = {},
): ArmSums {
  return {
    requests: impressions / 5,
    errors: 0,
    impressions,
    clicks: ctr * impressions,
    scoreSum: 0.1 * impressions,
    logLossSum: logLoss * impressions,
    logLossSquareSum: 2 * logLoss ** 2 * impressions,
    latencyMsSum: 2 * (impressions / 5),
    // Every tenth impression is looked at, for half a minute with a standard deviation of as much.
    dwells: dwell * impressions,
    dwellSum: dwell * impressions * 30_000,
    dwellSquareSum: dwell * impressions * 2 * 30_000 ** 2,
  };
}

const well: HealthReading = {
  canary: arm(600),
  stable: arm(4_000),
  qualityCanary: arm(500),
  qualityStable: arm(3_500),
  external: [],
};

function judge(change: Partial<HealthReading>, config: Partial<HealthConfig> = {}): HealthVerdict {
  return judgeHealth({ reading: { ...well, ...change }, config: { ...defaults, ...config } });
}

const codes = ({ reasons }: HealthVerdict): string[] => reasons.map(({ code }) => code);
const external = (change: Partial<HealthReading['external'][number]>): HealthReading['external'] => [
  { name: 'p99', value: 80, count: null, at: '2026-05-01T12:00:00.000Z', max: 100, ...change },
];

describe('judgeHealth', () => {
  it('passes a canary that does as stable does, with the figures of every metric', () => {
    const verdict = judge({ external: external({}) });
    expect(verdict.status).toBe('pass');
    expect(codes(verdict)).toEqual([
      'health.error-rate.pass',
      'health.latency.pass',
      'health.click-through-rate.pass',
      'health.log-loss.pass',
      'health.calibration.pass',
      'health.score-drift.pass',
      'health.external.p99.pass',
    ]);
    expect(verdict.reasons[2]?.message).toBe(
      "The canary's click-through rate is 10 % over 500 impressions, stable's 10 % over 3,500: z of worse 0, limit 2.33.",
    );
  });

  describe('quality is a one-sided z of canary against stable', () => {
    it.each<[string, Partial<HealthReading>, string, string[]]>([
      ['fewer clicks', { qualityCanary: arm(500, { ctr: 0.06 }) }, 'fail', ['health.click-through-rate.fail']],
      ['a larger loss', { qualityCanary: arm(500, { logLoss: 0.36 }) }, 'fail', ['health.log-loss.fail']],
      [
        'both',
        { qualityCanary: arm(500, { ctr: 0.05, logLoss: 0.5 }) },
        'fail',
        ['health.click-through-rate.fail', 'health.log-loss.fail'],
      ],
      ['a little worse', { qualityCanary: arm(500, { ctr: 0.09, logLoss: 0.31 }) }, 'pass', []],
      ['much better', { qualityCanary: arm(500, { ctr: 0.14, logLoss: 0.1 }) }, 'pass', []],
    ])('%s', (_, change, status, expected) => {
      const verdict = judge(change);
      expect(verdict.status).toBe(status);
      if (expected.length > 0) expect(codes(verdict)).toEqual(expected);
    });

    it('is at its limit where the z says so', () => {
      // se^2 = var (1/500 + 1/3500); with mean 0.3 and mean square 0.18 the variance is about 0.09.
      const zOf = (logLoss: number): number =>
        judge(
          { qualityCanary: { ...arm(500, { logLoss }), logLossSquareSum: 500 * (logLoss ** 2 + 0.09) } },
          { quality: ['logLoss'] },
        ).reasons.find(({ code }) => code.startsWith('health.log-loss'))?.numbers?.['z'] as number;
      expect(zOf(0.3 + 2.33 * Math.sqrt(0.09 * (1 / 500 + 1 / 3_500)))).toBeCloseTo(2.33, 2);
    });

    it('compares only the metrics that the line names', () => {
      const few = { qualityCanary: arm(500, { ctr: 0.06 }) };
      expect(judge(few, { quality: ['logLoss'] }).status).toBe('pass');
      expect(judge(few, { quality: ['clickThroughRate'] }).status).toBe('fail');
    });

    it.each([
      ['canary', { qualityCanary: arm(25, { ctr: 0, logLoss: 5 }) }],
      ['stable', { qualityStable: arm(25, { ctr: 0.9 }) }],
    ])('is insufficient below 30 impressions of the %s, whatever they say', (_, change) => {
      const verdict = judge(change);
      expect(verdict.status).toBe('insufficient');
      expect(verdict.reasons[0]?.message).toMatch(/25 labelled .* 30 are needed/);
    });

    it('is judged from 30 impressions on', () => {
      expect(judge({ qualityCanary: arm(30), qualityStable: arm(30) }).status).toBe('pass');
    });
  });

  describe('as a backstop of the sequential evidence', () => {
    const drift = (dispersion: number) => ({
      maxZ: 3.8,
      blocks: 1,
      drifts: {
        logLoss: { dispersion, overdispersion: 1 },
        clickThroughRate: { dispersion, overdispersion: 1 },
      },
    });
    const judgeWith = (ctr: number, dispersion: number): HealthVerdict =>
      judgeHealth({
        reading: { ...well, qualityCanary: arm(5_000, { ctr }), qualityStable: arm(35_000) },
        config: defaults,
        backstop: drift(dispersion),
      });

    it.each([
      ['a z of 3.1 is below its limit', 0.087, 0, 'pass'],
      ['one of 6.8 is not', 0.07, 0, 'fail'],
      ['but is, where arms drift apart by a third', 0.07, 0.3, 'pass'],
    ])('%s', (_, ctr, dispersion, status) => {
      expect(judgeWith(ctr, dispersion).status).toBe(status);
    });

    it('says the limit that it judged by', () => {
      expect(judgeWith(0.07, 0).reasons[0]?.message).toMatch(/limit 3\.8\.$/);
    });
  });

  describe('absolute limits', () => {
    it.each<[string, Partial<ArmSums>, string]>([
      ['errors at the limit', { requests: 1_000, errors: 20, latencyMsSum: 2_000 }, 'pass'],
      ['errors above the limit', { requests: 1_000, errors: 21, latencyMsSum: 2_000 }, 'health.error-rate.fail'],
      ['latency at the limit', { requests: 100, latencyMsSum: 25_000 }, 'pass'],
      ['latency above the limit', { requests: 100, latencyMsSum: 25_100 }, 'health.latency.fail'],
      ['one error among few requests', { requests: 29, errors: 1 }, 'health.error-rate.insufficient'],
      ['no requests', { requests: 0, errors: 0, latencyMsSum: 0 }, 'health.error-rate.insufficient'],
    ])('%s', (_, change, expected) => {
      const verdict = judge({ canary: { ...well.canary, ...change } });
      if (expected === 'pass') expect(verdict.status).toBe('pass');
      else expect(codes(verdict)[0]).toBe(expected);
    });

    it('fail a canary that answers nothing, although nothing of it was ever seen', () => {
      const nothing = arm(0);
      const verdict = judge({
        canary: { ...nothing, requests: 200, errors: 200, latencyMsSum: 400 },
        qualityCanary: nothing,
      });
      expect(verdict.status).toBe('fail');
      expect(codes(verdict)[0]).toBe('health.error-rate.fail');
    });
  });

  describe('limits of a metric provider', () => {
    it.each<[string, Partial<HealthReading['external'][number]>, string]>([
      ['within', {}, 'pass'],
      ['at the maximum', { value: 100 }, 'pass'],
      ['above the maximum', { value: 100.1 }, 'fail'],
      ['below the minimum', { value: 1, max: undefined, min: 2 }, 'fail'],
      ['without limits', { max: undefined, value: 1e9 }, 'pass'],
      ['failed source', { value: null, error: 'Prometheus answered 503' }, 'unknown'],
      ['no value', { value: null }, 'unknown'],
      ['NaN', { value: NaN }, 'unknown'],
      ['no observations', { count: 0 }, 'unknown'],
    ])('%s', (_, change, status) => {
      expect(judge({ external: external(change) }).status).toBe(status);
    });
  });

  describe('what is not known', () => {
    it('is unknown when the sums could not be read, with the cause', () => {
      const verdict = judgeHealth({ reading: { error: 'connect ECONNREFUSED' }, config: defaults });
      expect(verdict.status).toBe('unknown');
      expect(verdict.reasons[0]?.message).toContain('connect ECONNREFUSED');
    });

    it.each([
      ['NaN', NaN],
      ['a negative sum', -1],
      ['null, as JSON writes NaN', null as unknown as number],
    ])('is unknown with %s among the sums, and names it', (_, value) => {
      const verdict = judge({ qualityCanary: { ...well.qualityCanary, logLossSum: value } });
      expect(verdict.status).toBe('unknown');
      expect(verdict.reasons[0]?.message).toContain('qualityCanary.logLossSum');
    });

    it('is unknown when there are more clicks than impressions', () => {
      expect(judge({ qualityCanary: arm(500, { ctr: 1.8 }), qualityStable: arm(3_500, { ctr: 1.8 }) }).status).toBe(
        'unknown',
      );
    });
  });

  it('lets a fail win over unknown, unknown over insufficient, insufficient over pass, and lists the worst first', () => {
    const failing = { canary: { ...well.canary, errors: 60 } };
    const unreadable = { external: external({ error: 'timeout' }) };
    const scarce = { qualityCanary: arm(10) };
    const all = judge({ ...failing, ...unreadable, ...scarce });
    expect(all.status).toBe('fail');
    expect(codes(all)).toEqual([
      'health.error-rate.fail',
      'health.external.p99.unknown',
      'health.click-through-rate.insufficient',
      'health.log-loss.insufficient',
      'health.calibration.insufficient',
      'health.score-drift.insufficient',
    ]);
    expect(judge({ ...unreadable, ...scarce }).status).toBe('unknown');
    expect(judge(scarce).status).toBe('insufficient');
  });
});
