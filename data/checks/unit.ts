import { quantile } from '../../policy/statistics.ts';
import { numericSample } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { compareFeatures, type FeaturePair, type Judgement } from './feature-comparison.ts';
import { ratio } from './wording.ts';

/** Fewer values than this have no shape to recognise. */
const MIN_VALUES = 50;
/**
 * The Kolmogorov-Smirnov distance of two samples of one distribution exceeds 1.95 times sqrt(1/n + 1/m) once in 1,000. Rows
 * of one user come together and weigh less, so more is asked for.
 */
const CERTAIN = 3;
/** It exceeds this times it once in 10: what remains after the scale is undone may be that large. */
const USUAL = 1.2;
/** Share of the distance that may remain after the scale is undone. */
const UNEXPLAINED = 0.2;
/** Of a wide distribution a part that moved by less than this looks like drift. */
const MIN_PARTIAL_FACTOR = 10;
const WHOLE = 0.9;
/** Quantiles whose ratios differ by less than this share of the factor (on a logarithmic scale) agree on it. */
const ROUGHLY = 0.15;
/** A factor this close to a known one is it. */
const NEAR = 0.1;
const GRID = 200;

/** What a factor most likely means; its inverse means the opposite. */
const UNITS: [factor: number, up: string, down: string][] = [
  [
    1000,
    'thousandths of the unit before (milliseconds for seconds, metres for kilometres)',
    'thousands of the unit before (seconds for milliseconds)',
  ],
  [
    1e6,
    'millionths of the unit before (microseconds for seconds)',
    'millions of the unit before (seconds for microseconds)',
  ],
  [
    1e9,
    'billionths of the unit before (nanoseconds for seconds)',
    'billions of the unit before (seconds for nanoseconds)',
  ],
  [60, 'seconds for minutes, or minutes for hours', 'minutes for seconds, or hours for minutes'],
  [3600, 'seconds for hours', 'hours for seconds'],
  [60_000, 'milliseconds for minutes', 'minutes for milliseconds'],
  [3_600_000, 'milliseconds for hours', 'hours for milliseconds'],
  [24, 'hours for days', 'days for hours'],
  [1440, 'minutes for days', 'days for minutes'],
  [86_400, 'seconds for days', 'days for seconds'],
  [86_400_000, 'milliseconds for days', 'days for milliseconds'],
  [7, 'days for weeks', 'weeks for days'],
  [
    100,
    'hundredths of the unit before (cents for euros, per cent for shares)',
    'hundreds of the unit before (euros for cents, shares for per cent)',
  ],
  [10, 'tenths of the unit before', 'tens of the unit before'],
  [1024, 'bytes for KiB', 'KiB for bytes'],
];

interface Limits {
  minFactor: number;
  minShare: number;
}

/** The distribution as the one before with a share of its values multiplied by a factor. */
interface Fit {
  factor: number;
  share: number;
  /** Largest difference of the distribution functions that is left. */
  distance: number;
}

/**
 * No number changed its scale: the distribution is not that of before with all of its values, or a share of them,
 * multiplied by one factor. Tells seconds for milliseconds from drift, which does not fit a factor.
 */
export function checkUnit(context: CheckContext): Finding {
  const { minFactor, minShare } = context.config.checks.unit;
  return compareFeatures(context, {
    threshold: { minFactor, minShare },
    kind: 'numeric',
    judge: (pair) => judge(pair, { minFactor, minShare }),
    expected: `the scale of before (a factor below ${ratio(minFactor)}, or of less than ${ratio(minShare)} of the values)`,
    advice: 'its unit changed upstream; undo it there, or give the feature a new name',
  });
}

