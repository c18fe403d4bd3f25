import { describe, expect, it } from 'vitest';
import { assessCheck, initialBreaker, type BreakerDecision, type BreakerState } from '../../policy/breaker.ts';
import type { HealthStatus } from '../../policy/health.ts';
import { assessWatchEnd, watchBreaker } from '../../policy/watch.ts';
import { lineConfig } from './line-config.ts';

const STATUS: Record<string, HealthStatus> = { p: 'pass', f: 'fail', i: 'insufficient', u: 'unknown' };

/** One check a minute, written as letters; each state goes through JSON, as it does in a workflow. */
function watch(checks: string): { state: BreakerState; last: BreakerDecision['kind'] | null } {
  let state = initialBreaker();
  let last: BreakerDecision['kind'] | null = null;
  for (const [index, letter] of Array.from(checks).entries()) {
    const check = { status: STATUS[letter] ?? 'unknown', reasons: [], atMs: index * 60_000 };
    const assessed = assessCheck({ state, check, config: watchBreaker(lineConfig().canary) });
    state = JSON.parse(JSON.stringify(assessed.state)) as BreakerState;
    last = assessed.decision.kind;
  }
  return { state, last };
}

describe('the breaker in the watch', () => {
  it.each([
    ['pppp', 'continue'],
    ['pfff', 'rollback'],
    ['pffu', 'rollback'],
    ['pff', 'hold'],
    // Half an hour of it: no lease runs out, and the stable is not changed for what is not known.
    ['u'.repeat(30), 'hold'],
    ['i'.repeat(30), 'hold'],
  ] as const)('after %s says %s', (checks, last) => {
    expect(watch(checks).last).toBe(last);
  });
});

describe('assessWatchEnd', () => {
  it.each([
    // checks, extended before, the end, its code
    ['pip', false, 'advance', 'breaker.step-passed'],
    ['ip', true, 'advance', 'breaker.step-passed'],
    ['', false, 'extend', 'breaker.step-extended'],
    ['pi', false, 'extend', 'breaker.step-extended'],
    ['pf', false, 'extend', 'breaker.step-extended'],
    ['', true, 'undecided', 'watch.undecided'],
    ['iii', true, 'undecided', 'watch.undecided'],
    ['uuu', true, 'undecided', 'watch.undecided'],
    ['ffpi', true, 'undecided', 'watch.undecided'],
    ['pf', true, 'rollback', 'watch.failed'],
    ['pfi', true, 'rollback', 'watch.failed'],
    ['ufi', true, 'rollback', 'watch.failed'],
  ] as const)('after "%s", extended before: %s, says %s', (checks, extended, kind, code) => {
    const end = assessWatchEnd({ state: watch(checks).state, extended });
    expect([end.kind, end.reasons[0]?.code]).toEqual([kind, code]);
  });

  it('says in numbers what was found', () => {
    const { reasons } = assessWatchEnd({ state: watch('puii').state, extended: true });
    expect(reasons[0]).toMatchObject({
      message: expect.stringMatching(/its last check was "insufficient".*passed the ramp and stays/) as string,
      numbers: { last: 'insufficient', pass: 1, unknown: 1, insufficient: 2, fail: 0 },
    });
  });
});
