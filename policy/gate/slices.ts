import type { GateConfig } from '../../config/schema.ts';
import type { Estimate, SliceFigures } from '../evaluation.ts';
import { count, decimal } from '../figures.ts';
import { holm } from '../multiple-testing.ts';
import { normalCdf } from '../statistics.ts';
import { judgeGain } from './gain.ts';
import { isNumber, readEstimate, readGain } from './readings.ts';
import {
  LEVEL,
  looksOf,
  MIN_USERS,
  notApplicable,
  reasonOf,
  type Found,
  type Judged,
  type RuleVerdict,
} from './rule.ts';

type SliceRule = GateConfig['slices'][number];
type Part = Found<SliceFigures>;

/** Not inferior on each part of a slice that is large enough to be judged. */
export function judgeSlices(judged: Judged): RuleVerdict[] {
  return judged.config.slices.flatMap((asked) => judgeSlice(judged, asked));
}

const ruleOf = ({ slice, metric }: { slice: string; metric: string }): string => `slices.${slice}.${metric}`;

function judgeSlice(judged: Judged, asked: SliceRule): RuleVerdict[] {
  const rule = ruleOf(asked);
  if (!judged.hasChampion)
    return [notApplicable(rule, 'gate.slice.not-applicable', `the parts of ${asked.slice} can not be compared.`)];
  const parts = (judged.evaluation.slices ?? []).filter(({ slice }) => slice === asked.slice);
  const small = parts.filter((part) => isSmall(part, asked));
  const large = parts.filter((part) => !small.includes(part));
  const measured = large.filter(isMeasured);
  const hold = measured.length > 0 ? [] : [nothingToJudge(judged, asked, parts)];
  return [
    ...hold,
    ...missingRequired(asked, measured, small),
    ...judgeParts(judged, asked, measured),
    ...large.filter((part) => !isMeasured(part)).map((part) => notMeasured(asked, part)),
    ...small.map((part) => tooSmall(asked, part)),
  ];
}

function isSmall({ rows, users }: Part, { minRows }: SliceRule): boolean {
  return isNumber(rows) && isNumber(users) && (rows < minRows || users < MIN_USERS);
}

function isMeasured({ figures, rows, users }: Part): boolean {
  return figures != null && isNumber(rows) && isNumber(users);
}

function nothingToJudge({ evaluation }: Judged, asked: SliceRule, parts: Part[]): RuleVerdict {
  const { slice, minRows } = asked;
  const why = (evaluation.notes ?? []).filter(({ numbers }) => numbers?.['slice'] === slice);
  const message =
    parts.length === 0
      ? ['The evaluation has no slice', slice, 'on which the gate has a rule.', ...why.map(({ message: text }) => text)]
      : [
          `No part of slice ${slice} was measured on ${count(minRows)} rows of ${String(MIN_USERS)} users or more:`,
        ].concat('its rule has nothing to judge (gate.slices: minRows; evaluation.sliceMinRows).');
  const code = parts.length === 0 ? 'gate.slice.missing' : 'gate.slice.nothing-judged';
  return { rule: ruleOf(asked), kind: 'hold', reason: reasonOf(code, message.join(' '), { slice, minRows }) };
}

function missingRequired(asked: SliceRule, large: Part[], small: Part[]): RuleVerdict[] {
  const absent = asked.required.filter((value) => !large.some((part) => part.value === value));
  return absent.map((value) => {
    const rows = small.find((part) => part.value === value)?.rows ?? 0;
    const message = `${asked.slice}=${value} is required and has ${count(rows)} rows that can be judged: expected ${count(asked.minRows)} of ${String(MIN_USERS)} users or more.`;
    const reason = reasonOf('gate.slice.required', message, {
      slice: asked.slice,
      value,
      rows,
      minRows: asked.minRows,
    });
    return { rule: ruleOf(asked), kind: 'hold', reason };
  });
}

/** Of a build or a config that measured less than the rule judges, as `gate try` finds them. */
function notMeasured(asked: SliceRule, { value, rows, users }: Part): RuleVerdict {
  const { slice, minRows } = asked;
  const message = `${slice}=${String(value)} has ${count(rows ?? NaN)} rows of ${count(users ?? NaN)} users and was not measured, though ${count(minRows)} are to be judged: evaluation.sliceMinRows must not be more than minRows.`;
  const reason = reasonOf('gate.slice.not-measured', message, { slice, value, rows, users, minRows });
  return { rule: ruleOf(asked), kind: 'hold', reason };
}

function tooSmall(asked: SliceRule, { value, rows, users }: Part): RuleVerdict {
  const { slice, minRows } = asked;
  const message = `${slice}=${String(value)} has ${count(rows ?? NaN)} rows of ${count(users ?? NaN)} users: too few to be judged (${count(minRows)} rows, ${String(MIN_USERS)} users).`;
  return {
    rule: ruleOf(asked),
    kind: 'pass',
    reason: reasonOf('gate.slice.too-small', message, { slice, value, rows, users, minRows }),
  };
}

