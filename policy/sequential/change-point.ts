import { driftGrid, DriftMeasure } from './drift.ts';

/**
 * Evidence that something changed for the worse, looked at again and again.
 *
 * For each start j a likelihood ratio compares "worse by this effect since look j" with "not worse". A ratio that begins at
 * look j is a test martingale; so is their mixture over starts and effects, in which what has not begun yet counts 1:
 *
 *   E_t = sum_e v_e (sum_{j <= t} w_j L_{j..t}^e + 1 - sum_{j <= t} w_j)
 *
 * By Ville's inequality (1939) the probability that E ever reaches 1 / alpha is at most alpha when nothing is worse, however
 * often one looks. The mixture over starts is what finds damage in mid-window: a ratio begun at the first look would have
 * gathered evidence against it by then (Shin, Ramdas & Rinaldo 2024, "E-detectors"; Shiryaev 1963; Roberts 1966). Like
 * Shiryaev's it is one sum that is carried from look to look, whatever the number of starts.
 *
 * The drift between the arms (./drift.ts) is summed out in both hypotheses. The bound is as good as the dispersion: with less
 * than there is, false alarms are more than alpha.
 */

/** How likely what was seen at a look is. */
export interface LookModel<Look> {
  /** Effects by which the canary may be worse, on the scale of the drift: 0 is none. */
  effects: readonly number[];
  /**
   * Prepares for these values of the canary's drift plus effect. The function returned fills `into` with the look's
   * log-likelihood at each, up to a constant of the look; zeros when the look says nothing.
   */
  at: (shifts: Float64Array) => (look: Look, into: Float64Array) => void;
  /** What a look tells of the shift: 1 / variance. */
  information: (look: Look) => number;
}

export interface ChangePointSettings {
  /** Looks of a window. */
  horizon: number;
  /** Looks that a drift lasts. */
  blockLooks: number;
  /** Standard deviation of the drift; 0: none. */
  dispersion: number;
}

/**
 * Shares of the starts' weight. A version that is broken is so from its first request; the rest of the window counts alike;
 * what comes after it (a window that was extended, or paused) never runs out.
 */
const FIRST = 0.1;
const AFTER_WINDOW = 0.03;

function weightOf(look: number, horizon: number): number {
  if (look < horizon) return (1 - FIRST - AFTER_WINDOW) / horizon + (look === 0 ? FIRST : 0);
  // 1 / (j (j + 1)) from the horizon on adds up to 1 / horizon.
  return (AFTER_WINDOW * horizon) / (look * (look + 1));
}

/** The logarithm of E after each look. */
export function changePointEvidence<Look>(
  looks: readonly Look[],
  model: LookModel<Look>,
  settings: ChangePointSettings,
): Float64Array {
  const information = blockInformation(looks, model, settings.blockLooks);
  const detector = new ChangePointDetector(model, { ...settings, information });
  return Float64Array.from(looks, (look) => detector.observe(look));
}

/** The most that as many looks as a block has tell of its drift. */
export function blockInformation<Look>(
  looks: readonly Look[],
  { information }: Pick<LookModel<Look>, 'information'>,
  blockLooks: number,
): number {
  return looks.reduce((most, look) => Math.max(most, information(look)), 0) * blockLooks;
}

/** As much as a block may tell at a drift of one standard deviation: more needs a finer grid, and would say nothing new. */
const MOST_INFORMATION = 1_400;

/** By what a likelihood's logarithm is multiplied, so that no block tells more of a drift than can be told apart. */
export function tempering(information: number, dispersion: number): number {
  return Math.min(1, MOST_INFORMATION / (information * dispersion ** 2 || 1));
}

/** Beyond it nothing is added: it is an alarm at any alpha. */
const CERTAIN = 1e100;
/** Of a likelihood's logarithm, so that no look makes an infinity. */
const MOST = 300;

interface Hypothesis<Look> {
  logLikelihood: (look: Look, into: Float64Array) => void;
  likelihood: Float64Array;
  measure: DriftMeasure;
}

/** The evidence, look by look. Nothing is allocated by a look. */
export class ChangePointDetector<Look> {
  readonly #horizon: number;
  readonly #tempering: number;
  readonly #none: Hypothesis<Look>;
  readonly #worse: Hypothesis<Look>[];
  #looks = 0;
  #begun = 0;
  #certain = false;

