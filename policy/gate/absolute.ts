import type { GateConfig } from '../../config/schema.ts';
import type { Interval } from '../evaluation.ts';
import { decimal, limits } from '../figures.ts';
import { readMetric } from './readings.ts';
import { notApplicable, reasonOf, type Judged, type RuleVerdict } from './rule.ts';

type Threshold = GateConfig['thresholds'][number];

/** A threshold without a limit rejects nothing: it is no rule. */
export function limitedThresholds({ thresholds }: GateConfig): Threshold[] {
  return thresholds.filter(({ min, max }) => min !== undefined || max !== undefined);
}

/** Each blocks only if the whole interval lies on the wrong side. */
export function judgeThresholds(judged: Judged): RuleVerdict[] {
  const thresholds = limitedThresholds(judged.config);
  if (thresholds.length === 0 && !judged.hasChampion) {
    const message =
      'The line has neither a champion nor an absolute threshold (gate.thresholds): nothing could reject this model.';
    return [{ rule: 'thresholds', kind: 'hold', reason: reasonOf('gate.no-criterion', message) }];
  }
  return thresholds.map((threshold) => judgeThreshold(judged, threshold));
}

function judgeThreshold({ overall }: Judged, threshold: Threshold): RuleVerdict {
  const { metric, min, max } = threshold;
  const rule = `thresholds.${metric}`;
  const reading = readMetric(overall, { model: 'challenger', metric });
  if ('unknown' in reading) return { rule, kind: 'hold', reason: reading.unknown };
  const { estimate, lower, upper } = reading.known;
  const side = outside(reading.known, threshold);
  const allowed = limits(threshold);
  const found = `The challenger's ${metric} ${decimal(estimate)} (95 % bounds ${decimal(lower)} to ${decimal(upper)})`;
  const message =
    side === null
      ? `${found} does not break the threshold: ${allowed}.`
      : `${found} lies wholly ${side} what is allowed: ${allowed}.`;
  const numbers = { estimate, lower, upper, min, max };
  return {
    rule,
    kind: side === null ? 'pass' : 'reject',
    reason: reasonOf(`gate.threshold.${metric}`, message, numbers),
  };
}

/**
 * Blocks only if the whole interval lies outside and the estimate is further from 1 than the champion's, by factor: a
 * half is as far off as twice. A block of the log that is odd for both models is no fault of the challenger.
 */
export function judgeCalibration({ overall, config, hasChampion }: Judged): RuleVerdict[] {
  if (config.calibration === null) return [];
  const rule = 'calibration';
  if (!hasChampion) {
    const what = 'its calibration can not be compared; gate.thresholds can limit it absolutely.';
    return [notApplicable(rule, 'gate.calibration.not-applicable', what)];
  }
  const challenger = readMetric(overall, { model: 'challenger', metric: 'calibration' });
  if ('unknown' in challenger) return [{ rule, kind: 'hold', reason: challenger.unknown }];
  const champion = readMetric(overall, { model: 'champion', metric: 'calibration' });
  if ('unknown' in champion) return [{ rule, kind: 'hold', reason: champion.unknown }];
  const { estimate, lower, upper } = challenger.known;
  const base = champion.known.estimate;
  const { min, max } = config.calibration;
  const side = outside(challenger.known, config.calibration);
  const worse = !(Math.abs(Math.log(estimate)) <= Math.abs(Math.log(base)));
  const blocks = side !== null && worse;
  const found = `The challenger predicts ${decimal(estimate)} of what was observed (95 % bounds ${decimal(lower)} to ${decimal(upper)}), the champion ${decimal(base)}`;
  const allowed = limits(config.calibration);
  const message =
    side === null
      ? `${found}: not wholly outside what is allowed, ${allowed}.`
      : worse
        ? `${found}: wholly ${side} what is allowed, ${allowed}, and worse than the champion.`
        : `${found}: wholly ${side} what is allowed, ${allowed}, but no worse than the champion.`;
  const numbers = { estimate, lower, upper, champion: base, min, max };
  const code = blocks ? 'gate.calibration.off' : 'gate.calibration.pass';
  return [{ rule, kind: blocks ? 'reject' : 'pass', reason: reasonOf(code, message, numbers) }];
}

function outside(
  { lower, upper }: Interval,
  { min, max }: { min?: number | undefined; max?: number | undefined },
): 'below' | 'above' | null {
  if (min !== undefined && upper < min) return 'below';
  return max !== undefined && lower > max ? 'above' : null;
}
