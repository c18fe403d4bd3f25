export const DAY_MS = 86_400_000;

/**
 * How event time follows operating time: `eventMs` was reached at `operatingMs` and moves on `rate` times as fast. The
 * columns of a line's event clock in the store. Both times are Unix milliseconds.
 */
export interface EventTimeline {
  eventMs: number;
  operatingMs: number;
  /** Event milliseconds an operating millisecond; 0 while the timeline is held. */
  rate: number;
}

/**
 * The rate at which one day of the log passes in `dayMs` of operating time.
 *
 * @throws Error unless `dayMs` is a positive number.
 */
export function dayRate(dayMs: number): number {
  if (!(dayMs > 0 && Number.isFinite(dayMs)))
    throw new Error(`a day must last a positive number of milliseconds, got ${dayMs}`);
  return DAY_MS / dayMs;
}

export function eventTimeAt({ eventMs, operatingMs, rate }: EventTimeline, atOperatingMs: number): number {
  return eventMs + (atOperatingMs - operatingMs) * rate;
}

/** Operating time at which an event time is reached; Infinity while the timeline is held. */
export function operatingTimeAt({ eventMs, operatingMs, rate }: EventTimeline, atEventMs: number): number {
  if (rate === 0) return atEventMs <= eventMs ? operatingMs : Infinity;
  return operatingMs + (atEventMs - eventMs) / rate;
}

/** The timeline from `operatingMs` on at another rate; what was reached by then stays reached. */
export function withRate(
  timeline: EventTimeline,
  { rate, operatingMs }: { rate: number; operatingMs: number },
): EventTimeline {
  return { eventMs: eventTimeAt(timeline, operatingMs), operatingMs, rate };
}
