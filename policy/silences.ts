import type { Silence } from '../config/schema.ts';

/**
 * The silence that covers a guard now, or null when the guard is on. A silence ends at its `until`, to the millisecond;
 * of several the one that ends last is named, since that is when the guard is back.
 *
 * @param nowMs operating time, Unix milliseconds.
 */
export function activeSilence(silences: readonly Silence[], guard: Silence['guard'], nowMs: number): Silence | null {
  let active: Silence | null = null;
  for (const silence of silences) {
    if (silence.guard !== guard || Date.parse(silence.until) <= nowMs) continue;
    if (active === null || Date.parse(silence.until) > Date.parse(active.until)) active = silence;
  }
  return active;
}
