import { quantile } from '../../policy/statistics.ts';
import { baselineHours } from './baseline-hours.ts';
import type { CheckContext, Finding } from './check.ts';
import { hourTable, hourName, type HourlyRow } from './hours.ts';
import { ratio, whole } from './wording.ts';

/** Earlier hours that make a level. */
const LEAST = 6;
const USUAL = 0.9;
/** Standard deviations that a count of repeats lies above the limit. */
const MIN_Z = 2;

/**
 * No stretch was loaded twice: the share of repeated rows (by impression id, or by user, item and time) does not jump over
 * that of earlier hours. A steady level of repeats, as from delivery at least once, may be: they are removed.
 */
export function checkDuplicates(context: CheckContext): Finding {
  const { config, manifest } = context;
  const { maxIncrease, maxWithoutHistory } = config.checks.duplicates;
  const table = hourTable(manifest);
  // A history of less than two hours has no whole one: then all of it is looked at.
  const inWindow = table.window.length > 0 ? table.window.map((back) => table.at(back)) : manifest.source.hourly;
  const hours = inWindow.filter((hour) => loaded(hour) > 0);
  const baseline = baselineHours(context, { beforeMs: manifest.windowStartMs, least: LEAST });
  const usual =
    baseline === null
      ? null
      : quantile(
          baseline.hours.map(shareOf).toSorted((a, b) => a - b),
          USUAL,
        );
  const limit = usual === null ? maxWithoutHistory : Math.min(0.95, usual + maxIncrease);
  const threshold = { maxIncrease, maxWithoutHistory };

  const total = hours.reduce((sum, hour) => sum + loaded(hour), 0);
  const repeated = hours.reduce((sum, { duplicates }) => sum + duplicates, 0);
  const highest = hours.toSorted((a, b) => shareOf(b) - shareOf(a))[0];
  const doubled = hours.filter((hour) => above({ repeated: hour.duplicates, of: loaded(hour), limit }));
  const { byId, byKey } = manifest.source.repeats;
  const numbers = {
    ...{ repeated, of: total, share: total === 0 ? null : repeated / total },
    ...{ highestShare: highest === undefined ? null : shareOf(highest), usualShare: usual, limit, byId, byKey },
  };
  const compared =
    usual === null
      ? `at most ${ratio(limit)} expected while there is no history`
      : `at most ${ratio(limit)} expected: nine in ten earlier hours have up to ${ratio(usual)}`;
  if (highest === undefined) {
    const message = `the fresh window's hours hold no rows, so none repeat`;
    return { status: 'pass', numbers, threshold, message };
  }
  if (doubled.length > 0 || above({ repeated, of: total, limit })) {
    return {
      status: 'block',
      numbers,
      threshold,
      message:
        `${whole(repeated)} of ${whole(total)} rows of the fresh window repeat others, up to ${ratio(shareOf(highest))} of an hour ` +
        `(${hourName(highest.startMs)}), ${compared}. A stretch was most likely loaded twice: repeats by key under new ids are ` +
        `${whole(byKey)}, of the same id ${whole(byId)}. Remove the second load; if the source repeats rows from now on, silence "duplicates" until its history shows it`,
    };
  }
  return {
    status: 'pass',
    numbers,
    threshold,
    message: `${whole(repeated)} of ${whole(total)} rows of the fresh window repeat others and were removed, up to ${ratio(shareOf(highest))} of an hour, ${compared}`,
  };
}

function loaded({ rows, duplicates }: HourlyRow): number {
  return rows + duplicates;
}

function shareOf(hour: HourlyRow): number {
  return loaded(hour) === 0 ? 0 : hour.duplicates / loaded(hour);
}

function above({ repeated, of, limit }: { repeated: number; of: number; limit: number }): boolean {
  return repeated - of * limit > MIN_Z * Math.sqrt(of * limit * (1 - limit));
}
