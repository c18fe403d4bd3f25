import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/workflow';
import type { Refusal } from '../activities/refusal.ts';
import type { Reason } from '../policy/verdict.ts';

/** How a cycle ends. `rolledBack` and a late `aborted` take the candidate off the route before anything else. */
export type Ending =
  | { kind: 'skipped' | 'rejected' | 'promoted'; reasons: Reason[] }
  | { kind: 'aborted' | 'rolledBack'; who: string; reasons: Reason[]; firstFailedCheckAtMs: number | null }
  | { kind: 'failed'; reasons: Reason[] }
  /** Somebody closed the cycle from outside; there is nothing left to do. */
  | { kind: 'closedElsewhere'; outcome: 'rolledBack' | 'aborted' | 'rejected' | 'skipped'; reasons: Reason[] };

/** Thrown to leave the phases from any depth with a decided ending. */
export class EndOfCycle extends Error {
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(ending.kind);
    this.name = 'EndOfCycle';
    this.ending = ending;
  }
}

const MONITOR = 'the monitor';

export function skip(reasons: Reason[]): EndOfCycle {
  return new EndOfCycle({ kind: 'skipped', reasons });
}

export function reject(reasons: Reason[]): EndOfCycle {
  return new EndOfCycle({ kind: 'rejected', reasons });
}

export function rollBack(reasons: Reason[], firstFailedCheckAtMs: number | null = null): EndOfCycle {
  return new EndOfCycle({ kind: 'rolledBack', who: MONITOR, reasons, firstFailedCheckAtMs });
}

export function abort(reasons: Reason[], who: string): EndOfCycle {
  return new EndOfCycle({ kind: 'aborted', who, reasons, firstFailedCheckAtMs: null });
}

/** What a refused write means for the cycle (invariants 2, 7 and 8). */
export function endingOf(refusal: Refusal): EndOfCycle {
  const reasons = [refusal.reason];
  switch (refusal.kind) {
    case 'epochMoved':
      return abort(reasons, 'an operator');
    case 'championChanged':
      return reject(reasons);
    case 'leaseExpired':
      return rollBack(reasons);
    case 'cycleClosed': {
      const outcome = refusal.closedAs;
      return new EndOfCycle({
        kind: 'closedElsewhere',
        outcome: outcome === null || outcome === 'promoted' || outcome === 'failed' ? 'aborted' : outcome,
        reasons,
      });
    }
  }
}

/** An activity that failed for good, as a reason: the innermost message, which is the one that says what to do. */
export function failureReason(code: string, error: unknown): Reason {
  let cause: unknown = error;
  while (cause instanceof ActivityFailure && cause.cause !== undefined) cause = cause.cause;
  if (cause instanceof TimeoutFailure) {
    const type = String(cause.timeoutType);
    const advice =
      type === 'START_TO_CLOSE' || type === 'SCHEDULE_TO_CLOSE'
        ? 'it took longer than it may, or its worker is gone'
        : 'is the worker of this queue running?';
    return { code, message: `no answer in time (${type}): ${advice} (${cause.message})` };
  }
  if (cause instanceof ApplicationFailure) return { code, message: cause.message };
  return { code, message: cause instanceof Error ? cause.message : String(cause) };
}
