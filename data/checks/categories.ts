import type { Feature } from '../../config/schema.ts';
import { categoricalSample, categoryCounts, type CategoricalProfile, type Profile } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { compareFeatures, NOISE, type FeaturePair, type Judgement } from './feature-comparison.ts';
import { ratio } from './wording.ts';

/** With fewer rows of a known value expected than this, their absence is chance. */
const EXPECTED_KNOWN = 50;
/** Below this expected share of new rows, and with no more values than this, they are an enumeration in effect. */
const ENUMERATION = 0.02;
const ENUMERATED = 200;

interface Limits {
  maxNew: number;
  warnNew: number;
  minKnown: number;
}

/**
 * Rows have values that were there before. How many would have a new one anyway (users and items come and go) is estimated
 * from the reference alone: the share of its rows whose value it has once (Good, "The population frequencies of species",
 * Biometrika 40, 1953). Beyond that, an enumeration may have few new rows; of ids, rows with a known one must not
 * vanish, as they do when ids are encoded anew, and no new one may flood the rows.
 */
export function checkCategories(context: CheckContext): Finding {
  const { maxNew, warnNew, minKnown } = context.config.checks.categories;
  return compareFeatures(context, {
    threshold: { maxNew, warnNew, minKnown },
    kind: 'categorical',
    judge: (pair) => judge(pair, { maxNew, warnNew, minKnown }),
    expected: `at most ${ratio(maxNew)} more new ones of an enumeration or with one new value, and at least ${ratio(minKnown)} of the known ones of ids`,
    advice: 'its values are written or encoded in another way, or come from a new producer',
  });
}

function judge({ feature, now, before, column, columnBefore }: FeaturePair, limits: Limits): Judgement | null {
  const values = categoricalSample(now, feature.name);
  const known = knownValues(before, feature, columnBefore as CategoricalProfile);
  if (values.length === 0 || known.rows === 0) return null;
  const expectedNew = known.once / known.rows;
  if ((1 - expectedNew) * values.length < EXPECTED_KNOWN) return null;
  const newShare = values.filter((value) => !known.values.has(value)).length / values.length;
  const knownKept = (1 - newShare) / (1 - expectedNew);
  const largestNew = categoryCounts(now, feature.name).find(({ value }) => !known.values.has(value))?.count ?? 0;

  const noise = NOISE * Math.sqrt(((newShare + 1 / values.length) * (1 - newShare)) / values.length);
  const enumeration = expectedNew < ENUMERATION && known.values.size <= ENUMERATED;
  const excess = enumeration ? newShare - expectedNew : 0;
  const vanished = knownKept < limits.minKnown;
  const flooded = largestNew / column.count > limits.maxNew && largestNew >= EXPECTED_KNOWN;
  const blocks = vanished || flooded || excess > Math.max(limits.maxNew, noise);
  const warns = excess > Math.max(limits.warnNew, noise);
  return {
    status: blocks ? 'block' : warns ? 'warn' : 'pass',
    soft: !enumeration,
    effect: newShare - expectedNew,
    numbers: { new: newShare, newExpected: expectedNew, knownKept, largestNew: largestNew / column.count },
    says:
      `"${feature.name}" has a value not seen before in ${ratio(newShare)} of its rows, ${ratio(expectedNew)} expected by chance` +
      (flooded ? `; one of them alone in ${ratio(largestNew / column.count)}` : ''),
  };
}

/** The values there were: of the sample, and the frequent ones of all rows; and how many rows of the sample had one of their own. */
function knownValues(
  profile: Profile,
  feature: Feature,
  column: CategoricalProfile,
): { values: Set<string>; rows: number; once: number } {
  const sample = categoricalSample(profile, feature.name);
  const counts = new Map<string, number>();
  for (const value of sample) counts.set(value, (counts.get(value) ?? 0) + 1);
  const frequent = categoryCounts(profile, feature.name);
  const values = new Set([...counts.keys(), ...frequent.map(({ value }) => value)]);
  // Of values that are all counted exactly, those of one row are known exactly too.
  const all = column.heavyError === 0;
  const once = all
    ? frequent.filter(({ count }) => count === 1).length
    : [...counts.values()].filter((count) => count === 1).length;
  return { values, rows: all ? column.count : sample.length, once };
}
