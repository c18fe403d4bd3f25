import type { CheckContext, Finding } from './check.ts';
import { normalShareAt } from './arrival-curve.ts';
import { HOUR_MS, hourTable, hourName, type HourTable } from './hours.ts';
import { forecastHours, forecastStretch, limitFor, seasonHours, type Forecast } from './volume-forecast.ts';
import { moment, ratio, season as seasonName, span, whole } from './wording.ts';

const TOLD = 4;

/**
 * No hour of the fresh window is missing or only partly loaded: each against the same phase of the seasons before at the
 * level of the hours around it, and each recent window as a whole at the level of the hours before, so that a long snapshot
 * after missed cycles is judged as those would have been.
 */
export function checkVolumeHourly({ config, manifest }: CheckContext): Finding {
  const { minRatio, minZ } = config.checks.volumeHourly;
  const { season } = config.snapshot;
  const threshold = { minRatio, minZ };
  const table = hourTable(manifest);
  const hours = forecastHours(table, { seasonMs: season, backs: table.window });
  const [lowest] = hours.toSorted((a, b) => a.ratio - b.ratio);
  if (lowest === undefined) return nothingToCompare({ table, backs: table.window, season, threshold });

  const z = -limitFor(minZ, hours.length);
  const short = hours.filter((hour) => hour.ratio < minRatio && hour.z < z);
  const recentHours = Math.max(1, Math.round(config.checks.freshness.recentWindow / HOUR_MS));
  const length = Math.min(recentHours, table.window.length);
  const stretches = Array.from({ length: Math.floor(table.window.length / length) }, (_, i) => i * length).flatMap(
    (newest) => {
      const stretch = forecastStretch(table, { seasonMs: season, newest, hours: length });
      return stretch === null ? [] : [{ ...stretch, newest }];
    },
  );
  const [stretch] = stretches.toSorted((a, b) => a.ratio - b.ratio);
  const shortStretches = stretches.filter((found) => found.ratio < minRatio && found.z < -minZ).toReversed();
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
  if (short.length > 0 || shortStretches.length > 0) {
    const told: string[] = [];
    if (short.length > 0) told.push(hoursTold(short));
    for (const { newest, found, expected, ratio: share } of shortStretches.slice(0, TOLD)) {
      const fromMs = manifest.cutoffMs - (newest + length) * HOUR_MS;
      const which =
        newest === 0 ? `the newest ${span(length * HOUR_MS)}` : `the ${span(length * HOUR_MS)} from ${moment(fromMs)}`;
      told.push(
        `${which} hold ${whole(found)} of ${whole(expected)} rows expected at the level of the hours before (${ratio(share)})`,
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

/** Not applicable while history is shorter than a season, or where hours come in so late that their age says nothing. */
export function nothingToCompare(input: {
  table: HourTable;
  backs: readonly number[];
  season: number;
  threshold: Record<string, number>;
}): Finding {
  const { table, backs, season, threshold } = input;
  const { known } = table;
  const needed = seasonHours(season) + 1;
  const young = known < needed;
  const untold = backs.filter((back) => normalShareAt(table, back) === 0).length;
  const numbers = { historyHours: known };
  if (!young && untold > 0) {
    const message =
      `the source's hours do not come in as they happen, and ${whole(untold)} hours are younger than twice the time that they usually take: ` +
      'how full they are can not be told yet; "volume" compares the newest stretch as a whole';
    return { status: 'notApplicable', numbers: { ...numbers, untold }, threshold, message };
  }
  return {
    status: young ? 'notApplicable' : 'block',
    numbers,
    threshold,
    message: young
      ? `the source's ${whole(known)} h of history do not yet reach back to the same hour ${seasonName(season)} before, ${whole(needed)} h are needed`
      : `the source holds no rows in the same hours of the seasons before, so there is nothing to compare with; if it was down then, silence this check until the next season`,
  };
}
