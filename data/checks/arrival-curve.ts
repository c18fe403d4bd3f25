import { quantile } from '../../policy/statistics.ts';
import { ARRIVAL_AGES_MS } from '../snapshot-manifest.ts';
import type { HourTable } from './hours.ts';

/** Hours whose arrival is known make a curve. */
const MIN_HOURS = 6;
/** An hour came in as it happened when this share of it arrived within the longest age of the curve. */
const REGULAR = 0.9;
/** Of the earlier hours, one in ten may have arrived more slowly. */
const SLOWEST = 0.1;

/**
 * The share of an hour's rows that has normally arrived by now, by the arrival of earlier hours (the slowest but one in
 * ten); 1 for an hour older than the curve. Where earlier hours did not arrive as they happened (a log that was loaded at
 * once, a lake that takes days) it is 1 for an hour older than twice the usual lag, else 0: nothing is known.
 */
export function normalShareAt(table: HourTable, back: number): number {
  const ageMs = table.ageMs(back);
  const curve = curveOf(table);
  const age = ARRIVAL_AGES_MS.findLastIndex((known) => known <= ageMs);
  if (curve !== null) return ageMs >= (ARRIVAL_AGES_MS.at(-1) ?? 0) ? 1 : (curve[age] ?? 0);
  const lagMs = usualLag(table);
  return lagMs !== null && ageMs >= 2 * lagMs ? 1 : 0;
}

const curves = new WeakMap<HourTable, readonly number[] | null>();

/** By age; null when too few hours came in regularly. */
export function curveOf(table: HourTable): readonly number[] | null {
  const known = curves.get(table);
  if (known !== undefined) return known;
  const curve = measureCurve(table);
  curves.set(table, curve);
  return curve;
}

function measureCurve(table: HourTable): readonly number[] | null {
  const longest = ARRIVAL_AGES_MS.at(-1) ?? 0;
  const shares: number[][] = [];
  for (let back = 0; back < table.known; back += 1) {
    const { rows, arrivedWithin } = table.at(back);
    if (rows === 0 || table.ageMs(back) < longest) continue;
    const curve = arrivedWithin.map((arrived) => arrived / rows);
    if ((curve.at(-1) ?? 0) >= REGULAR) shares.push(curve);
  }
  if (shares.length < MIN_HOURS) return null;
  return ARRIVAL_AGES_MS.map((_, age) =>
    quantile(
      shares.map((curve) => curve[age] ?? 0).toSorted((a, b) => a - b),
      SLOWEST,
    ),
  );
}

/** The median over the newest hours of the time in which nearly all of an hour's rows arrived. */
function usualLag(table: HourTable): number | null {
  const lags: number[] = [];
  for (let back = table.newest; back < table.known && lags.length < 12; back += 1) {
    const { lagP95Ms } = table.at(back);
    if (lagP95Ms !== null) lags.push(lagP95Ms);
  }
  return lags.length === 0
    ? null
    : quantile(
        lags.toSorted((a, b) => a - b),
        0.5,
      );
}
