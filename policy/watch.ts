import type { CanaryConfig } from '../config/schema.ts';
import { assessStepEnd, type BreakerState, type StepEnd } from './breaker.ts';
import type { Reason } from './verdict.ts';

/** What the end of a watch says: `undecided` keeps the version, since it passed the ramp. */
export type WatchEnd = StepEnd | { kind: 'undecided'; reasons: Reason[] };

/**
 * The breaker's settings for a version that was promoted and is watched: as in the ramp, but that `unknown` alone rolls
 * nothing back. There is no lease to run out, and what is not known of the stable is no reason to change it.
 */
export function watchBreaker(canary: CanaryConfig): CanaryConfig {
  return { ...canary, maxUnknown: Infinity };
}

/**
 * What happens when the watch's time is over: it ends well on a check that passed, and anything else extends it once.
 * After that a failure that no check has refuted rolls back; too little data, or a source that does not answer, does not.
 *
 * @param extended whether the watch was extended already.
 */
export function assessWatchEnd({ state, extended }: { state: BreakerState; extended: boolean }): WatchEnd {
  const end = assessStepEnd({ state, extended });
  if (end.kind !== 'rollback') return end;
  const numbers = { last: state.last ?? 'none', ...state.counts };
  const last = state.last === null ? 'there was no check in it' : `its last check was "${state.last}"`;
  const found = `The watch is over, after it had been extended once, and ${last}`;
  if (state.failed > 0) {
    const message = `${found}: no check has passed since one failed.`;
    return { kind: 'rollback', reasons: [{ code: 'watch.failed', message, numbers }] };
  }
  const message = `${found}: nothing shows that the version is well, and nothing that it is not; it passed the ramp and stays.`;
  return { kind: 'undecided', reasons: [{ code: 'watch.undecided', message, numbers }] };
}
