import { quantile } from '../../policy/statistics.ts';
import type { HourlyRow, HourTable } from './hours.ts';
import { HOUR_MS } from './hours.ts';
import { normalShareAt } from './arrival-curve.ts';

/** Hours on either side of an hour that tell today's level. */
const NEIGHBOURS = 3;
/** Relative spread of hours besides counting noise: believed as much as this many hours of history (0.15 on KuaiRand). */
const PRIOR_SPREAD = 0.15;
const PRIOR_HOURS = 24;
const MIN_SPREAD = 0.08;
const WEEK_HOURS = 168;
/** Variance of a median over that of a mean. */
const MEDIAN_VARIANCE = Math.PI / 2;

/** What an hour, or a stretch of hours, should hold. */
export interface Forecast {
  hour: HourlyRow;
  back: number;
  found: number;
  /** The seasons before at the level of the hours around, and the share of it that has normally arrived by now. */
  expected: number;
  ratio: number;
  /** Standard deviations of the counts that `found` lies above `expected`. */
  z: number;
}

interface Shape {
  /** The same phase in other seasons: their median and how many; null where there is none, or no rows in it. */
  of: (back: number) => { rows: number; seasons: number } | null;
}

/**
 * Forecasts each hour by the median of the same phase in the seasons before (after, where history begins with it) times
 * the level of the hours around it; where the same weekday is known, by that too, and the kinder of the two counts. An
 * hour without a season to compare with, or of which nobody knows what has arrived by now, is left out.
 *
 * The spread is counting noise (square roots of counts, Anscombe 1948) and what earlier hours vary beyond it, estimated
 * by the median absolute deviation of their own forecasts.
 */
export function forecastHours(table: HourTable, input: { seasonMs: number; backs: readonly number[] }): Forecast[] {
  const models = shapesOf(table, input.seasonMs).map((shape) => modelOf(table, { shape, judged: input.backs }));
  return input.backs.flatMap((back) => {
    const found = models.map((model) => model(back)).filter((forecast) => forecast !== null);
    const kindest = found.toSorted((a, b) => b.z - a.z)[0];
    return kindest === undefined ? [] : [kindest];
  });
}

/**
 * Forecasts a stretch of hours as one by the level of the twelve hours before it, so that it is found, too, when all of it is
 * half loaded. Null without three such hours, or when nobody knows what of it has arrived by now.
 *
 * @param input.newest the newest hour of the stretch, counted from the cutoff backwards.
 */
export function forecastStretch(
  table: HourTable,
  input: { seasonMs: number; newest: number; hours: number },
): { found: number; expected: number; ratio: number; z: number } | null {
  const [shape] = shapesOf(table, input.seasonMs);
  if (shape === undefined) return null;
  const ratio = ratioOf(table, shape);
  const backs = Array.from({ length: input.hours }, (_, i) => input.newest + i);
  const before = Array.from({ length: 12 }, (_, i) => ratio(input.newest + input.hours + i)).filter(
    (value) => value !== null,
  );
  const shapes = backs.map((back) => shape.of(back));
  if (before.length < NEIGHBOURS || shapes.includes(null)) return null;
  const level = median(before);
  const seasons = Math.min(...shapes.map((found) => found?.seasons ?? 0));
  const usual = shapes.reduce((sum, found, i) => sum + (found?.rows ?? 0) * normalShareAt(table, input.newest + i), 0);
  if (usual === 0) return null;
  const found = backs.reduce((sum, back) => sum + table.at(back).rows, 0);
  const expected = usual * level;
  const z = deviation({ found, expected, usual, seasons, spread: PRIOR_SPREAD });
  return { found, expected, ratio: found / expected, z };
}

/** A limit on z for one look, for as many hours as are looked at: the tail grows as exp(-z^2 / 2). */
export function limitFor(minZ: number, hours: number): number {
  return Math.sqrt(minZ * minZ + 2 * Math.log(Math.max(1, hours / 4)));
}

