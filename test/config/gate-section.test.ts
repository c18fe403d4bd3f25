import { expect, test } from 'vitest';
import { ConfigError, parseLineConfig } from '../../config/load.ts';
import { atSpeed } from '../../config/speed.ts';

const HEAD = 'line: news-feed\nfeatures: [{ kind: categorical, name: topic }]\n';
const read = (rest: string) => parseLineConfig(HEAD + rest, 'news.yaml');

function problemOf(rest: string): string {
  try {
    read(rest);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

test('a line that says nothing has a gate: not worse in AUC, better than chance, calibrated, new users and items measured', () => {
  const { evaluation, gate, retention } = read('');
  expect(gate).toMatchObject({
    metric: 'auc',
    tolerance: 0.002,
    thresholds: [{ metric: 'auc', min: 0.55 }],
    calibration: { min: 0.9, max: 1.1 },
    onInconclusive: 'reject',
    approval: 'never',
  });
  expect(evaluation).toMatchObject({
    k: 10,
    slices: [
      { name: 'users', novelty: 'user' },
      { name: 'items', novelty: 'item' },
    ],
  });
  expect(retention.stables).toBe(3);
});

test.each([
  [
    'gate: { slices: [{ slice: surface }] }',
    'gate.slices[0].slice: evaluation.slices has no "surface": expected one of users, items',
  ],
  [
    'evaluation: { slices: [] }\ngate: { segmentGap: [{ slice: users, max: 0.1 }] }',
    'gate.segmentGap[0].slice: evaluation.slices has no "users": there are none',
  ],
  [
    'gate: { slices: [{ slice: users, minRows: 100 }] }',
    'gate.slices[0].minRows: parts of 100 rows are not measured: expected at least evaluation.sliceMinRows (200)',
  ],
  [
    'gate: { latency: [{ candidates: 20, maxP99: 5ms }] }',
    'gate.latency[0].candidates: not timed: expected one of evaluation.latencyCandidates (1, 50, 500)',
  ],
  ['gate: { calibration: { min: 1.2 } }', 'gate.calibration: min must be below max'],
  [
    'evaluation: { slices: [{ name: a, column: topic }, { name: a, expression: "1" }] }',
    'evaluation.slices: slice "a" is declared twice',
  ],
  ['gate: { minGain: [{ metric: calibration, by: 0.1 }] }', 'gate.minGain[0].metric'],
  ['retention: { stables: 2 }', 'retention.stables'],
  ['gate: { thresholds: [{ metric: auc }] }', 'gate.thresholds[0]: a threshold needs min, max or both'],
  ['gate: { latency: [{ candidates: 50 }] }', 'gate.latency[0]: expected maxP50, maxP99 or maxRatio'],
  ['gate: { size: {} }', 'gate.size: expected maxBytes, maxRatio or both'],
])('%s is refused', (rest, message) => {
  expect(problemOf(rest)).toContain(`news.yaml: ${message}`);
});

test('a gate of every kind of rule is read', () => {
  const { gate } = read(`
evaluation: { slices: [{ name: surface, column: topic, values: [home, search] }, { name: long, expression: "position > 5" }] }
gate:
  metric: ndcg
  notWorse: [{ metric: normalizedEntropy, tolerance: 0.01 }]
  minGain: [{ metric: ndcg, by: 0.01, relative: true }]
  slices: [{ slice: surface, required: [home] }]
  segmentGap: [{ slice: long, max: 0.2 }]
  latency: [{ candidates: 50, maxP99: 20ms, maxRatio: 2 }]
  size: { maxBytes: 100000000 }
  calibration: null
  onInconclusive: extend
`);
  expect(gate).toMatchObject({
    slices: [{ slice: 'surface', metric: 'auc', correction: 'holm', required: ['home'], onInconclusive: 'pass' }],
    latency: [{ candidates: 50, maxP99: 20, maxRatio: 2 }],
    calibration: null,
    extend: { every: 1_800_000, times: 2, then: 'reject' },
  });
});

test('a demo at speed waits for rows and people as much shorter, and keeps files as long', () => {
  const { gate, retention } = atSpeed(read('gate: { onInconclusive: extend }'), 60);
  expect(gate.extend.every).toBe(30_000);
  expect(gate.approvalReminder).toBe(120_000);
  expect(retention.for).toBe(30 * 86_400_000);
});
