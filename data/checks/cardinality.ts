import type { Feature } from '../../config/schema.ts';
import { categoricalSample, numericSample, type Profile } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { compareFeatures, type FeaturePair, type Judgement } from './feature-comparison.ts';
import { ratio, whole } from './wording.ts';

/** In fewer rows than this, distinct values are too few to compare. */
const MIN_ROWS = 50;
/** A change by fewer values than this is chance. */
const MIN_CHANGE = 5;
/** So is the absence of fewer repetitions. */
const MIN_REPEATS = 20;

interface Limits {
  maxGrowth: number;
  minRepeats: number;
  minKept: number;
}

/**
 * Features have about as many distinct values as before among equally many rows (users and items grow with the rows): more
 * are ids that got a suffix or a new source, far fewer are values that were cut or rounded. A feature that is nearly
 * distinct by nature can not have many times more values; there the rows that repeat a value must not vanish.
 */
export function checkCardinality(context: CheckContext): Finding {
  const { maxGrowth, minRepeats, minKept } = context.config.checks.cardinality;
  return compareFeatures(context, {
    threshold: { maxGrowth, minRepeats, minKept },
    judge: (pair) => judge(pair, { maxGrowth, minRepeats, minKept }),
    expected: `from ${ratio(minKept)} to ${ratio(maxGrowth)} times as many, and at least ${ratio(minRepeats)} of the repetitions`,
    advice: 'ids were given a suffix, cut or rounded upstream; look at some raw values',
  });
}

function judge({ feature, now, before }: FeaturePair, limits: Limits): Judgement | null {
  const counts = countsOf(now, feature);
  const countsBefore = countsOf(before, feature);
  const rows = Math.min(sum(counts), sum(countsBefore));
  if (rows < MIN_ROWS) return null;
  const distinct = expectedDistinct(counts, rows);
  const distinctBefore = expectedDistinct(countsBefore, rows);
  const growth = distinct / distinctBefore;
  const repeatsBefore = rows - distinctBefore;
  const repeats = (rows - distinct) / Math.max(1, repeatsBefore);
  // Numbers may become finer, as they do where a whole number becomes an average; ids may not.
  const exploded =
    feature.kind === 'categorical' &&
    distinct - distinctBefore > MIN_CHANGE &&
    (growth > limits.maxGrowth || (repeats < limits.minRepeats && repeatsBefore > MIN_REPEATS));
  const collapsed = growth < limits.minKept && distinctBefore - distinct > MIN_CHANGE;
  return {
    status: exploded || collapsed ? 'block' : 'pass',
    soft: true,
    effect: Math.max(growth, 1 / growth),
    numbers: { distinct, distinctBefore, repeatsKept: repeats },
    says: `"${feature.name}" has ${whole(distinct)} distinct values in ${whole(rows)} rows, ${whole(distinctBefore)} before`,
  };
}

/** How often each value occurs in the sample. */
export function countsOf(profile: Profile, { name, kind }: Feature): number[] {
  const values: Iterable<string | number | null> =
    kind === 'categorical' ? categoricalSample(profile, name) : numericSample(profile, name);
  const counts = new Map<string | number, number>();
  for (const value of values) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts.values()];
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

/**
 * Distinct values expected among `rows` rows drawn from those counted, without replacement: rarefaction (Hurlbert,
 * "The nonconcept of species diversity", Ecology 52, 1971).
 */
function expectedDistinct(counts: readonly number[], rows: number): number {
  const total = sum(counts);
  if (rows >= total) return counts.length;
  const logFactorial = new Float64Array(total + 1);
  for (let n = 1; n <= total; n += 1) logFactorial[n] = (logFactorial[n - 1] ?? 0) + Math.log(n);
  const log = (n: number): number => logFactorial[n] ?? 0;
  // ln of C(total - count, rows) / C(total, rows): the chance that none of a value's rows is drawn.
  const missed = (count: number): number =>
    total - count < rows
      ? 0
      : Math.exp(log(total - count) - log(total - count - rows) - log(total) + log(total - rows));
  return counts.reduce((distinct, count) => distinct + 1 - missed(count), 0);
}
