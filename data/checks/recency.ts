import { z } from 'zod';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { ratio, span, whole } from './wording.ts';

/**
 * The newest stretch is not nearly empty: the recent window's share of the fresh rows of the newest two recent windows,
 * before replay. Older fresh rows are left out, so that a long window after missed cycles is not held against its end.
 */
export async function checkRecency({ config, manifest, db }: CheckContext): Promise<Finding> {
  const { recentWindow, minRecentFraction } = config.checks.freshness;
  const since = (windows: number): string => String(manifest.cutoffMs - windows * recentWindow);
  const { recent, compared } =
    freshRows(manifest) === 0
      ? { recent: 0, compared: 0 }
      : await db.row(
          `SELECT count(*) FILTER (event_time_ms > ${since(1)}) AS recent, count(*) FILTER (event_time_ms > ${since(2)}) AS compared FROM fresh`,
          z.object({ recent: z.number().int(), compared: z.number().int() }),
        );
  const fraction = compared === 0 ? null : recent / compared;
  const enough = fraction !== null && fraction >= minRecentFraction;
  const found =
    fraction === null
      ? `the newest ${span(2 * recentWindow)} before the cutoff hold no fresh rows`
      : `the newest ${span(recentWindow)} hold ${whole(recent)} of the ${whole(compared)} fresh rows of the newest ${span(2 * recentWindow)}: ${ratio(fraction)} of them`;
  return {
    status: enough ? 'pass' : 'block',
    numbers: { recent, compared, fraction },
    threshold: { recentWindow, minRecentFraction },
    message:
      `${found}, at least ${ratio(minRecentFraction)} expected` +
      (enough ? '' : ': the newest stretch is missing or was not loaded'),
  };
}
