import { seededRandom, streamSeed } from '../../data/evaluation/random.ts';
import { discountedZ, type Drift } from '../../policy/sequential/backstop.ts';
import { blockInformation, ChangePointDetector } from '../../policy/sequential/change-point.ts';
import { estimateDispersion, overdispersion } from '../../policy/sequential/dispersion.ts';
import { rateModel, type RateLook } from '../../policy/sequential/models.ts';
import { UsualRate } from '../../policy/sequential/usual-rate.ts';
import { EVIDENCE_SHARE, SEQUENTIAL } from '../../policy/sequential/settings.ts';
import { twoProportionZ } from '../../policy/statistics.ts';
import { drawHistory, MINUTE_LOOKS, STEP_LOOKS, WINDOW_LOOKS, World, type Course, type Traffic } from './world.ts';

const ALPHA = EVIDENCE_SHARE * SEQUENTIAL.alpha;

/** Seen by the simulated monitors, in this order: alarms are numbered by it. */
export const MONITORS = ['consecutive', 'sequential', 'allMetrics', 'backstop'] as const;

export interface Scenario {
  name: string;
  effect: number;
  /** Look. */
  onset: number;
  outage: boolean;
  windows: number;
}

export interface Job {
  traffic: Traffic;
  /** Promoted or not, ramps whose holdback the dispersion is estimated from; 0: the prior is what there is. */
  ramps: number;
  scenarios: Scenario[];
  seed: number;
}

/** By scenario, by window, by monitor: the look of the alarm, or -1. */
export interface JobResult {
  drift: Drift;
  alarms: Int16Array[];
}

export function runJob({ traffic, ramps, scenarios, seed }: Job): JobResult {
  const history = drawHistory(traffic, ramps, seededRandom(streamSeed(seed, 0)));
  const drift = driftOf(history);
  const alarms = scenarios.map((scenario, index) =>
    runScenario(scenario, { traffic, drift, seed: streamSeed(seed, index + 1) }),
  );
  return { drift, alarms };
}

function driftOf(history: readonly (readonly RateLook[])[]): Drift {
  const over = overdispersion(history, rateModel(SEQUENTIAL.badEventFactors));
  const model = rateModel(SEQUENTIAL.badEventFactors, over);
  const { planned } = estimateDispersion(history, model, {
    blockLooks: MINUTE_LOOKS,
    prior: SEQUENTIAL.dispersionPrior,
    floor: SEQUENTIAL.dispersionFloor,
  });
  return { dispersion: planned, overdispersion: over };
}

function runScenario(
  { effect, onset, outage, windows }: Scenario,
  { traffic, drift, seed }: { traffic: Traffic; drift: Drift; seed: number },
): Int16Array {
  const random = seededRandom(seed);
  const world = new World(traffic, random);
  const monitors = new Monitors(drift, expectedLook(world.look, traffic));
  const alarms = new Int16Array(windows * MONITORS.length);
  for (let window = 0; window < windows; window++) {
    // Never at the same look: an outage has nothing to do with the monitor's beat.
    const course: Course = { effect, onset, outage: outage ? 12 + Math.floor(random() * 100) : null };
    world.begin(course);
    monitors.begin(alarms.subarray(window * MONITORS.length, (window + 1) * MONITORS.length));
    for (let look = 0; look < WINDOW_LOOKS && monitors.waiting; look++) {
      world.draw(look);
      monitors.observe(look, world.look);
    }
  }
  return alarms;
}

/** What bounds the information of a look: the canary's events at three times the rate. */
function expectedLook({ canary, stable }: RateLook, { base }: Traffic): RateLook {
  const rate = base * 3;
  return {
    canary: { events: canary.trials * rate, trials: canary.trials },
    stable: { events: stable.trials * rate, trials: stable.trials },
  };
}

