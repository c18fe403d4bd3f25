import { describe, expect, it } from 'vitest';
import {
  assessCheck,
  assessStepEnd,
  initialBreaker,
  type BreakerDecision,
  type BreakerState,
} from '../../policy/breaker.ts';
import type { HealthStatus } from '../../policy/health.ts';
import { lineConfig } from './line-config.ts';

const config = lineConfig().canary;
const STATUS = { p: 'pass', f: 'fail', i: 'insufficient', u: 'unknown' } as const satisfies Record<
  string,
  HealthStatus
>;
const MINUTE = 60_000;

/** Runs one check a minute, written as letters; each state goes through JSON, as it does in a workflow. */
function run(
  checks: string,
  options: { failuresToRollBack?: number; everyMs?: number } = {},
): { state: BreakerState; decisions: BreakerDecision[] } {
  let state = initialBreaker();
  const decisions = Array.from(checks, (letter, index) => {
    const status = STATUS[letter as keyof typeof STATUS];
    const check = {
      status,
      reasons: [{ code: `test.${status}`, message: letter }],
      atMs: 1_000 + index * (options.everyMs ?? MINUTE),
    };
    const assessed = assessCheck({ state, check, config: { ...config, ...options } });
    state = JSON.parse(JSON.stringify(assessed.state)) as BreakerState;
    return assessed.decision;
  });
  return { state, decisions };
}

/** One letter a check: c continue, h hold, R rollback. */
const kinds = (decisions: BreakerDecision[]): string =>
  decisions.map(({ kind }) => (kind === 'rollback' ? 'R' : kind.charAt(0))).join('');

describe('assessCheck', () => {
  it.each([
    ['passes go on', 'ppp', 'ccc'],
    ['three failures in a row roll back', 'fff', 'hhR'],
    ['two do not', 'ffp', 'hhc'],
    ['a pass forgets the failures before it', 'ffpffp', 'hhchhc'],
    ['a pass between does not hide a later run', 'pfpfff', 'chchhR'],
    ['insufficient holds and is no failure', 'iiiiii', 'hhhhhh'],
    ['insufficient neither adds to a run of failures nor resets it', 'fififf', 'hhhhRR'],
    ['three in a row of which none passed and one failed: fail first', 'fuu', 'hhR'],
    ['three in a row of which none passed and one failed: fail last', 'uuf', 'hhR'],
    ['three in a row of which none passed and one failed: fail between', 'ufu', 'hhR'],
    ['a failure after a longer run of unknown', 'uuuf', 'hhhR'],
    ['insufficient between them changes nothing', 'uiuif', 'hhhhR'],
    ['a pass among them does', 'fupuf', 'hhchh'],
    ['unknown alone goes on for less than 5 minutes', 'uuuuu', 'hhhhh'],
    ['unknown alone rolls back at 5 minutes', 'uuuuuu', 'hhhhhR'],
    ['a check that is known starts the 5 minutes anew', 'uuuuiuuuuu', 'hhhhhhhhhh'],
    ['and they run out again', 'uuuupuuuuuu', 'hhhhchhhhhR'],
  ])('%s: %s', (_, checks, expected) => {
    expect(kinds(run(checks).decisions)).toBe(expected);
  });

  it('measures unknown by time, not by checks', () => {
    expect(kinds(run('uuu', { everyMs: 149_999 }).decisions)).toBe('hhh');
    expect(kinds(run('uuu', { everyMs: 150_000 }).decisions)).toBe('hhR');
  });

  it.each([
    [1, 'f', 'R'],
    [1, 'u', 'h'],
    [2, 'uf', 'hR'],
    [5, 'ffff', 'hhhh'],
  ])('rolls back after %i', (failuresToRollBack, checks, expected) => {
    expect(kinds(run(checks, { failuresToRollBack }).decisions)).toBe(expected);
  });

  it('renews the lease with every decision but rollback, and never with that', () => {
    for (const checks of ['pppfff', 'fififf', 'uuuuuu', 'uuf', 'iiiiif']) {
      for (const decision of run(checks).decisions) expect(decision.renewLease).toBe(decision.kind !== 'rollback');
    }
  });

  it('says why it rolls back, before what the check itself found', () => {
    expect(run('fuu').decisions[2]?.reasons).toEqual([
      {
        code: 'breaker.failures',
        message:
          '3 health checks in a row did not pass, 1 of them failed and the others could not be read (3 roll back).',
        numbers: { unpassed: 3, failed: 1, limit: 3 },
      },
      { code: 'test.unknown', message: 'u' },
    ]);
    expect(run('fff').decisions[2]?.reasons[0]?.message).toBe('3 health checks in a row failed (3 roll back).');
    expect(run('uuuuuu').decisions[5]?.reasons[0]?.message).toBe(
      "The canary's health has not been known for 5 min (at most 5 min).",
    );
  });

  it('remembers when the first failure of the current run was, for the time to the rollback', () => {
    expect(run('pufiu').state.firstFailedAtMs).toBe(1_000 + 2 * MINUTE);
    expect(run('pffpif').state.firstFailedAtMs).toBe(1_000 + 5 * MINUTE);
    expect(run('pfuf').state.firstFailedAtMs).toBe(1_000 + MINUTE);
    expect(run('ffp').state.firstFailedAtMs).toBeNull();
  });

  it('rolls back at one alarm of the sequential evidence, whatever was before', () => {
    const check = { status: 'fail' as const, reasons: [], atMs: 5_000, alarm: true };
    const { state, decision } = assessCheck({ state: { ...run('pp').state, peakEvidence: 6 }, check, config });
    expect(decision).toMatchObject({ kind: 'rollback', renewLease: false, reasons: [{ code: 'breaker.alarm' }] });
    expect(state).toMatchObject({ firstFailedAtMs: 5_000, peakEvidence: 6 });
  });

  it('carries the most evidence over checks that pass, and has none in the mode consecutive', () => {
    const check = { status: 'pass' as const, reasons: [], atMs: 5_000 };
    expect(assessCheck({ state: { ...run('f').state, peakEvidence: 2 }, check, config }).state.peakEvidence).toBe(2);
    expect(run('pfp').state).not.toHaveProperty('peakEvidence');
  });

  it('counts the checks by status', () => {
    expect(run('ppfiu').state.counts).toEqual({ pass: 2, fail: 1, insufficient: 1, unknown: 1 });
  });
});

describe('assessStepEnd', () => {
  it.each([
    ['p', false, 'advance'],
    ['p', true, 'advance'],
    ['ffp', false, 'advance'],
    ['i', false, 'extend'],
    ['i', true, 'rollback'],
    ['pi', true, 'rollback'],
    ['pf', false, 'extend'],
    ['pf', true, 'rollback'],
    ['pu', false, 'extend'],
    ['pu', true, 'rollback'],
    ['', false, 'extend'],
    ['', true, 'rollback'],
  ])('after the checks "%s" (extended before: %s): %s', (checks, extended, expected) => {
    expect(assessStepEnd({ state: run(checks).state, extended }).kind).toBe(expected);
  });

  it('names the last check and the counts', () => {
    const { reasons } = assessStepEnd({ state: run('pii').state, extended: true });
    expect(reasons[0]).toMatchObject({
      code: 'breaker.step-undecided',
      numbers: { last: 'insufficient', pass: 1, insufficient: 2 },
    });
  });
});
