import type { GateConfig } from '../config/schema.ts';
import type { Evaluation } from './evaluation.ts';
import { judgeCalibration, judgeThresholds } from './gate/absolute.ts';
import { judgeMinGain, judgeNonInferiority } from './gate/comparison.ts';
import { judgeLatency, judgeSize } from './gate/cost.ts';
import { judgeHoldout } from './gate/holdout.ts';
import type { Found, Judged, RuleVerdict } from './gate/rule.ts';
import { judgeSegmentGaps, judgeSlices } from './gate/slices.ts';
import type { Reason } from './verdict.ts';

export type { RuleVerdict } from './gate/rule.ts';

export interface GateVerdict {
  /**
   * `pass`; `reject`: worse beyond the tolerance, or wholly on the wrong side of a limit; `inconclusive`: the data does
   * not decide; `hold`: nothing to decide from (no rows, NaN, no baseline). Only `pass` promotes by itself.
   */
  kind: 'pass' | 'reject' | 'inconclusive' | 'hold';
  /** What decided comes first; a rejection names only what rejected. */
  reasons: Reason[];
  /** Every rule, whatever it says, in the order of the config's sections. */
  rules: RuleVerdict[];
  /**
   * With `inconclusive`: size of the holdout that would decide every rule in at least 80 % of cases: if the gains stay where they
   * are, and if the challenger loses twice the tolerance. Left out where no number of rows would.
   */
  neededRows?: number;
  neededUsers?: number;
}

/** From what weighs most. */
const KINDS = ['hold', 'reject', 'inconclusive'] as const;

/**
 * Whether a challenger may go on: not inferior to the champion, on no limit's wrong side, and all of it known. Without a
 * champion the thresholds decide, and there must be some. What is not known never passes: a figure may be NaN, null or
 * missing, the evaluation may be of an older build.
 */
export function decideGate({
  evaluation,
  config,
  hasChampion,
}: {
  /** Null of a version that has none. */
  evaluation: Evaluation | null;
  config: GateConfig;
  hasChampion: boolean;
}): GateVerdict {
  const found: Found<Evaluation> = evaluation ?? {};
  // A champion that was evaluated is one, whoever says that the line has none.
  const judged = {
    evaluation: found,
    overall: found.overall ?? {},
    config,
    hasChampion: hasChampion || found.champion != null,
  };
  const holdout = judgeHoldout(judged);
  const rules = judgeRules(judged);
  const kind = KINDS.find((worst) => [holdout, ...rules].some((rule) => rule.kind === worst)) ?? 'pass';
  return {
    kind,
    reasons: holdout.kind === 'hold' ? [holdout.reason] : distinct(told(kind, rules)),
    rules: [holdout, ...rules],
    ...(kind === 'inconclusive' ? neededSize(rules) : {}),
  };
}

function judgeRules(judged: Judged): RuleVerdict[] {
  return [
    ...judgeThresholds(judged),
    ...judgeNonInferiority(judged),
    ...judgeMinGain(judged),
    ...judgeCalibration(judged),
    ...judgeSlices(judged),
    ...judgeSegmentGaps(judged),
    ...judgeLatency(judged),
    ...judgeSize(judged),
  ];
}

/** Reasons of the rules that decided, then of the next that would have; all but the many parts of slices when none did. */
function told(kind: GateVerdict['kind'], rules: RuleVerdict[]): Reason[] {
  const of = (wanted: RuleVerdict['kind']): Reason[] =>
    rules.filter((rule) => rule.kind === wanted).map(({ reason }) => reason);
  if (kind === 'hold') return [...of('hold'), ...of('reject')];
  if (kind === 'reject') return of('reject');
  const rest = rules.filter((rule) => rule.kind !== 'inconclusive' && !rule.rule.startsWith('slices.'));
  return [...of('inconclusive'), ...rest.map(({ reason }) => reason)];
}

function distinct(reasons: Reason[]): Reason[] {
  const key = ({ code, message }: Reason): string => `${code}: ${message}`;
  return [...new Map(reasons.map((reason) => [key(reason), reason])).values()];
}

/** Enough for every rule that does not decide yet. */
function neededSize(rules: RuleVerdict[]): Pick<GateVerdict, 'neededRows' | 'neededUsers'> {
  const open = rules.filter(({ kind }) => kind === 'inconclusive');
  const rows = open.map(({ neededRows = NaN }) => neededRows);
  const users = open.map(({ neededUsers = NaN }) => neededUsers);
  if ([...rows, ...users].some(Number.isNaN)) return {};
  return { neededRows: Math.max(...rows), neededUsers: Math.max(...users) };
}
