import type { ArmSums } from '../health.ts';
import type { Drift } from './backstop.ts';
import { changePointEvidence, type ChangePointSettings, type LookModel } from './change-point.ts';
import { estimateDispersion, overdispersion, type OverdispersionModel } from './dispersion.ts';
import { meanModel, rateModel, type MeanLook, type Rate, type RateLook } from './models.ts';
import { SEQUENTIAL } from './settings.ts';
import { UsualRate } from './usual-rate.ts';

/** What the sequential evidence is gathered on. `score` is the mean score, `calibration` clicks for each one that was promised. */
export const SEQUENTIAL_METRICS = [
  'errorRate',
  'latency',
  'clickThroughRate',
  'logLoss',
  'dwell',
  'calibration',
  'score',
] as const;
export type SequentialMetric = (typeof SEQUENTIAL_METRICS)[number];

/** Sums of one arm in one bucket. */
export interface LookSums extends ArmSums {
  /** Requests that took longer than the bound that stable seldom passes. */
  slow: number;
}

export interface HealthLook {
  canary: LookSums;
  stable: LookSums;
}

/** One metric of the health sums: how looks are made of them, and what "worse" means. */
export interface HealthMetric {
  name: string;
  /** Whether clicks have a part in it, so that only buckets older than the feedback delay are read. */
  delayed: boolean;
  /** The figure of an arm, NaN where it has none. */
  figure: (sums: LookSums) => number;
  /** The logarithm of the evidence after each look. */
  evidence: (
    looks: readonly HealthLook[],
    drift: Drift,
    settings: Omit<ChangePointSettings, 'dispersion'>,
  ) => Float64Array;
  /** From runs of looks at which both arms served the same version. */
  drift: (history: readonly (readonly HealthLook[])[], settings: { blockLooks: number; prior: number }) => Drift;
}

type Model<Look> = (overdispersion: number) => LookModel<Look> & OverdispersionModel<Look>;

function metric<Look>(
  { name, delayed, figure }: Pick<HealthMetric, 'name' | 'delayed' | 'figure'>,
  looksOf: (looks: readonly HealthLook[]) => Look[],
  model: Model<Look>,
): HealthMetric {
  return {
    ...{ name, delayed, figure },
    evidence: (looks, { dispersion, overdispersion: by }, settings) =>
      changePointEvidence(looksOf(looks), model(by), { ...settings, dispersion }),
    drift(history, { blockLooks, prior }) {
      const runs = history.map(looksOf);
      const by = overdispersion(runs, model(1));
      const { planned } = estimateDispersion(runs, model(by), { blockLooks, prior, floor: SEQUENTIAL.dispersionFloor });
      return { dispersion: planned, overdispersion: by };
    },
  };
}

function rateMetric(
  { name, delayed }: Pick<HealthMetric, 'name' | 'delayed'>,
  rateOf: (sums: LookSums) => Rate,
  factors: readonly number[],
): HealthMetric {
  const figure = (sums: LookSums): number => rateOf(sums).events / rateOf(sums).trials;
  const looksOf = (looks: readonly HealthLook[]): RateLook[] =>
    asUsual(looks.map(({ canary, stable }) => ({ canary: rateOf(canary), stable: rateOf(stable) })));
  return metric({ name, delayed, figure }, looksOf, (by) => rateModel(factors, by));
}

/** Looks that say no more than those with the usual events would. */
function asUsual(looks: readonly RateLook[]): RateLook[] {
  const usual = new UsualRate();
  return looks.map((look) => {
    const factor = usual.weigh(look);
    const { canary, stable } = look;
    return {
      canary: { events: canary.events * factor, trials: canary.trials },
      stable: { events: stable.events * factor, trials: stable.trials },
    };
  });
}

/** Fewer of stable's impressions than this give no variance to go by. */
const FEWEST_IMPRESSIONS = 100;

/**
 * The difference of the mean log losses as a share of what stable's was before the look; the variance of a row is
 * stable's of before the look, too.
 */
export function logLossLooks(looks: readonly HealthLook[]): MeanLook[] {
  const before = { impressions: 0, sum: 0, squares: 0 };
  return looks.map(({ canary, stable }) => {
    const { impressions, sum, squares } = before;
    before.impressions += stable.impressions;
    before.sum += stable.logLossSum;
    before.squares += stable.logLossSquareSum;
    const mean = sum / impressions;
    if (impressions < FEWEST_IMPRESSIONS || canary.impressions === 0 || stable.impressions === 0 || !(mean > 0))
      return { difference: 0, variance: Infinity };
    const relativeVariance = (squares / impressions - mean * mean) / (mean * mean);
    return {
      difference: (canary.logLossSum / canary.impressions - stable.logLossSum / stable.impressions) / mean,
      variance: relativeVariance * (1 / canary.impressions + 1 / stable.impressions),
    };
  });
}

