import { ARRIVAL_AGES_MS } from '../snapshot-manifest.ts';
import { curveOf } from './arrival-curve.ts';
import type { CheckContext, Finding } from './check.ts';
import { hourTable, hourName } from './hours.ts';
import { forecastHours, limitFor } from './volume-forecast.ts';
import { hoursTold, nothingToCompare } from './volume-hourly.ts';
import { ratio, span, whole } from './wording.ts';

/**
 * The newest hours, also those whose labels are not in yet, hold what has normally arrived at their age: by the arrival curve
 * of earlier hours. What ships impressions ships labels too, so a half-loaded newest hour makes wrong labels before it.
 */
export function checkVolumeArrival({ config, manifest }: CheckContext): Finding {
  const { minRatio, minZ } = config.checks.volumeArrival;
  const { season } = config.snapshot;
  const threshold = { minRatio, minZ };
  const table = hourTable(manifest);
  const youngest = ARRIVAL_AGES_MS[0] ?? 0;
  const oldest = ARRIVAL_AGES_MS.at(-1) ?? 0;
  const backs: number[] = [];
  for (let back = table.newest; back < table.known; back += 1) {
    const age = table.ageMs(back);
    if (age > oldest) break;
    if (age >= youngest) backs.push(back);
  }
  if (backs.length === 0) {
    const settled = table.known > 0 && table.ageMs(0) > oldest;
    if (!settled) return nothingToCompare({ table, backs, season, threshold });
    const message = `no hour that is over is younger than ${span(oldest)}, so none is still arriving`;
    return { status: 'pass', numbers: { hours: 0 }, threshold, message };
  }
  const hours = forecastHours(table, { seasonMs: season, backs });
  const [lowest] = hours.toSorted((a, b) => a.ratio - b.ratio);
  if (lowest === undefined) return nothingToCompare({ table, backs, season, threshold });
  const z = -limitFor(minZ, hours.length);
  const short = hours.filter((hour) => hour.ratio < minRatio && hour.z < z);
  const numbers: Finding['numbers'] = {
    hours: hours.length,
    short: short.length,
    lowestRatio: lowest.ratio,
    lowestZ: lowest.z,
    lowestAgeMs: table.ageMs(lowest.back),
    lowestStartMs: lowest.hour.startMs,
  };
  curveOf(table)?.forEach((share, age) => {
    numbers[`arrivedWithin.${span(ARRIVAL_AGES_MS[age] ?? 0).replace(' ', '')}`] = share;
  });
  if (short.length > 0) {
    return {
      status: 'block',
      numbers,
      threshold,
      message:
        `${hoursTold(short)} at their age: at least ${ratio(minRatio)} expected of what has normally arrived by then. ` +
        'Look at what ships the log; the next snapshot passes once the rest is in',
    };
  }
  return {
    status: 'pass',
    numbers,
    threshold,
    message:
      `${whole(hours.length)} hours of the newest ${span(oldest)} have arrived as earlier ones did; the lowest, ${hourName(lowest.hour.startMs)}, ` +
      `${span(table.ageMs(lowest.back))} after its end, holds ${ratio(lowest.ratio)} of what is expected by then, at least ${ratio(minRatio)} expected`,
  };
}
