import type { ComparedMetric, Estimate } from '../evaluation.ts';
import { count, decimal, percent } from '../figures.ts';
import { sizeThatDecides, sizeThatDetects, type Size } from '../power.ts';
import { normalQuantile } from '../statistics.ts';
import { LEVEL, reasonOf, type RuleVerdict } from './rule.ts';

/** A gain that is known, and what it has to reach. */
export interface GainToJudge {
  rule: string;
  /** Stem of the reason's code: `gate.comparison`. */
  code: string;
  metric: ComparedMetric;
  gain: Estimate;
  /** The gain that must be reached: minus the tolerance, or a minimum. */
  limit: number;
  /** The same in words where it is more than its number: `0.004 (1 % of the champion's 0.4)`. */
  limitText?: string;
  /** How far beyond the limit a true gain is to be told from it at a named size, and what that is in words. */
  detect: { margin: number; what: string };
  /** Beginnings of the sentences. */
  words: { pass: string; reject: string };
  champion: number | string | null | undefined;
  championMissing: string[];
  /** What the gain was measured on, and where, if that is a part of the holdout: `surface=home`. */
  rows: number;
  users: number;
  where?: string;
  /** Of the whole holdout per row measured on: more than 1 for a part of it. */
  rowsPerRow?: number;
  usersPerUser?: number;
  numbers?: Record<string, number | string | null>;
  /** How often the gate may look at this challenger, on more rows each time; 1 when left out. */
  looks?: number;
}

/**
 * Bounds for one of several looks: whoever looks again until a bound lies right finds one that does by chance. Each look has
 * its share of the 5 % (Bonferroni), so that all together keep it; the distances to the percentiles grow as those of a
 * normal distribution would.
 */
function forLooks(gain: Estimate, looks = 1): Estimate {
  if (looks <= 1) return gain;
  const factor = normalQuantile(1 - LEVEL / looks) / normalQuantile(1 - LEVEL);
  const { estimate, lower, upper } = gain;
  return {
    ...gain,
    // A percentile may lie on the estimate's other side: more looks never narrow the bounds.
    lower: Math.min(lower, estimate - factor * (estimate - lower)),
    upper: Math.max(upper, estimate + factor * (upper - estimate)),
  };
}

/**
 * Pass when the lower bound reaches the limit, reject when the upper one stays below it, else inconclusive with the size
 * that would decide. A gain over a champion that was scored without some of its features does not pass.
 *
 * @param refuted whether a gain wholly below the limit counts; false where it is one of many, and one is so by chance.
 */
export function judgeGain(asked: GainToJudge, refuted = true, becauseOf = ''): RuleVerdict {
  const given = { ...asked, gain: forLooks(asked.gain, asked.looks) };
  const { rule, gain, limit, championMissing, words } = given;
  const limitText = given.limitText ?? decimal(limit);
  const found = describeGain(given);
  const verdict = (kind: RuleVerdict['kind'], code: string, message: string): RuleVerdict => ({
    rule,
    kind,
    reason: reasonOf(`${given.code}.${code}`, message, numbersOf(given)),
  });
  if (gain.upper < limit && refuted) {
    return verdict(
      'reject',
      'inferior',
      `${words.reject}: ${found}; the upper bound is below ${limitText}${becauseOf}.`,
    );
  }
  if (gain.lower >= limit && championMissing.length > 0) {
    const message = `Not comparable: ${found}, but the holdout lacks features of the champion, which was scored without them: ${championMissing.join(', ')}.`;
    return verdict('inconclusive', 'handicapped', message);
  }
  if (gain.lower >= limit) {
    return verdict('pass', 'pass', `${words.pass}: ${found}; the lower bound is at least ${limitText}.`);
  }
  return inconclusive(given, `Inconclusive: ${found}; ${where(gain, limit, limitText)}${becauseOf}`);
}

function inconclusive(given: GainToJudge, stem: string): RuleVerdict {
  const { rule, code, gain, limit, detect } = given;
  const level = LEVEL / (given.looks ?? 1);
  const measured = { ...given, level, standardError: gain.standardError, estimate: gain.estimate };
  const decides = ofHoldout(sizeThatDecides(measured, { limit }), given);
  const detects = ofHoldout(sizeThatDetects(measured, detect), given);
  const found = (message: string, numbers: Record<string, number> = {}): RuleVerdict['reason'] =>
    reasonOf(`${code}.inconclusive`, message, { ...numbersOf(given), neededRows: null, ...numbers });
  if (decides === undefined) {
    return { rule, kind: 'inconclusive', reason: found(`${stem}, and more rows alone would not decide.`) };
  }
  const side = gain.estimate > limit ? 'for' : 'against';
  const also =
    detects === undefined
      ? ''
      : `, and ${count(detects.rows)} would show ${detect.what} (each in at least 80 % of cases)`;
  const message = `${stem}. If the gain stays where it is, about ${count(decides.rows)} rows would decide ${side} it${also}.`;
  const needed = detects !== undefined && detects.rows > decides.rows ? detects : decides;
  const numbers = {
    neededRows: needed.rows,
    neededUsers: needed.users,
    decideRows: decides.rows,
    ...(detects === undefined ? {} : { detectRows: detects.rows }),
  };
  return {
    rule,
    kind: 'inconclusive',
    reason: found(message, numbers),
    neededRows: needed.rows,
    neededUsers: needed.users,
  };
}

function ofHoldout(size: Size | undefined, { rowsPerRow = 1, usersPerUser = 1 }: GainToJudge): Size | undefined {
  if (size === undefined) return undefined;
  return { rows: Math.ceil(size.rows * rowsPerRow), users: Math.ceil(size.users * usersPerUser) };
}

function where({ upper }: Estimate, limit: number, limitText: string): string {
  return upper < limit ? `the upper bound is below ${limitText}` : `${limitText} lies between the bounds`;
}

function describeGain({ metric, gain, champion, rows, users, where: part, looks = 1 }: GainToJudge): string {
  const level = looks === 1 ? '95 %' : `${percent(1 - LEVEL / looks)}, for up to ${String(looks)} looks,`;
  const place = part === undefined ? '' : `in ${part} `;
  return (
    `${place}in ${metric} the challenger gains ${decimal(gain.estimate)} over version ${String(champion)} ` +
    `(${level} bounds ${decimal(gain.lower)} to ${decimal(gain.upper)}, ${count(rows)} rows of ${count(users)} users)`
  );
}

function numbersOf({ metric, gain, limit, rows, users, numbers }: GainToJudge): Record<string, number | string | null> {
  const { estimate, lower, upper, standardError } = gain;
  return { metric, estimate, lower, upper, standardError, limit, rows, users, ...numbers };
}