/** Fewer of stable's dwells than this give no unit to go by. */
const FEWEST_DWELLS = 30;
const NOTHING: RateLook = { canary: { events: 0, trials: 0 }, stable: { events: 0, trials: 0 } };

/**
 * Dwell as a rate of events among impressions, one event being E[d^2] / E[d] milliseconds of what stable's dwells d were
 * before the look: a sum of dwells counted so has the mean and the variance of a Poisson count (the scaled Poisson distribution,
 * Bohm & Zech 2014). Heavy tails are cut where they are counted (`health.maxDwell`): the longest dwell of all is so many
 * events and no more, and what makes both arms' dwell shorter says nothing.
 */
export function dwellLooks(looks: readonly HealthLook[]): RateLook[] {
  const before = { dwells: 0, sum: 0, squares: 0 };
  const counted = looks.map(({ canary, stable }) => {
    const { dwells, sum, squares } = before;
    before.dwells += stable.dwells;
    before.sum += stable.dwellSum;
    before.squares += stable.dwellSquareSum;
    const unit = squares / sum;
    if (dwells < FEWEST_DWELLS || !(unit > 0)) return NOTHING;
    return {
      canary: { events: canary.dwellSum / unit, trials: canary.impressions },
      stable: { events: stable.dwellSum / unit, trials: stable.impressions },
    };
  });
  return asUsual(counted);
}

/** Factors and shares by which a canary is worse: about where it should no longer serve, and well above what refreshing does. */
export const HEALTH_METRICS: Record<SequentialMetric, HealthMetric> = {
  errorRate: rateMetric(
    { name: 'error rate', delayed: false },
    ({ errors, requests }) => ({ events: errors, trials: requests }),
    SEQUENTIAL.badEventFactors,
  ),
  latency: rateMetric(
    { name: 'share of slow requests', delayed: false },
    ({ slow, requests }) => ({ events: slow, trials: requests }),
    SEQUENTIAL.badEventFactors,
  ),
  clickThroughRate: rateMetric(
    { name: 'click-through rate', delayed: true },
    ({ clicks, impressions }) => ({ events: clicks, trials: impressions }),
    [0.7],
  ),
  logLoss: metric(
    {
      name: 'log loss',
      delayed: true,
      figure: ({ logLossSum, impressions }) => logLossSum / impressions,
    },
    logLossLooks,
    (by) => meanModel([0.25], by),
  ),
  dwell: metric(
    {
      name: 'dwell in milliseconds an impression',
      delayed: true,
      figure: ({ dwellSum, impressions }) => dwellSum / impressions,
    },
    dwellLooks,
    (by) => rateModel([0.7], by),
  ),
  calibration: rateMetric(
    { name: 'ratio of clicks to those promised', delayed: true },
    ({ clicks, scoreSum }) => ({ events: clicks, trials: scoreSum }),
    [0.6, 1.7],
  ),
  score: rateMetric(
    { name: 'mean score', delayed: false },
    ({ scoreSum, impressions }) => ({ events: scoreSum, trials: impressions }),
    [0.5, 2],
  ),
};

/** Share of stable's requests that may be slow, so that what slows the canary down is rare without it. */
const SLOW_SHARE = 0.1;

/** The first latency bucket that counts as slow, by stable's counts; null without any. */
export function slowestBuckets(counts: readonly number[]): number | null {
  const total = counts.reduce((sum, value) => sum + value, 0);
  if (!(total > 0)) return null;
  let slower = total;
  for (const [bucket, value] of counts.entries()) {
    if (slower <= SLOW_SHARE * total) return bucket;
    slower -= value;
  }
  return counts.length;
}

/** How many blocks' worth of labels looks hold: one in which nearly all clicks fall counts for nearly all (Kish 1965). */
export function effectiveBlocks(looks: readonly HealthLook[], blockLooks: number): number {
  const blocks: number[] = [];
  for (const [index, { canary, stable }] of looks.entries()) {
    const block = Math.floor(index / blockLooks);
    blocks[block] = (blocks[block] ?? 0) + canary.clicks + stable.clicks;
  }
  const squares = blocks.reduce((sum, clicks) => sum + clicks * clicks, 0);
  return squares > 0 ? blocks.reduce((sum, clicks) => sum + clicks, 0) ** 2 / squares : 1;
}
