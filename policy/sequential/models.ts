import type { LookModel } from './change-point.ts';
import type { OverdispersionModel } from './dispersion.ts';

/** Events of some kind among so many trials: counts, or sums of what lies between 0 and 1. */
export interface Rate {
  events: number;
  trials: number;
}

/** What both arms did since the last look. */
export interface RateLook {
  canary: Rate;
  stable: Rate;
}

/**
 * Rates compared by a ratio of odds. Given the events of both arms together, the canary's are binomial with the odds
 * (canary trials / stable trials) x exp(shift), whatever the common rate is (Przyborowski & Wilenski 1940): an outage that
 * multiplies both rates says nothing. For rare events; common ones vary less than that, so that it errs on the safe side.
 * The same holds of sums of values between 0 and 1, which no distribution makes vary more than Bernoulli's does.
 *
 * @param factors by which the canary's rate may be worse: above 1 for errors, below 1 for clicks.
 * @param overdispersion see `overdispersion`: events count for so many times less.
 */
export function rateModel(
  factors: readonly number[],
  overdispersion = 1,
): LookModel<RateLook> & OverdispersionModel<RateLook> {
  return {
    effects: factors.map(Math.log),
    at(shifts) {
      const odds = shifts.map(Math.exp);
      return ({ canary, stable }, into) => {
        if (!comparable(canary, stable)) {
          into.fill(0);
          return;
        }
        const ratio = canary.trials / stable.trials;
        const events = canary.events / overdispersion;
        const all = events + stable.events / overdispersion;
        for (let cell = 0; cell < into.length; cell++)
          into[cell] = events * (shifts[cell] as number) - all * Math.log(1 + ratio * (odds[cell] as number));
      };
    },
    /** That of a binomial share is n p (1 - p): at most its smaller side, or a quarter of it all. */
    information({ canary, stable }) {
      if (!comparable(canary, stable)) return 0;
      const all = canary.events + stable.events;
      return Math.min(all / 4, Math.max(1, Math.min(canary.events, stable.events))) / overdispersion;
    },
    /** Of the difference of two shares, each less what its trials make expected, by the score test at the common shift. */
    pairSquare(a, b) {
      if (!comparable(a.canary, a.stable) || !comparable(b.canary, b.stable)) return null;
      const shift = commonOdds(a, b);
      const [first, second] = [share(a, shift), share(b, shift)];
      const variance = first.variance + second.variance;
      if (!(variance > 0)) return null;
      // The residuals add up to 0, so that one of them says it all; given all margins its variance is larger by n / (n - 1).
      const events = first.events + second.events;
      return ((first.residual ** 2 * variance) / (first.variance * second.variance)) * ((events - 1) / events);
    },
  };
}

/** Mantel and Haenszel's (1959) ratio of odds that two looks have in common. */
function commonOdds(a: RateLook, b: RateLook): number {
  let top = 0;
  let bottom = 0;
  for (const { canary, stable } of [a, b]) {
    const trials = canary.trials + stable.trials;
    top += (canary.events * stable.trials) / trials;
    bottom += (stable.events * canary.trials) / trials;
  }
  return bottom > 0 ? top / bottom : Infinity;
}

function share({ canary, stable }: RateLook, odds: number): { events: number; residual: number; variance: number } {
  const events = canary.events + stable.events;
  const ratio = (canary.trials / stable.trials) * odds;
  const p = ratio / (1 + ratio);
  return { events, residual: canary.events - events * p, variance: events * p * (1 - p) };
}

function comparable(canary: Rate, stable: Rate): boolean {
  return canary.trials > 0 && stable.trials > 0 && canary.events + stable.events > 0;
}

/** Means of a look, and the variance of their difference, which must be known from before the look. */
export interface MeanLook {
  /** Canary minus stable. */
  difference: number;
  /** Infinite or NaN: the look says nothing. */
  variance: number;
}

/**
 * Means compared by their difference, normal for the hundreds of rows a look has (Robbins 1970).
 *
 * @param effects by which the canary's mean may be worse, signed.
 * @param overdispersion see `overdispersion`: the variance is so many times larger.
 */
export function meanModel(
  effects: readonly number[],
  overdispersion = 1,
): LookModel<MeanLook> & OverdispersionModel<MeanLook> {
  return {
    effects,
    at: (shifts) => (look, into) => {
      if (!known(look)) {
        into.fill(0);
        return;
      }
      const { difference, variance } = look;
      for (let cell = 0; cell < into.length; cell++)
        into[cell] = -((difference - (shifts[cell] as number)) ** 2) / (2 * variance * overdispersion);
    },
    information: (look) => (known(look) ? 1 / (look.variance * overdispersion) : 0),
    pairSquare: (a, b) =>
      known(a) && known(b) ? (a.difference - b.difference) ** 2 / (a.variance + b.variance) : null,
  };
}

function known({ difference, variance }: MeanLook): boolean {
  return Number.isFinite(difference) && variance > 0 && variance < Infinity;
}
