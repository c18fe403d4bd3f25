/** One step of a canary's ramp. */
export interface RampStep {
  /** Share of traffic the canary answers, in (0, 1 - holdback]. */
  share: number;
  /** Whole milliseconds of operating time. */
  durationMs: number;
}

/**
 * The steps of a ramp: `steps` in percent, where 100 means all but the holdback, and the window divided evenly over
 * them (in whole milliseconds that add up to the window).
 *
 * @example rampSteps({ steps: [10, 50, 100], holdback: 0.1, windowMs: 30_000 })
 * // [{ share: 0.1, durationMs: 10_000 }, { share: 0.5, durationMs: 10_000 }, { share: 0.9, durationMs: 10_000 }]
 */
export function rampSteps({
  steps,
  holdback,
  windowMs,
}: {
  steps: readonly number[];
  holdback: number;
  windowMs: number;
}): RampStep[] {
  const endMs = (step: number): number => Math.round((windowMs * step) / steps.length);
  return steps.map((percent, index) => ({
    share: Math.min(percent / 100, 1 - holdback),
    durationMs: endMs(index + 1) - endMs(index),
  }));
}
