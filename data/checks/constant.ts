import { categoryCounts, numericSample } from '../profile/index.ts';
import type { Profile } from '../profile/index.ts';
import type { Feature } from '../../config/schema.ts';
import type { CheckContext, Finding } from './check.ts';
import { compareFeatures, type FeaturePair, type Judgement } from './feature-comparison.ts';
import { ratio } from './wording.ts';

/** With fewer rows of other values than this expected, their absence is chance. */
const EXPECTED_OTHERS = 20;

/**
 * No feature that had many values has one in effect now, and no single value floods a feature: a default that is written
 * when the true value can not be had. A feature that was constant before may stay so.
 */
export function checkConstant(context: CheckContext): Finding {
  const { maxTopIncrease, minOthersKept } = context.config.checks.constant;
  return compareFeatures(context, {
    threshold: { maxTopIncrease, minOthersKept },
    judge: (pair) => judge(pair, { maxTopIncrease, minOthersKept }),
    expected: `a rise of the most frequent value of at most ${ratio(maxTopIncrease)} and at least ${ratio(minOthersKept)} of the rows that had another value`,
    advice: 'a default or a cached value stands in for the real ones; look at what computes it',
  });
}

function judge(
  { feature, now, before, column, columnBefore }: FeaturePair,
  limits: { maxTopIncrease: number; minOthersKept: number },
): Judgement | null {
  const top = topShare(now, feature);
  const topBefore = topShare(before, feature);
  if (top === null || topBefore === null || Math.min(column.count, columnBefore.count) < EXPECTED_OTHERS) return null;
  const others = 1 - top.share;
  const othersBefore = 1 - topBefore.share;
  const frozen = othersBefore * column.count >= EXPECTED_OTHERS && others < limits.minOthersKept * othersBefore;
  // The most frequent number may move on by itself (an age in days); a category does not.
  const sameBefore = feature.kind === 'numeric' ? topBefore.share : shareOf(before, feature.name, top.value);
  const rise = top.share - Math.min(sameBefore, topBefore.share);
  return {
    status: frozen || rise > limits.maxTopIncrease ? 'block' : 'pass',
    effect: frozen ? 1 + rise : rise,
    numbers: { top: top.share, topBefore: topBefore.share, topRise: rise },
    says:
      `"${feature.name}" has one value (${feature.kind === 'numeric' ? top.value : `id ${top.value}`}) in ${ratio(top.share)} of its rows` +
      (feature.kind === 'numeric'
        ? `, its most frequent had ${ratio(topBefore.share)} before`
        : `, ${ratio(sameBefore)} before`),
  };
}

function shareOf(profile: Profile, name: string, value: string): number {
  const found = categoryCounts(profile, name).find((category) => category.value === value);
  return (found?.count ?? 0) / (profile.columns[name]?.count ?? 1);
}

/** The most frequent value and its share of the rows that have one; of numbers by the sample. Null without values. */
function topShare(profile: Profile, { name, kind }: Feature): { value: string; share: number } | null {
  if (kind === 'categorical') {
    const rows = profile.columns[name]?.count ?? 0;
    const [first] = categoryCounts(profile, name);
    return first === undefined || rows === 0 ? null : { value: first.value, share: first.count / rows };
  }
  const values = numericSample(profile, name);
  let best = { value: Number.NaN, rows: 0 };
  for (let start = 0; start < values.length;) {
    const value = values[start] ?? Number.NaN;
    let end = start + 1;
    while (values[end] === value) end += 1;
    if (end - start > best.rows) best = { value, rows: end - start };
    start = end;
  }
  return values.length === 0 ? null : { value: String(best.value), share: best.rows / values.length };
}
