import { z } from 'zod';
import { freshRows, type CheckContext, type Finding } from './check.ts';
import { moment, span } from './wording.ts';

/**
 * The data goes up to the newest it could hold: the newest row of the snapshot against its cutoff (now minus the label
 * maturity), and the newest arrival at the source against now. Cycles that were missed do not matter here.
 */
export async function checkFreshness({ config, manifest, db }: CheckContext): Promise<Finding> {
  const { maxLag } = config.checks.freshness;
  const { cutoffMs, eventNowMs, source } = manifest;
  const newestRowMs =
    freshRows(manifest) === 0
      ? null
      : (await db.row('SELECT max(event_time_ms) AS newest FROM fresh', z.object({ newest: z.number().int() }))).newest;
  const rowLagMs = newestRowMs === null ? null : cutoffMs - newestRowMs;
  const arrivalLagMs = source.newestArrivalMs === null ? null : eventNowMs - source.newestArrivalMs;
  const fresh = rowLagMs !== null && rowLagMs <= maxLag && arrivalLagMs !== null && arrivalLagMs <= maxLag;
  const rows =
    rowLagMs === null
      ? `there is no labelled row before the cutoff ${moment(cutoffMs)}`
      : `the newest labelled row lies ${span(rowLagMs)} before the cutoff ${moment(cutoffMs)}`;
  const arrivals =
    arrivalLagMs === null
      ? 'nothing ever arrived at the source'
      : `the newest arrival at the source ${span(arrivalLagMs)} before ${moment(eventNowMs)}`;
  return {
    status: fresh ? 'pass' : 'block',
    numbers: { rowLagMs, arrivalLagMs, newestRowMs, newestArrivalMs: source.newestArrivalMs },
    threshold: { maxLag },
    message:
      `${rows} and ${arrivals}; at most ${span(maxLag)} expected for each` +
      (fresh ? '' : ': look for a gateway that stopped logging or a shipper that is stuck'),
  };
}
