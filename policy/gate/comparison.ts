import type { GateConfig } from '../../config/schema.ts';
import type { ComparedMetric } from '../evaluation.ts';
import { decimal, percent } from '../figures.ts';
import { judgeGain, type GainToJudge } from './gain.ts';
import { readGain, readMetric } from './readings.ts';
import { looksOf, notApplicable, reasonOf, type Judged, type RuleVerdict } from './rule.ts';

/** Not inferior in the gate's metric, nor in any of `notWorse`. */
export function judgeNonInferiority(judged: Judged): RuleVerdict[] {
  const { config } = judged;
  const margins = [{ metric: config.metric, tolerance: config.tolerance }, ...config.notWorse];
  return margins.map(({ metric, tolerance }) => judgeMargin(judged, metric, tolerance));
}

function judgeMargin(judged: Judged, metric: ComparedMetric, tolerance: number): RuleVerdict {
  const rule = `nonInferior.${metric}`;
  if (!judged.hasChampion) {
    const what = 'the comparison does not apply, the absolute thresholds decide.';
    return notApplicable(rule, 'gate.comparison.not-applicable', what);
  }
  const reading = readGain(judged.overall, { metric });
  if ('unknown' in reading) return { rule, kind: 'hold', reason: reading.unknown };
  return judgeGain({
    ...placeOf(judged),
    rule,
    code: 'gate.comparison',
    metric,
    gain: reading.known,
    limit: 0 - tolerance,
    detect: { margin: tolerance, what: 'a loss of twice the tolerance' },
    words: { pass: 'Not inferior', reject: 'Inferior' },
    numbers: { tolerance },
  });
}

/** Better by what the config asks. */
export function judgeMinGain(judged: Judged): RuleVerdict[] {
  return judged.config.minGain.map((asked) => judgeAskedGain(judged, asked));
}

function judgeAskedGain(judged: Judged, asked: GateConfig['minGain'][number]): RuleVerdict {
  const { metric, by, relative } = asked;
  const rule = `minGain.${metric}`;
  if (!judged.hasChampion)
    return notApplicable(rule, 'gate.min-gain.not-applicable', `there is nothing to gain over in ${metric}.`);
  const reading = readGain(judged.overall, { metric });
  if ('unknown' in reading) return { rule, kind: 'hold', reason: reading.unknown };
  const champion = readMetric(judged.overall, { model: 'champion', metric });
  if ('unknown' in champion) return { rule, kind: 'hold', reason: champion.unknown };
  const base = champion.known.estimate;
  if (relative && base <= 0) {
    const message = `The champion's ${metric} is ${decimal(base)}: no gain is ${percent(by)} of it (gate.minGain, relative).`;
    return { rule, kind: 'hold', reason: reasonOf('gate.min-gain.no-base', message, { metric, by, champion: base }) };
  }
  const limit = relative ? by * base : by;
  return judgeGain({
    ...placeOf(judged),
    rule,
    code: 'gate.min-gain',
    metric,
    gain: reading.known,
    limit,
    ...(relative ? { limitText: `${decimal(limit)} (${percent(by)} of the champion's ${decimal(base)})` } : {}),
    detect: { margin: limit, what: 'that there is no gain at all' },
    words: { pass: 'Enough gain', reject: 'Too little gain' },
    numbers: { by, relative: relative ? 'true' : 'false' },
  });
}

function placeOf({
  evaluation,
  overall,
  config,
}: Judged): Pick<GainToJudge, 'champion' | 'championMissing' | 'rows' | 'users' | 'looks'> {
  return {
    looks: looksOf(config),
    champion: evaluation.champion,
    championMissing: evaluation.championMissing ?? [],
    rows: overall.rows ?? NaN,
    users: overall.users ?? NaN,
  };
}
