import type { CheckContext, Finding } from './check.ts';
import { HOUR_MS, hourTable, hourName } from './hours.ts';
import { forecastHours, forecastStretch, limitFor, seasonHours, type Forecast } from './volume-forecast.ts';
import { ratio, season as seasonName, span, whole } from './wording.ts';

const TOLD = 4;

/**
 * No hour of the fresh window is missing or only partly loaded: each against the same phase of the seasons before at the
 * level of the hours around it, and the newest recent window as a whole at the level of the hours before.
 */
export function checkVolumeHourly({ config, manifest }: CheckContext): Finding {
  const { minRatio, minZ } = config.checks.volumeHourly;
  const { season } = config.snapshot;
  const threshold = { minRatio, minZ };
  const table = hourTable(manifest);
  const hours = forecastHours(table, { seasonMs: season, backs: table.window });
  const [lowest] = hours.toSorted((a, b) => a.ratio - b.ratio);
  if (lowest === undefined) return nothingToCompare({ known: table.known, season, threshold });

  const z = -limitFor(minZ, hours.length);
  const short = hours.filter((hour) => hour.ratio < minRatio && hour.z < z);
  const recentHours = Math.max(1, Math.round(config.checks.freshness.recentWindow / HOUR_MS));
  const stretch = forecastStretch(table, { seasonMs: season, hours: Math.min(recentHours, table.window.length) });
  const stretchShort = stretch !== null && stretch.ratio < minRatio && stretch.z < -minZ;
  const numbers: Finding['numbers'] = {
    hours: hours.length,
    short: short.length,
    lowestRatio: lowest.ratio,
    lowestZ: lowest.z,
    lowestFound: lowest.found,
    lowestExpected: lowest.expected,
    lowestStartMs: lowest.hour.startMs,
    stretchRatio: stretch?.ratio ?? null,
  };
  if (short.length > 0 || stretchShort) {
    const told: string[] = [];
    if (short.length > 0) told.push(hoursTold(short));
    if (stretchShort) {
      told.push(
        `the newest ${span(Math.min(recentHours, table.window.length) * HOUR_MS)} hold ${whole(stretch.found)} of ${whole(stretch.expected)} rows expected ` +
          `at the level of the hours before (${ratio(stretch.ratio)})`,
      );
    }
    return {
      status: 'block',
      numbers,
      threshold,
      message:
        `${told.join('; ')}: missing or only partly loaded, at least ${ratio(minRatio)} expected of what the seasons before say. ` +
        'Load the rest; if it is lost for good, silence "volume.hourly" until the window is past it',
    };
  }
  return {
    status: 'pass',
    numbers,
    threshold,
    message:
      `${whole(hours.length)} hours compared with the seasons before; the lowest, ${hourName(lowest.hour.startMs)}, holds ` +
      `${whole(lowest.found)} rows of ${whole(lowest.expected)} expected (${ratio(lowest.ratio)}), at least ${ratio(minRatio)} expected`,
  };
}

/** `2022-04-28 15:30 to 16:30 UTC has 412 of 820 rows expected (0.50)`, for the worst few. */
export function hoursTold(short: readonly Forecast[]): string {
  const worst = short.toSorted((a, b) => a.ratio - b.ratio).slice(0, TOLD);
  const told = worst
    .toSorted((a, b) => b.back - a.back)
    .map(
      ({ hour, found, expected, ratio: share }) =>
        `${hourName(hour.startMs)} has ${whole(found)} of ${whole(expected)} rows expected (${ratio(share)})`,
    );
  const more = short.length - worst.length;
  return told.join(', ') + (more > 0 ? ` and ${whole(more)} hours more` : '');
}

/** Not applicable only while history is shorter than a season. */
export function nothingToCompare(input: { known: number; season: number; threshold: Record<string, number> }): Finding {
  const { known, season, threshold } = input;
  const needed = seasonHours(season) + 1;
  const young = known < needed;
  return {
    status: young ? 'notApplicable' : 'block',
    numbers: { historyHours: known },
    threshold,
    message: young
      ? `the source's ${whole(known)} h of history do not yet reach back to the same hour ${seasonName(season)} before, ${whole(needed)} h are needed`
      : `the source holds no rows in the same hours of the seasons before, so there is nothing to compare with; if it was down then, silence this check until the next season`,
  };
}