interface Candidate {
  part: Part;
  gain: Estimate;
}

/**
 * A part is rejected when its upper bound is below the limit and, with the correction, its p-value stays below 5 % after
 * Holm's adjustment for all parts judged. Passing needs no correction: every part must pass for itself.
 */
function judgeParts(judged: Judged, asked: SliceRule, parts: Part[]): RuleVerdict[] {
  const readings = parts.map((part) => ({ part, reading: readPart(asked, part) }));
  const held = readings.flatMap(({ reading }): RuleVerdict[] =>
    'unknown' in reading ? [{ rule: ruleOf(asked), kind: 'hold', reason: reading.unknown }] : [],
  );
  const candidates = readings.flatMap(({ part, reading }): Candidate[] =>
    'known' in reading ? [{ part, gain: reading.known }] : [],
  );
  const adjusted = holm(candidates.map(({ gain }) => pNotInferior(gain, 0 - asked.tolerance)));
  return [
    ...held,
    ...candidates.map((candidate, index) =>
      judgePart(judged, asked, { ...candidate, p: adjusted[index] as number, tests: candidates.length }),
    ),
  ];
}

function readPart({ slice, metric }: SliceRule, { figures, value }: Part): ReturnType<typeof readGain> {
  const where = ` in ${slice}=${String(value)}`;
  const reading = readGain(figures ?? {}, { metric, where });
  if ('unknown' in reading || !Number.isNaN(reading.known.standardError)) return reading;
  const message = `The standard error of the gain in ${metric}${where} is not a number: it is not known.`;
  return { unknown: reasonOf('gate.not-a-number', message, { slice, value }) };
}

/** P of a gain this low or lower if the true one were the limit; normal. */
function pNotInferior({ estimate, standardError }: Estimate, limit: number): number {
  const z = (estimate - limit) / standardError;
  return Number.isNaN(z) ? 1 : normalCdf(z);
}

function judgePart(
  { evaluation, overall, config }: Judged,
  asked: SliceRule,
  { part, gain, p, tests }: Candidate & { p: number; tests: number },
): RuleVerdict {
  const { slice, metric, tolerance, correction, onInconclusive } = asked;
  const corrected = correction === 'holm' && tests > 1;
  const rows = part.rows ?? NaN;
  const users = part.users ?? NaN;
  const verdict = judgeGain(
    {
      rule: ruleOf(asked),
      code: 'gate.slice',
      metric,
      gain,
      limit: 0 - tolerance,
      detect: { margin: tolerance, what: 'a loss of twice the tolerance' },
      words: { pass: 'Not inferior', reject: 'Inferior' },
      champion: evaluation.champion,
      championMissing: evaluation.championMissing ?? [],
      rows,
      users,
      where: `${slice}=${String(part.value)}`,
      rowsPerRow: (overall.rows ?? NaN) / rows,
      usersPerUser: (overall.users ?? NaN) / users,
      numbers: { slice, value: part.value ?? null, tolerance, p, tests },
      looks: looksOf(config),
    },
    !corrected || p < LEVEL / looksOf(config),
    corrected && gain.upper < -tolerance ? ` (p ${decimal(p)} after Holm's correction for ${String(tests)} parts)` : '',
  );
  if (verdict.kind !== 'inconclusive' || onInconclusive === 'inconclusive') return verdict;
  const { rule, reason } = verdict;
  return { rule, kind: 'pass', reason };
}

/** Blocks if the whole interval of the gap between a slice's best and worst part lies above what is allowed. */
export function judgeSegmentGaps({ evaluation, config }: Judged): RuleVerdict[] {
  return config.segmentGap.map(({ slice, metric, max }) => {
    const rule = `segmentGap.${slice}.${metric}`;
    const found = (evaluation.gaps ?? []).find((gap) => gap.slice === slice && gap.metric === metric);
    if (found === undefined) {
      const message = `The evaluation has no gap between the parts of slice ${slice} in ${metric}: two of them have to be measured.`;
      return { rule, kind: 'hold', reason: reasonOf('gate.segment-gap.missing', message, { slice, metric }) };
    }
    const reading = readEstimate(`The gap between the parts of slice ${slice} in ${metric}`, found.gap);
    if ('unknown' in reading) return { rule, kind: 'hold', reason: reading.unknown };
    const { estimate, lower, upper } = reading.known;
    const blocks = lower > max;
    const text = `Between ${slice}=${String(found.best)} and ${slice}=${String(found.worst)} the challenger's ${metric} differs by ${decimal(estimate)} (95 % bounds ${decimal(lower)} to ${decimal(upper)})`;
    const message = `${text}: ${blocks ? 'wholly above what is allowed' : 'not wholly above what is allowed'}, at most ${decimal(max)}.`;
    const numbers = { slice, metric, best: found.best, worst: found.worst, estimate, lower, upper, max };
    const code = blocks ? 'gate.segment-gap.exceeded' : 'gate.segment-gap.pass';
    return { rule, kind: blocks ? 'reject' : 'pass', reason: reasonOf(code, message, numbers) };
  });
}
