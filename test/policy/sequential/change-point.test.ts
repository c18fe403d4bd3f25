import { describe, expect, it } from 'vitest';
import { changePointEvidence, ChangePointDetector, blockInformation } from '../../../policy/sequential/change-point.ts';
import { meanModel, rateModel, type MeanLook, type RateLook } from '../../../policy/sequential/models.ts';
import { seededRandom, type Random } from '../../../data/evaluation/random.ts';

const HORIZON = 180;
const BLOCK = 6;
const ALPHA = 0.01;
const settings = { horizon: HORIZON, blockLooks: BLOCK, dispersion: 0 };

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function poisson(mean: number, random: Random): number {
  if (mean > 60) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  let count = 0;
  for (let product = random(); product > Math.exp(-mean); product *= random()) count += 1;
  return count;
}

interface World {
  effect?: number;
  onset?: number;
  /** Standard deviation of the logarithm of each arm's factor, drawn anew every block. */
  noise?: number;
  /** Where in a block the noise is drawn. */
  phase?: number;
  outage?: boolean;
  looks?: number;
}

/** Looks of 100 canary and 900 stable requests, of which 2 % end badly. */
function simulate(random: Random, world: World = {}): RateLook[] {
  const { effect = 1, onset = 0, noise = 0, phase = 0, outage = false, looks = HORIZON } = world;
  let [canaryFactor, stableFactor] = [1, 1];
  return Array.from({ length: looks }, (_, look) => {
    if (look === 0 || look % BLOCK === phase) {
      canaryFactor = Math.exp(noise * normal(random));
      stableFactor = Math.exp(noise * normal(random));
    }
    const rate = 0.02 * (outage && look >= 60 && look < 120 ? 10 : 1);
    const worse = look >= onset ? effect : 1;
    return {
      canary: { events: poisson(100 * rate * worse * canaryFactor, random), trials: 100 },
      stable: { events: poisson(900 * rate * stableFactor, random), trials: 900 },
    };
  });
}

const model = rateModel([2.5]);

/** First look with an alarm, -1 without one. */
function alarmAt(looks: readonly RateLook[], dispersion: number): number {
  return changePointEvidence(looks, model, { ...settings, dispersion }).findIndex((log) => log >= -Math.log(ALPHA));
}

function alarms(windows: number, seed: number, world: World, dispersion: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: windows }, () => alarmAt(simulate(random, world), dispersion));
}

describe('false alarms are at most alpha', () => {
  it.each<[string, World, number]>([
    ['without a difference', {}, 0],
    ['in an outage of both arms', { outage: true }, 0],
    ['when arms drift apart as far as planned', { noise: 0.2 }, 0.283],
    ['when they do so out of step with the looks', { noise: 0.2, phase: 3 }, 0.283],
    ['when they do so in an outage of both', { noise: 0.2, phase: 2, outage: true }, 0.283],
  ])('%s', (_, world, dispersion) => {
    const windows = 500;
    const found = alarms(windows, 11, world, dispersion).filter((look) => look >= 0).length;
    // Of 500 at 1 % more than 11 have a chance of 1 in 100.
    expect(found).toBeLessThanOrEqual(11);
  });

  it('but more when arms drift apart further than planned', () => {
    expect(alarms(200, 12, { noise: 0.2 }, 0).filter((look) => look >= 0).length).toBeGreaterThan(20);
  });
});

describe('damage is found', () => {
  const seconds = (looks: number[], onset: number, quantile: number): number => {
    const times = looks.map((look) => (look < 0 ? Infinity : (look - onset + 1) * 10)).sort((a, b) => a - b);
    return times[Math.floor(quantile * times.length)] ?? NaN;
  };

  it.each([
    ['from the first request', 0, 0, 0, 60, 90],
    ['in mid-window', 90, 0, 0, 60, 90],
    ['between two checks', 93, 0, 0, 60, 90],
    ['among arms that drift apart', 90, 0.2, 0.283, 110, 190],
  ])('%s', (_, onset, noise, dispersion, median, p90) => {
    const found = alarms(300, 13, { effect: 3, onset, noise }, dispersion).filter((look) => look < 0 || look >= onset);
    expect(seconds(found, onset, 0.5)).toBeLessThanOrEqual(median);
    expect(seconds(found, onset, 0.9)).toBeLessThanOrEqual(p90);
  });

  it('after the window too, as long as it is extended or paused', () => {
    const random = seededRandom(14);
    const looks = simulate(random, { effect: 3, onset: 8 * HORIZON, looks: 8 * HORIZON + 60 });
    expect(alarmAt(looks, 0)).toBeGreaterThanOrEqual(8 * HORIZON);
  });

  it('in means as in rates', () => {
    const random = seededRandom(15);
    const looks = Array.from({ length: 60 }, (_, look) => ({
      difference: (look >= 30 ? 0.3 : 0) + 0.1 * normal(random),
      variance: 0.01,
    }));
    const evidence = changePointEvidence(looks, meanModel([0.3]), settings);
    expect(evidence.findIndex((log) => log > -Math.log(ALPHA))).toBeGreaterThanOrEqual(30);
    expect(evidence.at(-1)).toBeGreaterThan(50);
  });

  it('not where the canary is better', () => {
    expect(alarms(100, 16, { effect: 1 / 3 }, 0).filter((look) => look >= 0)).toEqual([]);
  });
});

