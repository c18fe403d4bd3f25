import type { CheckContext, Finding } from './check.ts';
import { ratio, season as seasonName, span, whole } from './wording.ts';

/** Rows and rows before differ beyond chance when their square roots lie so many standard deviations apart (Anscombe 1948). */
const MIN_Z = 3;

/**
 * As many rows came in lately as one season back, in the same phase: what finds a table that is only partly loaded. Reads
 * the source's counts, without repeated rows, as they were when the snapshot was taken.
 */
export function checkVolume({ config, manifest }: CheckContext): Finding {
  const { minRatio, maxRatio } = config.checks.volume;
  const { recentWindow } = config.checks.freshness;
  const { season } = config.snapshot;
  const { recent, recentSeasonBack, firstEventMs } = manifest.source;
  const threshold = { minRatio, maxRatio };
  const back = `${seasonName(season)} before`;
  const baselineStartMs = manifest.cutoffMs - season - recentWindow;
  if (firstEventMs === null || firstEventMs > baselineStartMs) {
    const historyMs = firstEventMs === null ? 0 : Math.max(0, manifest.cutoffMs - firstEventMs);
    return {
      status: 'notApplicable',
      numbers: { recent, historyMs },
      threshold,
      message:
        `the newest ${span(recentWindow)} hold ${whole(recent)} rows; the source's ${span(historyMs)} of history do not yet reach ` +
        `back to the same hours ${back}, ${span(season + recentWindow)} are needed`,
    };
  }
  const found = recentSeasonBack === 0 ? null : recent / recentSeasonBack;
  const numbers = { recent, recentSeasonBack, ratio: found };
  const compared = `the newest ${span(recentWindow)} hold ${whole(recent)} rows, the same hours ${back} ${whole(recentSeasonBack)}`;
  if (found === null) {
    return {
      status: 'block',
      numbers,
      threshold,
      message: `${compared}: there is nothing to compare with. If the source was down then, silence "volume" until the next season`,
    };
  }
  const chance = Math.abs(Math.sqrt(recent + 0.375) - Math.sqrt(recentSeasonBack + 0.375)) < MIN_Z / Math.SQRT2;
  if (chance && (found < minRatio || found > maxRatio)) {
    return {
      status: 'pass',
      numbers,
      threshold,
      message: `${compared}: ${ratio(found)} of it, from ${ratio(minRatio)} to ${ratio(maxRatio)} expected, but so few rows vary by as much`,
    };
  }
  if (found < minRatio) {
    return {
      status: 'block',
      numbers,
      threshold,
      message:
        `${compared}: ${ratio(found)} of it, at least ${ratio(minRatio)} expected; the newest stretch is most likely only partly ` +
        'loaded. Look at what ships the log; rows that arrive later are in the next snapshot',
    };
  }
  if (found > maxRatio) {
    return {
      status: 'block',
      numbers,
      threshold,
      message:
        `${compared}: ${ratio(found)} times it, at most ${ratio(maxRatio)} expected; rows may be written more than once under new ` +
        'ids, or the stretch of the season before was only partly loaded',
    };
  }
  return {
    status: 'pass',
    numbers,
    threshold,
    message: `${compared}: ${ratio(found)} of it, from ${ratio(minRatio)} to ${ratio(maxRatio)} expected`,
  };
}
