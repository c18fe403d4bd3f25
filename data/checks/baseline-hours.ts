import type { CheckContext, Reference } from './check.ts';
import { HOUR_MS, type HourlyRow } from './hours.ts';

/** Hours to compare the judged ones with, and where they come from. */
export interface Baseline {
  hours: HourlyRow[];
  from: 'earlierSnapshot' | 'ownHistory';
}

/**
 * Hours as an earlier snapshot that passed saw them, which nothing that was loaded later can have changed; without one, or
 * with too few, or when it read a source of another kind, the source's own hours before `beforeMs`.
 *
 * @param input.least with fewer hours than this there is no baseline: null.
 */
export function baselineHours(
  { manifest, references }: CheckContext,
  input: { beforeMs: number; least: number },
): Baseline | null {
  const { recent, season, training, week } = references;
  const earlier = [...recent.slice(0, 1), season, training, week].filter((found): found is Reference => found !== null);
  for (const { manifest: seen } of earlier) {
    if (seen.source.kind !== manifest.source.kind) continue;
    const hours = seen.source.hourly.filter(({ startMs, rows }) => startMs + HOUR_MS <= seen.cutoffMs && rows > 0);
    if (hours.length >= input.least) return { hours, from: 'earlierSnapshot' };
  }
  const hours = manifest.source.hourly.filter(({ startMs, rows }) => startMs + HOUR_MS <= input.beforeMs && rows > 0);
  return hours.length >= input.least ? { hours, from: 'ownHistory' } : null;
}
