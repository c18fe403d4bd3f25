import { describe, expect, test } from 'vitest';
import type { VersionCard } from '../../../data/card/card.ts';
import { readMetrics } from '../../../data/card/recorded.ts';
import { draw } from './draw.ts';
import { card, config, HOUR, manifest, report, SNAPSHOT, spans, TAKEN } from './stage.ts';
import { evaluation, figures } from './stage-evaluation.ts';

describe('what a card says first', () => {
  const candidate = { routes: [], statuses: [], route: { ...card().route, stable: 11 } };
  const gate = (kind: string, message: string) => ({ kind, reasons: [{ code: 'gate.comparison', message }] });

  test.each<[string, VersionCard, string[]]>([
    [
      'a promoted version',
      card(),
      [
        'version 12 stable',
        'Serves. Stable since 2026-05-12 17:05',
        'The gate let it through. Not inferior',
        'No person was asked',
        'promoted it. Healthy',
        'AUC 0.7834 (0.7793 to 0.7877)',
        '+0.0043 (+0.0024 to +0.0062) over version 11',
      ],
    ],
    [
      'a rejected version',
      card({
        ...candidate,
        version: { status: 'rejected' },
        recorded: { gate: gate('reject', 'Inferior: the upper bound is below -0.002') },
        cycle: { outcome: 'rejected', reasons: [{ code: 'x', message: 'Inferior: the upper bound is below -0.002' }] },
      }),
      [
        'version 12 rejected',
        'Never served',
        'The gate rejected it. Inferior: the upper bound is below -0.002.',
        'Its cycle rejected it.',
      ],
    ],
    [
      'an inconclusive version that a person approved',
      card({
        config: config({ gate: { approval: 'onInconclusive' } }),
        recorded: { gate: { ...gate('inconclusive', '-0.002 lies between the bounds'), neededRows: 90_000 } },
        decisions: [
          {
            id: 1,
            line: 'news-feed',
            version: 12,
            cycleId: 'cycle-12',
            kind: 'approved',
            who: 'ann',
            why: 'the last week was quiet',
            details: {},
            at: new Date(TAKEN),
          },
        ],
      }),
      [
        'The gate could not decide. -0.002 lies between the bounds. About 90,000 rows would decide.',
        'Approved by ann, 2026-05-12 16:00 UTC: The last week was quiet.',
      ],
    ],
    [
      'a version that nobody decided about in time',
      card({
        ...candidate,
        recorded: { gate: gate('inconclusive', 'unclear') },
        decisions: [
          {
            id: 1,
            line: 'news-feed',
            version: 12,
            cycleId: 'cycle-12',
            kind: 'expired',
            who: 'the deadline',
            why: 'no answer in 4 h',
            details: {},
            at: new Date(TAKEN),
          },
        ],
      }),
      ['Nobody decided in time, 2026-05-12 16:00 UTC: No answer in 4 h.'],
    ],
    [
      'a tainted version',
      card({
        contamination: {
          version: 12,
          how: 'descends',
          parent: 11,
          window: { snapshotId: SNAPSHOT, reason: 'half loaded', fromMs: TAKEN - 9 * HOUR, toMs: TAKEN - 8 * HOUR },
        },
      }),
      [
        'Tainted. It descends from version 11 and so from snapshot ab12ab12ab12, which is tainted: half loaded. Nothing trains on from version 12 any more.',
      ],
    ],
    [
      'a first version',
      card({
        version: { parent: null, lineage: { strategy: 'full', parent: null } },
        ancestors: [],
        recorded: {
          evaluation: evaluation({
            champion: null,
            overall: { ...figures(), champion: null, gain: null },
            calibrationCurve: { ...evaluation().calibrationCurve, champion: null },
          }),
        },
      }),
      ['there was no champion to compare with', 'none: trained from scratch'],
    ],
    [
      'a canary',
      card({
        version: { status: 'canary' },
        routes: spans()
          .slice(0, 3)
          .map((span, index, all) => (index === all.length - 1 ? { ...span, toAt: null } : span)),
        route: { ...card().route, stable: 11, canary: 12, canaryShare: 0.05 },
        cycle: { outcome: null, closedAt: null },
      }),
      ['Serves as a canary: 5 % of the traffic since', 'Its cycle is still running: canary.'],
    ],
    [
      'a version that was rolled back',
      card({
        version: { status: 'rolledBack' },
        routes: spans().slice(0, 4),
        route: { ...card().route, stable: 11 },
        takenOff: { who: 'the monitor', why: 'log loss rose' },
        cycle: { outcome: 'rolledBack', reasons: [{ code: 'health', message: 'three checks failed' }] },
      }),
      [
        'rolled back',
        'Does not serve; it was a canary until 2026-05-12 16:53 UTC. Taken off by the monitor: log loss rose.',
        'Its cycle rolled it back. Three checks failed.',
      ],
    ],
    [
      'version 0',
      card({
        version: { version: 0, lineage: {}, parent: null, cycleId: null },
        recorded: { evaluation: undefined, gate: undefined },
        config: null,
        cycle: null,
        data: { kind: 'none' },
        ancestors: [],
        route: { ...card().route, stable: 0 },
      }),
      ['Keeps the order of the input: there is no model', 'Serves.'],
    ],
  ])('of %s', (_what, of, says) => {
    const { header, markdown } = draw(of);
    for (const part of says) expect(header).toContain(part);
    const plain = markdown.replace(/[*\\]/g, '');
    for (const part of says.filter((said) => /^(Its|The gate|Tainted|Serves|Does not)/.test(said)))
      expect(plain).toContain(part);
  });

  test('the verdict comes before the figures, the figures before the data, the data before how it was made', () => {
    const { text } = draw(card());
    const order = ['The gate let it through', 'On the holdout:', 'Rows by part', 'freshet reproduce news-feed 12'].map(
      (part) => text.indexOf(part),
    );
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(order[0]).toBeGreaterThan(0);
  });
});

