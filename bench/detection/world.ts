import type { Random } from '../../data/evaluation/random.ts';
import type { RateLook } from '../../policy/sequential/models.ts';
import { drawArmFactor, drawPoisson, type Noise } from './draws.ts';

export const LOOK_SECONDS = 10;
/** Looks that a draw of the arms' noise lasts, and looks between two checks. */
export const MINUTE_LOOKS = 6;
export const WINDOW_LOOKS = 180;
/** A step of the ramp: where `consecutive` begins to sum anew. */
export const STEP_LOOKS = 36;
const STABLE_TIMES_CANARY = 9;
const OUTAGE_TIMES = 10;
const OUTAGE_LOOKS = 60;

export interface Traffic {
  /** Share of bad events when all is well. */
  base: number;
  canaryPerMinute: number;
  noise: Noise;
}

/** What happens in a window. */
export interface Course {
  /** Factor of the canary's rate; 1: none. */
  effect: number;
  /** Look from which on it has it. */
  onset: number;
  /** First look of ten minutes in which both arms' rates are ten times as high; null: none. */
  outage: number | null;
}

/** Draws the looks of a window into one object, again and again. */
export class World {
  readonly look: RateLook;
  readonly #traffic: Traffic;
  readonly #random: Random;
  #course: Course = { effect: 1, onset: 0, outage: null };
  /** Look at whose like the noise is drawn anew: windows do not begin when it does. */
  #phase = 0;
  #canaryFactor = 1;
  #stableFactor = 1;

  /** @param shares of the canary's traffic that both arms have: 1 and 9 in a window. */
  constructor(traffic: Traffic, random: Random, shares = { canary: 1, stable: STABLE_TIMES_CANARY }) {
    this.#traffic = traffic;
    this.#random = random;
    const perLook = traffic.canaryPerMinute / MINUTE_LOOKS;
    this.look = {
      canary: { events: 0, trials: perLook * shares.canary },
      stable: { events: 0, trials: perLook * shares.stable },
    };
  }

  begin(course: Course): void {
    this.#course = course;
    this.#phase = Math.floor(this.#random() * MINUTE_LOOKS);
    this.#redraw();
  }

  /** Fills `look` with what happened in look number `index`. */
  draw(index: number): void {
    if (index > 0 && index % MINUTE_LOOKS === this.#phase) this.#redraw();
    const { effect, onset, outage } = this.#course;
    const failing = outage !== null && index >= outage && index < outage + OUTAGE_LOOKS;
    const rate = this.#traffic.base * (failing ? OUTAGE_TIMES : 1);
    const { canary, stable } = this.look;
    const worse = index >= onset ? effect : 1;
    canary.events = this.#events(canary.trials, rate * worse * this.#canaryFactor);
    stable.events = this.#events(stable.trials, rate * this.#stableFactor);
  }

  #redraw(): void {
    this.#canaryFactor = drawArmFactor(this.#traffic.noise, this.#random);
    this.#stableFactor = drawArmFactor(this.#traffic.noise, this.#random);
  }

  #events(trials: number, rate: number): number {
    return Math.min(trials, drawPoisson(trials * rate, this.#random));
  }
}

/** An A/A history: the holdback (5 % of traffic) beside stable, for the 24 minutes of each ramp in which both serve. */
export function drawHistory(traffic: Traffic, ramps: number, random: Random): RateLook[][] {
  const world = new World(traffic, random, { canary: 0.5, stable: 8.5 });
  return Array.from({ length: ramps }, () => {
    world.begin({ effect: 1, onset: 0, outage: null });
    return Array.from({ length: 4 * STEP_LOOKS }, (_, index) => {
      world.draw(index);
      const { canary, stable } = world.look;
      return { canary: { ...canary }, stable: { ...stable } };
    });
  });
}
