import type { Feature } from '../../config/schema.ts';
import { quantile } from '../../policy/statistics.ts';
import { numericSample, type NumericProfile } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { compareFeatures, NOISE, riseInErrors, type FeaturePair, type Judgement } from './feature-comparison.ts';
import { ratio } from './wording.ts';

/** Fences of fewer values than this would be guesses. */
const MIN_VALUES = 50;
/** Fences lie this many times as far from the median again; further on a logarithmic scale, where heavy tails are short. */
const WIDEN = 2;
const WIDEN_LOG = 3;
/** Values on each side that the fences' quantiles leave out at least, so that one of them moves no fence. */
const LEFT_OUT = 10;
/** A value beyond even the logarithmic fences and this many standard deviations off is named, though it changes nothing. */
const FAR = 20;

interface Limits {
  maxShare: number;
  maxSpread: number;
}

/**
 * Numbers lie where they did: hardly more of them beyond wide fences around the reference's range, none negative where none
 * was, and none so far off that standardising would squeeze all others together (the deviation, in the scale in which
 * the feature trains, grows at most `maxSpread` fold). A few far values that do no harm are named. Quantiles and a
 * trimmed deviation keep an outlier in the reference from hiding new ones. The fences move with the median.
 */
export function checkOutliers(context: CheckContext): Finding {
  const { maxShare, maxSpread } = context.config.checks.outliers;
  return compareFeatures(context, {
    threshold: { maxShare, maxSpread },
    kind: 'numeric',
    judge: (pair) => judge(pair, { maxShare, maxSpread }),
    expected: `at most ${ratio(maxShare)} more of them and ${ratio(maxSpread)} times the deviation`,
    advice:
      'look at the rows with these values and at what writes them, or declare what is possible in expect.min and expect.max',
  });
}

function judge({ feature, now, before, column, columnBefore }: FeaturePair, limits: Limits): Judgement | null {
  const values = scaled(numericSample(now, feature.name), feature);
  const valuesBefore = scaled(numericSample(before, feature.name), feature);
  if (valuesBefore.length < MIN_VALUES || values.length === 0) return null;
  const fences = fencesOf(valuesBefore, WIDEN);
  // A range that moves as a whole, as the age of a catalogue does, is drift: an outlier lies far from the others of its day.
  const moved = quantile(values, 0.5) - quantile(valuesBefore, 0.5);
  const here = { low: fences.low + moved, high: fences.high + moved };
  const beyond = { hits: countBeyond(values, here), rows: values.length };
  const beyondBefore = { hits: countBeyond(valuesBefore, fences), rows: valuesBefore.length };
  const share = beyond.hits / beyond.rows;
  const rise = share - beyondBefore.hits / beyondBefore.rows;

  const { min, max } = column as NumericProfile;
  const wasNegative = ((columnBefore as NumericProfile).min ?? 0) < 0;
  const negative = { hits: wasNegative ? 0 : values.filter((value) => value < 0).length, rows: values.length };

  const { centre, deviation } = trimmed(valuesBefore);
  const spread = deviation > 0 ? deviationOf(column as NumericProfile, values, feature) / deviation : 1;
  const ends = [min ?? 0, max ?? 0].map((value) => ({ value, far: Math.abs(scale(value, feature) - centre) }));
  const extreme = ends.reduce((a, b) => (b.far > a.far ? b : a));
  const far = deviation > 0 ? extreme.far / deviation : extreme.far > 0 ? Infinity : 0;
  // A heavy tail has far values by nature: only one that is far by order of magnitude too is a fault.
  const logFences = fencesOf(numericSample(before, feature.name).map(signedLog), WIDEN_LOG);
  const absurd = ends.some(({ value }) => signedLog(value) < logFences.low || signedLog(value) > logFences.high);

  const many = rise > limits.maxShare && riseInErrors(beyond, beyondBefore) > NOISE;
  const manyNegative = negative.hits / negative.rows > limits.maxShare;
  const squeezed = absurd && !(spread <= limits.maxSpread);
  const odd = (absurd && far > FAR) || (!wasNegative && (min ?? 0) < 0);
  return {
    status: many || manyNegative || squeezed ? 'block' : odd ? 'warn' : 'pass',
    effect: Math.max(rise / limits.maxShare, spread / limits.maxSpread),
    numbers: { beyond: share, beyondRise: rise, spread, extreme: extreme.value },
    says:
      `"${feature.name}" goes up to ${shown(max)} and down to ${shown(min)}: ${ratio(share)} of its values lie far outside the range before, ` +
      (deviation > 0 ? `its deviation is ${ratio(spread)} times what it was` : 'nearly all were one value before') +
      (negative.hits > 0 || (!wasNegative && (min ?? 0) < 0) ? ', and negative values are new' : ''),
  };
}

/** The scale in which the feature trains. */
function scale(value: number, feature: Feature): number {
  const log = feature.kind === 'numeric' && feature.transform === 'log1p';
  return log ? signedLog(value) : value;
}

function signedLog(value: number): number {
  return Math.sign(value) * Math.log1p(Math.abs(value));
}

function scaled(ascending: Float64Array, feature: Feature): Float64Array {
  return ascending.map((value) => scale(value, feature));
}

/** Each side by itself: a few zeros far below a narrow range must not move the upper fence. */
function fencesOf(ascending: Float64Array, widen: number): { low: number; high: number } {
  const tail = Math.min(0.25, Math.max(0.001, LEFT_OUT / ascending.length));
  const [low, median, high] = [tail, 0.5, 1 - tail].map((p) => quantile(ascending, p)) as [number, number, number];
  const width = high > low ? high - low : Math.max(1, Math.abs(high));
  const side = (distance: number): number => (distance > 0 ? distance : width);
  return { low: low - widen * side(median - low), high: high + widen * side(high - median) };
}

function countBeyond(values: Float64Array, { low, high }: { low: number; high: number }): number {
  return values.reduce((count, value) => count + (value < low || value > high ? 1 : 0), 0);
}

/** Median, and the deviation of what is left without the most extreme values on each side. */
function trimmed(ascending: Float64Array): { centre: number; deviation: number } {
  const cut = Math.min(Math.max(3, Math.ceil(0.0005 * ascending.length)), Math.floor(ascending.length / 4));
  return {
    centre: quantile(ascending, 0.5),
    deviation: standardDeviation(ascending.subarray(cut, ascending.length - cut)),
  };
}

/**
 * Standard deviation of all rows in the scale in which they train: exact where that is their own; with log1p of the sample,
 * and the exact smallest and largest value besides, which the sample may lack.
 */
function deviationOf(column: NumericProfile, values: Float64Array, feature: Feature): number {
  const log = feature.kind === 'numeric' && feature.transform === 'log1p';
  if (!log) return Math.sqrt((column.m2 ?? Number.NaN) / column.count);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const ends = [column.min ?? Number.NaN, column.max ?? Number.NaN].map((value) => (scale(value, feature) - mean) ** 2);
  const largest = Math.max(...ends) / column.count;
  return Math.max(standardDeviation(values), Math.sqrt(standardDeviation(values.subarray(1, -1)) ** 2 + largest));
}

function standardDeviation(values: Float64Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

function shown(value: number | null): string {
  return value === null ? 'nothing' : String(Number(value.toPrecision(4)));
}