describe('what was not measured is said', () => {
  const limitsOf = (of: VersionCard): string => draw(of).text.split('Limits').at(-1)?.split('Intended use')[0] ?? '';

  test.each<[string, VersionCard, string]>([
    ['slices that are too small', card(), 'Too small to be measured: surface widget (179 rows).'],
    [
      'no champion',
      card({
        recorded: { evaluation: evaluation({ champion: null, overall: { ...figures(), champion: null, gain: null } }) },
      }),
      'There was no champion',
    ],
    [
      'no historical holdout',
      card({ recorded: { evaluation: evaluation({ historical: null }) } }),
      'no historical holdout yet',
    ],
    [
      'what it forgot',
      card({
        recorded: {
          evaluation: evaluation({
            historical: { rows: 9, challenger: { auc: 0.7, logLoss: 0.3 }, champion: { auc: 0.8, logLoss: 0.3 } },
          }),
        },
      }),
      "the challenger's auc is worse by 0.1",
    ],
    [
      'a metric that is no number',
      card({
        recorded: {
          evaluation: {
            ...evaluation(),
            overall: {
              ...figures(),
              challenger: {
                ...figures().challenger,
                ndcg: { estimate: null, lower: null, upper: null, standardError: null },
              },
            },
          },
        },
      }),
      'Could not be computed: NDCG@10.',
    ],
    [
      'a handicapped champion',
      card({ recorded: { evaluation: evaluation({ championMissing: ['dwell'] }) } }),
      'scored without features that the holdout lacks (dwell)',
    ],
    [
      'silenced checks',
      card({
        data: {
          kind: 'known',
          snapshotId: SNAPSHOT,
          manifest: manifest(),
          report: report([
            {
              check: 'drift.label',
              status: 'silenced',
              message: 'm',
              silence: { until: '2026-06-01T00:00:00Z', reason: 'the holiday week' },
            },
          ]),
        },
      }),
      'silenced and would have spoken: drift.label',
    ],
    [
      'unverified features',
      card({
        config: config({
          features: [
            {
              kind: 'numeric',
              name: 'late',
              joined: {
                path: 'x',
                column: 'c',
                on: { userId: 'u', itemId: 'i', eventTimeMs: 't' },
                parity: 'unverified',
              },
            },
          ],
          evaluation: {},
          gate: {},
        }),
      }),
      'not known to be the same when served: late',
    ],
    ['no parity', card({ recorded: { parity: undefined } }), 'model.onnx says what the trainer says was not recorded'],
    [
      'a snapshot that can not be read',
      card({ data: { kind: 'unreadable', snapshotId: SNAPSHOT, why: 'gone' } }),
      'Its snapshot can not be read',
    ],
  ])('%s', (_what, of, says) => {
    expect(limitsOf(of)).toContain(says);
  });

  test('a version of an older build shows what that build recorded, and says what it did not', () => {
    const older = {
      ...{
        rows: 4_000,
        positives: 400,
        users: 900,
        champion: 11,
        gainStandardError: 0.001,
        maxScoreChange: 0.1,
        latencyMsPerRow: 0.01,
        modelBytes: 9,
      },
      challengerMetrics: { auc: { estimate: 0.71, lower: 0.7, upper: 0.72 } },
      championMetrics: { auc: { estimate: 0.7, lower: 0.69, upper: 0.71 } },
      gain: { estimate: 0.01, lower: 0.005, upper: 0.015 },
    };
    const { text, plots } = draw(card({ recorded: { evaluation: older, gate: { kind: 'pass', reasons: [] } } }));
    expect(text).toContain('evaluated by an older build');
    expect(text).toContain('0.710 (0.700 to 0.720)');
    expect(plots.map(({ name }) => name)).toEqual(['data-window', 'routes']);
  });

  test.each([
    ['nothing', {}],
    [
      'another shape',
      {
        evaluation: { rows: 'many' },
        gate: 'pass',
        training: 7,
        warnings: 'none',
        parity: [],
        examples: 'x',
        extensions: {},
      },
    ],
    ['nulls', { evaluation: null, gate: null, training: null, warnings: null, parity: null, examples: null }],
  ])('metrics with %s never break a card', (_what, recorded) => {
    const { text } = draw({ ...card(), metrics: readMetrics(recorded) });
    expect(text).toContain('No verdict of a gate is on record');
    expect(text).toMatch(/No evaluation is on record|can not read/);
  });
});

test('who promoted is told without repeating the reasons of the gate that stand below', () => {
  const reasons = ['auc is fine.', 'log loss is fine.'].map((message) => ({ code: 'gate', message }));
  const why = 'auc is fine.; log loss is fine.; version 12 passed the whole ramp';
  const { header } = draw(
    card({ recorded: { gate: { kind: 'pass', reasons } }, routes: spans().map((span) => ({ ...span, why })) }),
  );
  expect(header).toContain('Put there by cycle cycle-12: version 12 passed the whole ramp.');
});
