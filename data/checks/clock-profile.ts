import type { HourTable } from './hours.ts';
import { median, seasonHours } from './volume-forecast.ts';

/** The zones of the earth lie within these of each other, and whoever adds instead of subtracting doubles his own. */
const MAX_SHIFT_HOURS = 14;
/** Standard deviation of the logarithm of rows over usual rows, about its mean: within 0.2 on 24 h of a real feed. */
const MISFIT = 0.4;
const FIT = 0.25;
/** How many times better the shifted profile must fit, as a ratio of deviations: far beyond what a weekend does. */
const BETTER = 2.5;

/**
 * The shift by whole hours at which the window's rows follow the seasons before best; it is decisive when they follow well
 * then, and badly as they are. Null without enough hours, or without a season in which the shape of a day shows.
 */
export function shiftOfProfile(
  table: HourTable,
  input: { seasonMs: number; minHours: number },
): { shiftHours: number; decisive: boolean } | null {
  const step = seasonHours(input.seasonMs);
  const window = table.window.slice(0, step);
  const reach = window.length + step;
  if (window.length < input.minHours || table.known < reach) return null;
  const usual = (back: number): number => {
    const counts: number[] = [];
    // The phase is what counts, so the season wraps around; no hour of the window itself is used.
    const phase = ((back % step) + step) % step;
    for (let other = phase; other < table.known; other += step) {
      if (other >= table.window.length) counts.push(table.at(other).rows);
    }
    return median(counts);
  };
  const misfit = (shift: number): number => {
    const logs = window.map((back) => Math.log((table.at(back).rows + 0.5) / (usual(back + shift) + 0.5)));
    const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
    return Math.sqrt(logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logs.length);
  };
  const asIs = misfit(0);
  let best = { shift: 0, deviation: asIs };
  for (let shift = -MAX_SHIFT_HOURS; shift <= MAX_SHIFT_HOURS; shift += 1) {
    const deviation = misfit(shift);
    if (deviation < best.deviation) best = { shift, deviation };
  }
  if (!Number.isFinite(asIs)) return null;
  const decisive = asIs > MISFIT && best.deviation < FIT && asIs > BETTER * best.deviation;
  return { shiftHours: best.shift, decisive };
}
