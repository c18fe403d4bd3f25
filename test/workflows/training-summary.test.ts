import { describe, expect, it } from 'vitest';
import type { TrainingSummary } from '../../workflows/messages.ts';
import { describeTraining } from '../../workflows/training-summary.ts';

const summary: TrainingSummary = {
  strategy: 'incremental',
  wanted: 'incremental',
  why: 'incremental from version 7',
  examples: 12_000,
  metrics: { seconds: 3.14159, samplesPerSecond: 14_804.2, trainLogLoss: null },
  warnings: [{ code: 'trainer.batchHalved', message: 'out of memory' }],
  parity: { rows: 10_000, maxDelta: 1.1920928955078125e-7, meanDelta: 2e-8 },
};

describe('what operators read of a training', () => {
  it.each<[string, Partial<TrainingSummary>, string]>([
    [
      'everything that is known',
      {},
      'incremental (incremental from version 7), 12,000 examples, seconds 3.1416, samplesPerSecond 14,804, trainLogLoss unknown, warnings trainer.batchHalved; ONNX differs by at most 1.2e-7 on 10,000 rows',
    ],
    [
      'that the trainer did something else',
      { strategy: 'full', metrics: {}, warnings: [], parity: null },
      'full (where incremental was wanted; incremental from version 7), 12,000 examples',
    ],
    [
      'a trainer that says little, of a cycle of an older build',
      {
        ...{ strategy: 'full', wanted: null, why: null, examples: null, metrics: {}, warnings: [] },
        parity: { rows: 0, maxDelta: null, meanDelta: null },
      },
      'full; ONNX not compared',
    ],
  ])('%s', (_, change, text) => {
    expect(describeTraining({ ...summary, ...change })).toBe(text);
  });
});
