import type { GateConfig } from '../../config/schema.ts';
import type { Evaluation, Figures } from '../evaluation.ts';
import { recorded } from '../figures.ts';
import type { Reason } from '../verdict.ts';

/** What one rule says of a challenger, with its numbers. */
export interface RuleVerdict {
  /** `nonInferior.auc`, `thresholds.auc`, `slices.surface.auc` (one for each value) ... */
  rule: string;
  /**
   * `hold`: what the rule needs is not known. `notApplicable`: it compares with a champion, and the line has none yet;
   * never anything else.
   */
  kind: 'pass' | 'reject' | 'inconclusive' | 'hold' | 'notApplicable';
  reason: Reason;
  /** With `inconclusive`: rows and users of the holdout that would decide. Left out where no number of them would. */
  neededRows?: number;
  neededUsers?: number;
}

/** What may have come through JSON or from an older build: every number can be null, every key can be missing. */
export type Found<T> = T extends readonly (infer Item)[]
  ? Found<Item>[]
  : T extends object
    ? { [Key in keyof T]?: Found<T[Key]> | null | undefined }
    : T;

/** What rules read. */
export interface Judged {
  evaluation: Found<Evaluation>;
  overall: Found<Figures>;
  config: GateConfig;
  hasChampion: boolean;
}

/** Fewer clusters say nothing about the next user: the bounds of a bootstrap over them come out too narrow. */
export const MIN_USERS = 10;

/** One-sided level of a bound where the gate looks once. */
export const LEVEL = 0.05;

/** How often the gate may look at one challenger: once more for each time its window may be extended. */
export function looksOf({ onInconclusive, extend }: GateConfig): number {
  return onInconclusive === 'extend' ? 1 + extend.times : 1;
}

export function reasonOf(
  code: string,
  message: string,
  numbers: Record<string, number | string | null | undefined> = {},
): Reason {
  const known = Object.entries(numbers).map(([name, value]) => [name, value ?? null] as const);
  return { code, message, numbers: recorded(Object.fromEntries(known)) };
}

export function notApplicable(rule: string, code: string, what: string): RuleVerdict {
  const message = `The line has no champion yet: ${what}`;
  return { rule, kind: 'notApplicable', reason: reasonOf(code, message) };
}

export function baselineMissing(): Reason {
  const message = 'The line has a champion, but it was not evaluated on these rows: there is nothing to compare with.';
  return reasonOf('gate.baseline-missing', message);
}
