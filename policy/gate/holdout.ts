import { EVALUATION_METRICS, type EvaluationMetric } from '../evaluation.ts';
import { count } from '../figures.ts';
import { hasRankings, isNumber, isRankingMetric, readInterval } from './readings.ts';
import { MIN_USERS, reasonOf, type Judged, type RuleVerdict } from './rule.ts';

const rule = 'holdout';

/** Whether the holdout and what was measured on it can carry a decision at all. */
export function judgeHoldout({ evaluation, overall, hasChampion }: Judged): RuleVerdict {
  const { rows, positives, users } = overall;
  const hold = (code: string, message: string, numbers = {}): RuleVerdict => ({
    rule,
    kind: 'hold',
    reason: reasonOf(code, message, numbers),
  });
  if (evaluation.overall == null)
    return hold(
      'gate.older-build',
      'The evaluation is of an older build, which this one can not judge: evaluate again.',
    );
  if (!isNumber(rows) || rows <= 0)
    return hold('gate.holdout-empty', 'The holdout has no rows: nothing was evaluated.', { rows });
  if (!isNumber(positives) || positives <= 0 || positives >= rows) {
    const message = `The holdout has ${count(positives ?? NaN)} positives in ${count(rows)} rows: one class is empty, no ranking can be measured.`;
    return hold('gate.one-class', message, { rows, positives });
  }
  if (!isNumber(users) || users < MIN_USERS) {
    const message = `The holdout has ${count(users ?? NaN)} users, fewer than the ${String(MIN_USERS)} that an interval over users needs.`;
    return hold('gate.too-few-users', message, { users, expected: MIN_USERS });
  }
  const unknown = unknownMetrics({ overall });
  if (unknown.length > 0) {
    const message = `These metrics of the challenger are not numbers, though its rows define them: ${unknown.join(', ')}. A model's figures that are not known judge nothing.`;
    return hold('gate.not-a-number', message, { metrics: unknown.join(', ') });
  }
  if (hasChampion && !Array.isArray(evaluation.championMissing))
    return hold(
      'gate.metric-missing',
      'The evaluation does not say which features of the champion the holdout lacks: it is not known whether the two compare.',
    );
  const message = `The holdout has ${count(rows)} rows of ${count(users)} users, ${count(positives)} of them positive.`;
  return { rule, kind: 'pass', reason: reasonOf('gate.holdout.pass', message, { rows, positives, users }) };
}

/** A model whose scores are not numbers shows it in some metric, whether or not a rule reads that one. */
function unknownMetrics({ overall }: Pick<Judged, 'overall'>): EvaluationMetric[] {
  const defined = EVALUATION_METRICS.filter((metric) => !isRankingMetric(metric) || hasRankings(overall));
  return defined.filter((metric) => {
    const found = overall.challenger?.[metric];
    // Rankings of a few requests have an estimate, but no bounds; the rules that read them hold.
    return isRankingMetric(metric) ? !isNumber(found?.estimate) : 'unknown' in readInterval(metric, found);
  });
}
