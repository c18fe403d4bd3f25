import type { CanaryConfig } from '../config/schema.ts';
import { milliseconds } from './figures.ts';
import type { HealthStatus, HealthVerdict } from './health.ts';
import type { Reason } from './verdict.ts';

/** What the breaker remembers of a ramp. Plain JSON; carried over steps, made new for each cycle. */
export interface BreakerState {
  /** Checks so far, by status. */
  counts: Record<HealthStatus, number>;
  last: HealthStatus | null;
  /** `fail` and `unknown` checks since the last `pass`; `insufficient` neither adds nor resets. */
  unpassed: number;
  /** How many of those failed. */
  failed: number;
  /** Operating time (Unix ms) of the first `fail` since the last `pass`: from here the rollback's three minutes count. */
  firstFailedAtMs: number | null;
  /** Operating time (Unix ms) of the first `unknown` since the source last answered. */
  unknownSinceMs: number | null;
  /** Of the sequential evidence: the most there was, as a natural logarithm; left out in the mode `consecutive`. */
  peakEvidence?: number;
}

/** A health verdict and when its check started (operating time, Unix ms). */
export interface Check extends HealthVerdict {
  atMs: number;
}

export interface BreakerDecision {
  /** `continue`: the step may advance when it is over; `hold`: stay where it is and go on checking. */
  kind: 'continue' | 'hold' | 'rollback';
  reasons: Reason[];
  /** Whether this check may renew the lease. Never with `rollback`. */
  renewLease: boolean;
}

export interface StepEnd {
  kind: 'advance' | 'extend' | 'rollback';
  reasons: Reason[];
}

export function initialBreaker(): BreakerState {
  return {
    counts: { pass: 0, fail: 0, insufficient: 0, unknown: 0 },
    last: null,
    unpassed: 0,
    failed: 0,
    firstFailedAtMs: null,
    unknownSinceMs: null,
  };
}

/**
 * What one check means for the canary. A `pass` forgets what was before. `failuresToRollBack` checks in a row of which
 * none passed and at least one failed roll back; checks that are `unknown` only, once they have lasted for
 * `maxUnknown`, do too. `insufficient` holds the step and is neither a failure nor a reset. An alarm of the sequential
 * evidence rolls back at once.
 */
export function assessCheck({ state, check, config }: { state: BreakerState; check: Check; config: CanaryConfig }): {
  state: BreakerState;
  decision: BreakerDecision;
} {
  const next = remember(state, check);
  const rollback = rollbackReason(next, check, config);
  if (rollback !== null) {
    return { state: next, decision: { kind: 'rollback', reasons: [rollback, ...check.reasons], renewLease: false } };
  }
  const kind = check.status === 'pass' ? 'continue' : 'hold';
  return { state: next, decision: { kind, reasons: check.reasons, renewLease: true } };
}

/**
 * What happens when a step's time is over: it advances only on a check that passed. Anything else extends it once (by
 * the step's own duration), since a first failure or too little data is not a verdict; after that the cycle rolls back.
 *
 * @param extended whether this step was extended already.
 */
export function assessStepEnd({ state, extended }: { state: BreakerState; extended: boolean }): StepEnd {
  const last = state.last ?? 'none';
  if (state.last === 'pass') {
    return {
      kind: 'advance',
      reasons: [{ code: 'breaker.step-passed', message: 'The last check of the step passed.' }],
    };
  }
  const numbers = { last, ...state.counts };
  const found = last === 'none' ? 'No check was done in the step' : `The last check of the step was "${last}"`;
  if (!extended) {
    return {
      kind: 'extend',
      reasons: [{ code: 'breaker.step-extended', message: `${found}: it is extended once.`, numbers }],
    };
  }
  const message = `${found}, after it had been extended once: nothing shows that the canary is well.`;
  return { kind: 'rollback', reasons: [{ code: 'breaker.step-undecided', message, numbers }] };
}

function remember(state: BreakerState, { status, atMs }: Check): BreakerState {
  const counts = { ...state.counts, [status]: state.counts[status] + 1 };
  const unknownSinceMs = status === 'unknown' ? (state.unknownSinceMs ?? atMs) : null;
  const peak = state.peakEvidence === undefined ? {} : { peakEvidence: state.peakEvidence };
  if (status === 'pass') return { ...initialBreaker(), counts, last: status, ...peak };
  if (status === 'insufficient') return { ...state, counts, last: status, unknownSinceMs };
  const failed = status === 'fail';
  return {
    ...peak,
    counts,
    last: status,
    unpassed: state.unpassed + 1,
    failed: state.failed + (failed ? 1 : 0),
    firstFailedAtMs: failed ? (state.firstFailedAtMs ?? atMs) : state.firstFailedAtMs,
    unknownSinceMs,
  };
}

function rollbackReason(state: BreakerState, check: Check, config: CanaryConfig): Reason | null {
  const { unpassed, failed, unknownSinceMs } = state;
  if (check.alarm === true)
    return { code: 'breaker.alarm', message: 'The evidence that the canary is worse has reached its limit.' };
  if (failed > 0 && unpassed >= config.failuresToRollBack) {
    const message =
      failed === unpassed
        ? `${String(failed)} health checks in a row failed (${String(config.failuresToRollBack)} roll back).`
        : `${String(unpassed)} health checks in a row did not pass, ${String(failed)} of them failed and the others could not be read (${String(config.failuresToRollBack)} roll back).`;
    return { code: 'breaker.failures', message, numbers: { unpassed, failed, limit: config.failuresToRollBack } };
  }
  if (unknownSinceMs !== null && check.atMs - unknownSinceMs >= config.maxUnknown) {
    const unknownMs = check.atMs - unknownSinceMs;
    const message = `The canary's health has not been known for ${milliseconds(unknownMs)} (at most ${milliseconds(config.maxUnknown)}).`;
    return { code: 'breaker.unknown', message, numbers: { unknownMs, maxUnknownMs: config.maxUnknown } };
  }
  return null;
}
