import { describe, expect, it, test } from 'vitest';
import { alertFigures } from '../../activities/alert-figures.ts';
import { cycleAlert } from '../../activities/cycle-alert.ts';
import type { Reason } from '../../policy/verdict.ts';
import type { CycleRecord, Outcome } from '../../store/types.ts';
import { lineConfig } from '../store/stage.ts';

const cycle: CycleRecord = {
  ...{ cycleId: 'freshet-news-feed/1', line: 'news-feed', workflowId: 'freshet-news-feed', runId: 'r' },
  ...{ trigger: 'schedule', config: lineConfig(), configHash: 'c', stableAtStart: 6, parent: 6, parentReason: null },
  ...{ candidate: 7, phases: [], startedAt: new Date(), closedAt: null, outcome: null, reasons: [] },
};
const alertOf = (outcome: Outcome, reasons: Reason[]) =>
  cycleAlert({ uiUrl: 'http://ui' }, { cycle, outcome, version: 7, reasons });
const reason = (code: string, numbers: Reason['numbers'] = {}): Reason => ({ code, message: `${code}.`, numbers });

describe('the figures of an alert', () => {
  test.each<[string, Reason[], Record<string, string>]>([
    [
      'of a rollback are those of the metric, not of the count of checks',
      [
        reason('breaker.failures', { unpassed: 3, failed: 3, limit: 3 }),
        reason('health.error-rate.fail', { rate: 0.0412, errors: 17, requests: 412, max: 0.01 }),
      ],
      { metric: 'error rate', observed: '0.0412', expected: 'at most 0.01', counts: '17 errors, 412 requests' },
    ],
    [
      'of a comparison with stable',
      [reason('health.log-loss.fail', { canaryImpressions: 1200, stableImpressions: 9000, z: 3.1, maxZ: 2.33 })],
      {
        ...{ metric: 'log loss', observed: '3.1', expected: 'at most z 2.33' },
        counts: '1,200 canary impressions, 9,000 stable impressions',
      },
    ],
    [
      'of the gate have the gain with its bounds',
      [
        reason('gate.comparison.inferior', {
          ...{
            metric: 'logLoss',
            estimate: -0.0123,
            lower: -0.02,
            upper: -0.005,
            limit: -0.001,
            rows: 52000,
            users: 900,
          },
        }),
      ],
      {
        ...{ metric: 'logLoss, comparison', observed: 'estimate -0.0123, lower -0.02, upper -0.005' },
        ...{ expected: 'limit -0.001', counts: '52,000 rows, 900 users' },
      },
    ],
    [
      'of a check have its limits, durations and times in words',
      [
        reason('freshness', {
          maxLag: 7_200_000,
          rowLagMs: 9_000_000,
          newestRowMs: 1_700_000_000_000,
          arrivalLagMs: null,
        }),
      ],
      {
        ...{ metric: 'freshness', expected: 'at most lag 120 min' },
        observed: 'row lag 150 min, newest row 2023-11-14T22:13:20.000Z, arrival lag none',
      },
    ],
    ['of a reason without numbers are its name', [reason('lease.expired')], { metric: 'lease.expired' }],
    ['are none without a reason', [], {}],
  ])('%s', (_, reasons, expected) => {
    expect(alertFigures(reasons)).toEqual(expected);
  });

  it('are not more than one reads', () => {
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`drift.f${String(index)}`, 0.5]));
    expect(alertFigures([reason('drift.features', many)]).observed?.split(', ')).toHaveLength(7);
  });
});

describe('the alert of a cycle', () => {
  it('carries line, versions, figures, every reason and a link to the run', () => {
    const found = reason('health.error-rate.fail', { rate: 0.04, errors: 4, requests: 100, max: 0.01 });
    expect(alertOf('rolledBack', [reason('breaker.failures', { failed: 3, limit: 3 }), found])).toEqual({
      ...{ dedupKey: 'freshet-news-feed/1/rolledBack', severity: 'warning', page: false, line: 'news-feed' },
      ...{ title: 'news-feed rolled back (version 7)', text: 'breaker.failures.\nhealth.error-rate.fail.' },
      fields: {
        ...{ outcome: 'rolledBack', version: 7, stableAtStart: 6, trigger: 'schedule' },
        ...{ metric: 'error rate', observed: '0.04', expected: 'at most 0.01', counts: '4 errors, 100 requests' },
      },
      ...{ url: 'http://ui/namespaces/default/workflows/freshet-news-feed/r', kind: 'rolledBack', resolvesBefore: 4 },
      incident: { action: 'open', key: 'news-feed/rolledBack/breaker.failures', stage: 4 },
    });
  });

  test.each<[Outcome, string, string | null, number | null]>([
    ['skipped', 'volume', 'news-feed/skipped/volume', 1],
    ['failed', 'train.failed', 'news-feed/failed/train.failed', 2],
    ['rejected', 'gate.comparison.inferior', 'news-feed/rejected/gate.comparison.inferior', 3],
    ['rejected', 'approval.expired', 'news-feed/rejected/approval.expired', 3],
    ['rejected', 'approval.rejected', null, 3],
    ['rejected', 'championChanged', null, 3],
    ['rolledBack', 'operator.forceRollback', null, 4],
    ['rolledBack', 'lease.expired', 'news-feed/rolledBack/lease.expired', 4],
    ['aborted', 'operator.abort', null, null],
    ['promoted', 'promoted', null, 10],
  ])('%s by %s is the incident %s and ends those before stage %s', (outcome, code, key, stage) => {
    const { incident, resolvesBefore = null } = alertOf(outcome, [reason(code)]);
    expect([incident?.key ?? null, resolvesBefore]).toEqual([key, stage]);
  });
});
