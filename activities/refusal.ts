import type { Reason } from '../policy/verdict.ts';
import type { Outcome, Refused } from '../store/types.ts';

/** A refused write as the workflow sees it: what happened, in words, and what it means for the cycle. */
export interface Refusal {
  kind: Refused['kind'];
  reason: Reason;
  /** The outcome somebody else closed the cycle with. */
  closedAs: Outcome | null;
}

/** Puts a refused write into words for the operator. */
export function explainRefusal(refused: Refused): Refusal {
  switch (refused.kind) {
    case 'cycleClosed':
      return {
        kind: refused.kind,
        closedAs: refused.outcome,
        reason: {
          code: 'cycle.closed',
          message: `the cycle was closed from outside as ${refused.outcome}; its writes are refused`,
        },
      };
    case 'epochMoved':
      return {
        kind: refused.kind,
        closedAs: null,
        reason: {
          code: 'route.moved',
          message: `the route moved to epoch ${String(refused.current.epoch)} by ${refused.current.who} (${refused.current.why}) while the cycle expected epoch ${String(refused.expected)}; an operator wins over a cycle`,
          numbers: { expectedEpoch: refused.expected, epoch: refused.current.epoch },
        },
      };
    case 'championChanged':
      return {
        kind: refused.kind,
        closedAs: null,
        reason: {
          code: 'championChanged',
          message: `the challenger was compared with version ${String(refused.champion)}, but version ${String(refused.stable)} is stable now`,
          numbers: { champion: refused.champion, stable: refused.stable },
        },
      };
    case 'leaseExpired':
      return {
        kind: refused.kind,
        closedAs: null,
        reason: {
          code: 'lease.expired',
          message:
            'the lease of the candidate ran out before a health check renewed it; every gateway is back on stable and the lease can not be renewed',
        },
      };
  }
}