class Monitors {
  readonly #detector: ChangePointDetector<RateLook>;
  readonly #usual = new UsualRate();
  readonly #look: RateLook = { canary: { events: 0, trials: 0 }, stable: { events: 0, trials: 0 } };
  readonly #drift: Drift;
  readonly #step = {
    canaryEvents: 0,
    canaryTrials: 0,
    stableEvents: 0,
    stableTrials: 0,
    looks: 0,
    minuteEvents: 0,
    minuteSquares: 0,
  };
  #alarms: Int16Array = new Int16Array(MONITORS.length);
  #failed = 0;
  #failedBackstop = 0;

  constructor(drift: Drift, expected: RateLook) {
    const model = rateModel(SEQUENTIAL.badEventFactors, drift.overdispersion);
    this.#drift = drift;
    this.#detector = new ChangePointDetector(model, {
      horizon: WINDOW_LOOKS,
      blockLooks: MINUTE_LOOKS,
      dispersion: drift.dispersion,
      information: blockInformation([expected], model, MINUTE_LOOKS),
    });
  }

  begin(alarms: Int16Array): void {
    this.#alarms = alarms.fill(-1);
    this.#detector.reset();
    this.#usual.reset();
    this.#failed = 0;
    this.#failedBackstop = 0;
    this.#beginStep();
  }

  get waiting(): boolean {
    return this.#alarms.includes(-1);
  }

  observe(look: number, { canary, stable }: RateLook): void {
    if (look % STEP_LOOKS === 0) this.#beginStep();
    const step = this.#step;
    step.canaryEvents += canary.events;
    step.canaryTrials += canary.trials;
    step.stableEvents += stable.events;
    step.stableTrials += stable.trials;
    step.looks += 1;
    step.minuteEvents += canary.events + stable.events;
    if (step.looks % MINUTE_LOOKS === 0) this.#check(look);
    const [, sequential, allMetrics] = this.#alarms;
    if (sequential !== -1 && allMetrics !== -1) return;
    const evidence = this.#detector.observe(this.#weighed({ canary, stable }));
    if (evidence >= -Math.log(ALPHA)) this.#alarm(1, look);
    if (evidence >= -Math.log(ALPHA * SEQUENTIAL.errorRateWeight)) this.#alarm(2, look);
  }

  #weighed(look: RateLook): RateLook {
    const factor = this.#usual.weigh(look);
    this.#look.canary.events = look.canary.events * factor;
    this.#look.canary.trials = look.canary.trials;
    this.#look.stable.events = look.stable.events * factor;
    this.#look.stable.trials = look.stable.trials;
    return this.#look;
  }

  #check(look: number): void {
    const step = this.#step;
    step.minuteSquares += step.minuteEvents ** 2;
    step.minuteEvents = 0;
    const { canaryEvents, canaryTrials, stableEvents, stableTrials, minuteSquares } = step;
    const z = twoProportionZ(
      { successes: canaryEvents, n: canaryTrials },
      { successes: stableEvents, n: stableTrials },
    );
    this.#failed = z > SEQUENTIAL.consecutiveZ ? this.#failed + 1 : 0;
    if (this.#failed >= 3) this.#alarm(0, look);
    const pooled = (canaryEvents + stableEvents) / (canaryTrials + stableTrials);
    const standardError = Math.sqrt(((1 - pooled) / pooled) * (1 / canaryTrials + 1 / stableTrials));
    const strict = discountedZ(z, {
      standardError,
      blocks: (canaryEvents + stableEvents) ** 2 / minuteSquares,
      drift: this.#drift,
    });
    this.#failedBackstop = strict > SEQUENTIAL.backstopZ ? this.#failedBackstop + 1 : 0;
    if (this.#failedBackstop < 3) return;
    this.#alarm(3, look);
    this.#alarm(1, look);
    this.#alarm(2, look);
  }

  #alarm(monitor: number, look: number): void {
    if (this.#alarms[monitor] === -1) this.#alarms[monitor] = look;
  }

  #beginStep(): void {
    Object.assign(this.#step, {
      canaryEvents: 0,
      canaryTrials: 0,
      stableEvents: 0,
      stableTrials: 0,
      looks: 0,
      minuteEvents: 0,
      minuteSquares: 0,
    });
  }
}