  /** @param settings.information the most that one block tells of its drift, see `blockInformation`. */
  constructor(model: LookModel<Look>, settings: ChangePointSettings & { information: number }) {
    this.#horizon = settings.horizon;
    this.#tempering = tempering(settings.information, settings.dispersion);
    const grid = driftGrid(settings.dispersion, settings.information * this.#tempering);
    const hypothesis = (effect: number): Hypothesis<Look> => ({
      logLikelihood: model.at(grid.points.map((point) => point + effect)),
      likelihood: new Float64Array(grid.points.length),
      measure: new DriftMeasure(grid, settings.blockLooks),
    });
    this.#none = hypothesis(0);
    this.#worse = model.effects.map(hypothesis);
    this.reset();
  }

  /** As it was before the first look. */
  reset(): void {
    this.#looks = 0;
    this.#begun = 0;
    this.#certain = false;
    this.#none.measure.begin(1);
    for (const { measure } of this.#worse) measure.begin(0);
  }

  /** Takes the next look; returns the logarithm of the evidence so far. */
  observe(look: Look): number {
    if (this.#certain) return Math.log(CERTAIN);
    const none = this.#none.measure;
    const weight = weightOf(this.#looks, this.#horizon);
    this.#begun += weight;
    none.advance(this.#looks, 0, null);
    for (const { measure } of this.#worse) measure.advance(this.#looks, weight / this.#worse.length, none);
    this.#looks += 1;
    this.#weigh(look);
    let evidence = Math.max(0, 1 - this.#begun);
    for (const { measure } of this.#worse) evidence += measure.total;
    this.#certain = !(evidence < CERTAIN);
    return this.#certain ? Math.log(CERTAIN) : Math.log(evidence);
  }

  /** Relative to the likelihood of "not worse", which stays 1 in all: what both have in common never matters. */
  #weigh(look: Look): void {
    const { logLikelihood, likelihood, measure } = this.#none;
    logLikelihood(look, likelihood);
    const reference = largest(likelihood);
    exponentiate(likelihood, reference, this.#tempering);
    measure.weigh(likelihood);
    const factor = 1 / measure.total;
    measure.scale(factor);
    for (const worse of this.#worse) {
      worse.logLikelihood(look, worse.likelihood);
      exponentiate(worse.likelihood, reference, this.#tempering);
      worse.measure.weigh(worse.likelihood);
      worse.measure.scale(factor);
    }
  }
}

/**
 * Log-likelihood of looks at which nothing was worse, up to a constant of the looks: for dispersions to be compared by.
 *
 * @param series each a run of looks of its own.
 * @param settings.most the largest dispersion that is compared.
 */
export function logLikelihoodOfDispersion<Look>(
  series: readonly (readonly Look[])[],
  model: Pick<LookModel<Look>, 'at' | 'information'>,
  { blockLooks, dispersion, most }: Pick<ChangePointSettings, 'blockLooks' | 'dispersion'> & { most: number },
): number {
  const information = series.reduce((found, looks) => Math.max(found, blockInformation(looks, model, blockLooks)), 0);
  // The same for all that are compared.
  const tempered = tempering(information, most);
  const grid = driftGrid(dispersion, information * tempered);
  const logLikelihood = model.at(grid.points);
  const likelihood = new Float64Array(grid.points.length);
  const measure = new DriftMeasure(grid, blockLooks);
  let log = 0;
  for (const looks of series) {
    measure.begin(1);
    for (const [index, look] of looks.entries()) {
      measure.advance(index, 0, null);
      logLikelihood(look, likelihood);
      const reference = largest(likelihood);
      exponentiate(likelihood, reference, tempered);
      measure.weigh(likelihood);
      log += tempered * reference + Math.log(measure.total);
      measure.scale(1 / measure.total);
    }
  }
  return log;
}

function largest(values: Float64Array): number {
  let found = -Infinity;
  for (let index = 0; index < values.length; index++)
    if ((values[index] as number) > found) found = values[index] as number;
  return found;
}

function exponentiate(logs: Float64Array, reference: number, factor: number): void {
  for (let point = 0; point < logs.length; point++)
    logs[point] = Math.exp(Math.min(MOST, factor * ((logs[point] as number) - reference)));
}