function judge({ feature, now, before }: FeaturePair, limits: Limits): Judgement | null {
  const values = numericSample(now, feature.name);
  const valuesBefore = numericSample(before, feature.name);
  if (Math.min(values.length, valuesBefore.length) < MIN_VALUES) return null;
  const error = Math.sqrt(1 / values.length + 1 / valuesBefore.length);
  const moved = distanceBetween(values, valuesBefore);
  const whole = factorOfQuantiles(values, valuesBefore);
  const medians = `"${feature.name}" has a median of ${shown(quantile(values, 0.5))}, ${shown(quantile(valuesBefore, 0.5))} before`;
  const same: Judgement = { status: 'pass', effect: moved, numbers: { distance: moved }, says: medians };
  if (moved < CERTAIN * error || moved < limits.minShare / 2) return same;

  const factors = UNITS.flatMap(([factor]) => [factor, 1 / factor]);
  const fits = [...(whole === null ? [] : [whole.factor]), ...factors]
    .filter((factor) => Math.max(factor, 1 / factor) >= limits.minFactor)
    .map((factor) => fitOf(values, valuesBefore, factor));
  const [closest] = fits
    .filter(({ factor, share }) => share >= WHOLE || Math.max(factor, 1 / factor) >= MIN_PARTIAL_FACTOR)
    .toSorted((a, b) => a.distance - b.distance);
  const explained =
    closest !== undefined &&
    closest.share >= limits.minShare &&
    closest.distance <= Math.max(UNEXPLAINED * moved, USUAL * error);
  // Values that also moved a little, such as an age that grows by the day, fit a factor only roughly.
  const roughly =
    whole !== null &&
    Math.abs(Math.log(whole.factor)) >= Math.log(limits.minFactor) &&
    whole.spread <= ROUGHLY * Math.abs(Math.log(whole.factor)) &&
    values[0] !== values.at(-1);
  const best = explained ? closest : roughly ? { factor: whole.factor, share: 1, distance: moved } : null;
  if (best === null) return same;
  return {
    status: 'block',
    // Of a counter that grows from nothing a part looks scaled, too.
    soft: best.share <= 0.95,
    effect: 1 + best.share,
    numbers: { distance: moved, factor: best.factor, scaledShare: best.share, distanceLeft: best.distance },
    says: `${medians}: ${best.share > 0.95 ? 'its values are' : `${ratio(best.share)} of its values are`} ${shown(best.factor)} times what they were${meaningOf(best.factor)}`,
  };
}

/** The share of values that the factor must have multiplied, by least squares on the distribution functions, and what it leaves. */
function fitOf(values: Float64Array, before: Float64Array, factor: number): Fit {
  const points = [...gridOf(values), ...gridOf(before), ...gridOf(before).map((value) => value * factor)];
  const curves = points.map((point) => {
    const plain = shareUpTo(before, point);
    return { found: shareUpTo(values, point) - plain, scaled: shareUpTo(before, point / factor) - plain };
  });
  const norm = curves.reduce((sum, { scaled }) => sum + scaled * scaled, 0);
  const product = curves.reduce((sum, { found, scaled }) => sum + found * scaled, 0);
  const share = norm === 0 ? 0 : Math.min(1, Math.max(0, product / norm));
  const distance = curves.reduce((worst, { found, scaled }) => Math.max(worst, Math.abs(found - share * scaled)), 0);
  return { factor, share, distance };
}

/** The median ratio of the deciles of the non-zero values, and how far these ratios lie apart, in logarithms; null without such values. */
function factorOfQuantiles(values: Float64Array, before: Float64Array): { factor: number; spread: number } | null {
  const magnitudes = (list: Float64Array): Float64Array =>
    list
      .filter((value) => value !== 0)
      .map(Math.abs)
      .sort();
  const [now, then] = [magnitudes(values), magnitudes(before)];
  if (now.length === 0 || then.length === 0) return null;
  const logs = Float64Array.from({ length: 9 }, (_, decile) => {
    const p = (decile + 1) / 10;
    return Math.log(quantile(now, p) / quantile(then, p));
  }).sort();
  return { factor: Math.exp(quantile(logs, 0.5)), spread: quantile(logs, 1) - quantile(logs, 0) };
}

function distanceBetween(a: Float64Array, b: Float64Array): number {
  const points = [...gridOf(a), ...gridOf(b)];
  return points.reduce((worst, point) => Math.max(worst, Math.abs(shareUpTo(a, point) - shareUpTo(b, point))), 0);
}

function gridOf(ascending: Float64Array): number[] {
  return Array.from({ length: GRID }, (_, step) => {
    const index = Math.floor(((step + 0.5) / GRID) * ascending.length);
    return ascending[index] ?? Number.NaN;
  });
}

/** Share of values up to a point; rounding of a scaled point must not push it below the value it came from. */
function shareUpTo(ascending: Float64Array, point: number): number {
  const limit = point + Math.abs(point) * 1e-6;
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? Infinity) <= limit) low = middle + 1;
    else high = middle;
  }
  return low / ascending.length;
}

function meaningOf(factor: number): string {
  for (const [known, up, down] of UNITS) {
    if (Math.abs(factor / known - 1) < NEAR) return `, most likely ${up}`;
    if (Math.abs(factor * known - 1) < NEAR) return `, most likely ${down}`;
  }
  return '';
}

function shown(value: number): string {
  return String(Number(value.toPrecision(3)));
}
