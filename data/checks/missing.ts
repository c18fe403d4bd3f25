import type { NumericProfile } from '../profile/index.ts';
import type { CheckContext, Finding } from './check.ts';
import { compareFeatures, NOISE, riseInErrors, type FeaturePair, type Judgement } from './feature-comparison.ts';
import { ratio } from './wording.ts';

/**
 * Features are missing about as often as before, and their numbers zero about as often: what a join that fails upstream
 * leaves behind. A fall in missing values warns: something fills them in.
 */
export function checkMissing(context: CheckContext): Finding {
  const { maxIncrease, warnIncrease, maxZeroIncrease } = context.config.checks.missing;
  return compareFeatures(context, {
    threshold: { maxIncrease, warnIncrease, maxZeroIncrease },
    judge: (pair) => {
      const missing = judgeMissing(pair, { maxIncrease, warnIncrease });
      const zero = judgeZeros(pair, maxZeroIncrease);
      if (zero === null) return missing;
      const worse = zero.status !== 'pass' && missing.status !== 'block' ? zero : missing;
      return { ...worse, numbers: { ...missing.numbers, ...zero.numbers } };
    },
    expected: `a rise of at most ${ratio(maxIncrease)} (of zeros ${ratio(maxZeroIncrease)}) and a change below ${ratio(warnIncrease)}`,
    advice: 'find out which producer or join stopped filling it, or began to fill it with a default',
  });
}

function judgeMissing(
  { feature, column, columnBefore }: FeaturePair,
  limits: { maxIncrease: number; warnIncrease: number },
): Judgement {
  const now = { hits: column.missing, rows: column.missing + column.count };
  const before = { hits: columnBefore.missing, rows: columnBefore.missing + columnBefore.count };
  const [share, shareBefore] = [now.hits / now.rows, before.hits / before.rows];
  const rise = share - shareBefore;
  const certain = Math.abs(riseInErrors(now, before)) > NOISE;
  const says = `"${feature.name}" is missing in ${ratio(share)} of the rows, ${ratio(shareBefore)} before`;
  const numbers = { missing: share, missingBefore: shareBefore };
  if (!Number.isFinite(rise)) return { status: 'block', effect: Infinity, numbers, says };
  const status =
    certain && rise > limits.maxIncrease ? 'block' : certain && Math.abs(rise) > limits.warnIncrease ? 'warn' : 'pass';
  return { status, effect: Math.abs(rise), numbers, says };
}

/** Zeros in place of missing values hide from a count of the missing. */
function judgeZeros({ feature, column, columnBefore }: FeaturePair, maxIncrease: number): Judgement | null {
  if (feature.kind !== 'numeric' || column.count === 0 || columnBefore.count === 0) return null;
  const now = { hits: (column as NumericProfile).zeros, rows: column.count };
  const before = { hits: (columnBefore as NumericProfile).zeros, rows: columnBefore.count };
  const [share, shareBefore] = [now.hits / now.rows, before.hits / before.rows];
  const rise = share - shareBefore;
  const certain = riseInErrors(now, before) > NOISE;
  return {
    status: certain && rise > maxIncrease ? 'block' : 'pass',
    effect: rise,
    numbers: { zeros: share, zerosBefore: shareBefore },
    says: `"${feature.name}" is 0 in ${ratio(share)} of its values, ${ratio(shareBefore)} before`,
  };
}