describe('the evidence', () => {
  /** By the definition, without a drift: the sum over starts of weight times likelihood ratio. */
  function byDefinition(looks: readonly RateLook[], effect: number): number {
    const at = model.at(Float64Array.of(0, Math.log(effect)));
    const ratios = looks.map((look) => {
      const logs = new Float64Array(2);
      at(look, logs);
      return (logs[1] as number) - (logs[0] as number);
    });
    const weights = looks.map((_, look) => 0.87 / HORIZON + (look === 0 ? 0.1 : 0));
    const begun = weights.reduce((sum, weight) => sum + weight, 0);
    const sum = weights.reduce(
      (total, weight, start) => total + weight * Math.exp(ratios.slice(start).reduce((log, ratio) => log + ratio, 0)),
      0,
    );
    return Math.log(sum + 1 - begun);
  }

  it('is the mixture of likelihood ratios over starts', () => {
    const looks = simulate(seededRandom(17), { effect: 2, looks: 20 });
    const evidence = changePointEvidence(looks, model, settings);
    expect(evidence[19]).toBeCloseTo(byDefinition(looks, 2.5), 9);
    expect(evidence[7]).toBeCloseTo(byDefinition(looks.slice(0, 8), 2.5), 9);
  });

  it('with the smallest drift is as good as without one', () => {
    const looks = simulate(seededRandom(18), { effect: 2, looks: 40 });
    const without = changePointEvidence(looks, model, settings);
    const with_ = changePointEvidence(looks, model, { ...settings, dispersion: 1e-6 });
    for (const [look, log] of without.entries()) expect(with_[look]).toBeCloseTo(log, 5);
  });

  it('does not move at looks that say nothing', () => {
    const none = { events: 0, trials: 0 };
    const silent: RateLook[] = [
      { canary: none, stable: none },
      { canary: none, stable: { events: 5, trials: 100 } },
      { canary: { events: 5, trials: 100 }, stable: none },
      { canary: { events: 0, trials: 100 }, stable: { events: 0, trials: 900 } },
    ];
    for (const look of silent)
      for (const log of changePointEvidence([look, look, look], model, { ...settings, dispersion: 0.2 }))
        expect(log).toBeCloseTo(0, 12);
    const blind: MeanLook[] = [
      { difference: 9, variance: Infinity },
      { difference: NaN, variance: 1 },
      { difference: 9, variance: 0 },
    ];
    for (const log of changePointEvidence(blind, meanModel([1]), settings)) expect(log).toBeCloseTo(0, 12);
  });

  it.each([0, 0.3])('stays a number whatever is seen (dispersion %d)', (dispersion) => {
    const extreme: RateLook = { canary: { events: 9e7, trials: 1e8 }, stable: { events: 0, trials: 9e8 } };
    const reverse: RateLook = { canary: { events: 0, trials: 1e8 }, stable: { events: 9e7, trials: 9e8 } };
    for (const looks of [
      [extreme, extreme, reverse, extreme],
      [reverse, reverse, extreme, reverse],
    ])
      for (const log of changePointEvidence(looks, model, { ...settings, dispersion })) expect(log).not.toBeNaN();
    expect(changePointEvidence([extreme], model, { ...settings, dispersion })[0]).toBeGreaterThan(100);
  });

  it('does not depend on the rate that both arms have in common', () => {
    const looks: RateLook[] = [
      { canary: { events: 3, trials: 100 }, stable: { events: 20, trials: 900 } },
      { canary: { events: 6, trials: 100 }, stable: { events: 31, trials: 900 } },
    ];
    const rarer = looks.map(({ canary, stable }) => ({
      canary: { ...canary, trials: 10 * canary.trials },
      stable: { ...stable, trials: 10 * stable.trials },
    }));
    expect([...changePointEvidence(rarer, model, { ...settings, dispersion: 0.2 })]).toEqual([
      ...changePointEvidence(looks, model, { ...settings, dispersion: 0.2 }),
    ]);
  });

  it('begins anew after a reset', () => {
    const looks = simulate(seededRandom(19), { looks: 15 });
    const information = blockInformation(looks, model, BLOCK);
    const detector = new ChangePointDetector(model, { ...settings, dispersion: 0.2, information });
    const once = looks.map((look) => detector.observe(look));
    detector.reset();
    expect(looks.map((look) => detector.observe(look))).toEqual(once);
  });

  it.each([-1, NaN, Infinity])('refuses a dispersion of %d', (dispersion) => {
    expect(() => changePointEvidence([], model, { ...settings, dispersion })).toThrow(/dispersion must be a number/);
  });
});
