import type { RateLook } from './models.ts';

/** Looks that the usual rate is remembered over. */
const MEMORY = 60;
const TIMES = 1.5;
/** So that few events do not look like many. */
const MORE = 2;

/**
 * How much a look's events may say: not more than those of one and a half times the usual rate. The dispersion is known for what is usual;
 * in an outage of both arms there are many more events, and the arms need not suffer quite alike.
 */
export class UsualRate {
  #events = 0;
  #trials = 0;
  #looks = 0;

  /** As it was before the first look. */
  reset(): void {
    this.#events = 0;
    this.#trials = 0;
    this.#looks = 0;
  }

  /**
   * The factor for the look's events, in (0, 1]. It depends on earlier looks and on both arms' events together, which the
   * comparison of rates takes as given: it favours neither arm.
   */
  weigh({ canary, stable }: RateLook): number {
    const events = canary.events + stable.events;
    const trials = canary.trials + stable.trials;
    if (!(trials > 0)) return 1;
    const usual = this.#trials > 0 ? (this.#events / this.#trials) * trials : events;
    const most = TIMES * usual + MORE;
    const factor = events > most ? most / events : 1;
    const kept = 1 - 1 / Math.min(MEMORY, ++this.#looks);
    this.#events = kept * this.#events + events * factor;
    this.#trials = kept * this.#trials + trials;
    return factor;
  }
}