function shapesOf(table: HourTable, seasonMs: number): Shape[] {
  const step = seasonHours(seasonMs);
  const others = (back: number): number[] => {
    const before: number[] = [];
    for (let k = back + step; k < table.known; k += step) before.push(k);
    if (before.length > 0) return before;
    const after: number[] = [];
    for (let k = back - step; k >= 0; k -= step) after.push(k);
    return after;
  };
  const shapeOf = (phase: (back: number) => number[]): Shape => ({
    of: (back) => {
      const counts = phase(back).map((other) => table.at(other).rows);
      const rows = median(counts);
      return rows > 0 ? { rows, seasons: counts.length } : null;
    },
  });
  const seasons = shapeOf(others);
  if (step !== 24) return [seasons];
  return [seasons, shapeOf((back) => (back + WEEK_HOURS < table.known ? [back + WEEK_HOURS] : []))];
}

/** A season as whole hours: the first multiple of it that is. */
export function seasonHours(seasonMs: number): number {
  for (let k = 1; k <= 60; k += 1) if ((k * seasonMs) % HOUR_MS === 0) return (k * seasonMs) / HOUR_MS;
  return Math.max(1, Math.round(seasonMs / HOUR_MS));
}

function ratioOf(table: HourTable, shape: Shape): (back: number) => number | null {
  return (back) => {
    if (back < table.newest || back >= table.known) return null;
    const usual = shape.of(back);
    const share = normalShareAt(table, back);
    return usual === null || share < 0.5 ? null : table.at(back).rows / (usual.rows * share);
  };
}

function modelOf(
  table: HourTable,
  { shape, judged }: { shape: Shape; judged: readonly number[] },
): (back: number) => Forecast | null {
  const ratio = ratioOf(table, shape);
  const levelAt = (back: number): number => {
    const around: number[] = [];
    for (let d = 1; d <= NEIGHBOURS; d += 1) {
      for (const other of [ratio(back + d), ratio(back - d)]) if (other !== null) around.push(other);
    }
    const level = around.length < NEIGHBOURS ? 1 : median(around);
    return level > 0 ? level : 1;
  };
  const expect = (back: number) => {
    const usual = shape.of(back);
    if (usual === null) return null;
    const share = normalShareAt(table, back);
    if (share === 0) return null;
    return { found: table.at(back).rows, usual: usual.rows, expected: usual.rows * levelAt(back) * share, ...usual };
  };
  const residuals = (of: (back: number) => boolean): { residual: number; noise: number }[] =>
    Array.from({ length: table.known }, (_, back) => back).flatMap((back) => {
      const forecast = of(back) ? expect(back) : null;
      if (forecast === null) return [];
      const { found, expected, usual, seasons } = forecast;
      const residual = Math.log((found + 0.375) / (expected + 0.375));
      return [{ residual, noise: 1 / (expected + 0.375) + MEDIAN_VARIANCE / (usual * seasons) }];
    });
  const looked = new Set(judged);
  const history = residuals((back) => !looked.has(back));
  const spread = spreadOf(history.length >= PRIOR_HOURS / 2 ? history : residuals(() => true));
  return (back) => {
    const forecast = expect(back);
    if (forecast === null) return null;
    const { found, expected } = forecast;
    return {
      hour: table.at(back),
      back,
      found,
      expected,
      ratio: found / expected,
      z: deviation({ ...forecast, spread }),
    };
  };
}

function spreadOf(residuals: readonly { residual: number; noise: number }[]): number {
  const prior = PRIOR_SPREAD ** 2;
  if (residuals.length === 0) return PRIOR_SPREAD;
  const deviations = residuals.map(({ residual }) => Math.abs(residual));
  const beyondNoise = (1.4826 * median(deviations)) ** 2 - median(residuals.map(({ noise }) => noise));
  const weighed =
    (Math.max(0, beyondNoise) * residuals.length + prior * PRIOR_HOURS) / (residuals.length + PRIOR_HOURS);
  return Math.sqrt(Math.max(MIN_SPREAD ** 2, weighed));
}

/** Of square roots of counts, whose variance is 1/4 for Poisson counts, plus what the expectation itself varies. */
function deviation(input: { found: number; expected: number; usual: number; seasons: number; spread: number }): number {
  const { found, expected, usual, seasons, spread } = input;
  const relative = spread * spread + MEDIAN_VARIANCE / (usual * seasons);
  return (2 * (Math.sqrt(found + 0.375) - Math.sqrt(expected + 0.375))) / Math.sqrt(1 + expected * relative);
}

export function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}
