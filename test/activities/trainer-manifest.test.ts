import { describe, expect, it } from 'vitest';
import { planTraining, trainerManifest } from '../../activities/trainer-manifest.ts';
import { lineConfig } from '../policy/line-config.ts';

const parent = { version: 3, checkpointPath: '/artifacts/checkpoint' };
const { training } = lineConfig();

describe('planTraining', () => {
  const repair = { shrink: 0.9, perturb: 0.1 };

  it.each([
    ['the config', undefined, parent, { strategy: 'incremental', repair: null, parent }],
    ['what the cycle decided', { strategy: 'online' as const, repair: null }, parent, { strategy: 'online', parent }],
    ['a repair', { strategy: 'warmStart' as const, repair }, parent, { strategy: 'warmStart', repair, parent }],
    [
      'a training in full',
      { strategy: 'full' as const, repair },
      parent,
      { strategy: 'full', repair: null, parent: null },
    ],
    [
      'nothing to start from',
      { strategy: 'incremental' as const, repair },
      null,
      { strategy: 'full', repair: null, parent: null },
    ],
  ])('follows %s', async (_, decided, found, expected) => {
    expect(await planTraining(training, decided, () => Promise.resolve(found))).toMatchObject(expected);
  });
});

it('writes manifest version 2 with all that the config says of training', () => {
  const config = lineConfig();
  config.training = { ...training, recencyHalfLife: 86_400_000, rates: { known: 0.1, new: 1, dense: 0.3 } };
  const manifest = trainerManifest({
    cycle: { cycleId: 'c', line: 'l', config },
    plan: { strategy: 'incremental', repair: null, parent },
    snapshot: { splitMs: 1_234 },
    files: { train: ['/t'], replay: ['/r'], holdout: ['/h'] },
    devices: 2,
    folder: '/training/c',
  });

  expect(manifest).toMatchObject({
    ...{ contractVersion: 2, line: 'l', cycleId: 'c', cutoffMs: 1_234, strategy: 'incremental', devices: 2 },
    snapshot: { train: ['/t'], replay: ['/r'], holdout: ['/h'] },
    warmStart: { checkpoint: '/artifacts/checkpoint' },
    ...{
      workDir: '/training/c/work',
      outputDir: '/training/c/output',
      checkpointEverySeconds: 60,
      seed: 1,
      threads: 1,
    },
  });
  expect(Object.keys(manifest['hyperparameters'] as object).sort()).toEqual(
    [
      ...['admitAfter', 'batchSize', 'decay', 'distillation', 'epochs', 'expireAfterMs', 'freezeBase', 'hidden'],
      ...['learningRate', 'negativeShare', 'positions', 'rates', 'recencyHalfLifeMs', 'repair', 'tune', 'warmFactor'],
      ...['warmup', 'weightDecay', 'wideLearningRate'],
    ].sort(),
  );
  expect(manifest['hyperparameters']).toMatchObject({
    ...{ expireAfterMs: 2_592_000_000, recencyHalfLifeMs: 86_400_000, repair: null },
    rates: { known: 0.1, new: 1, dense: 0.3 },
  });
});

it('says null for what the config leaves out', () => {
  const { hyperparameters } = trainerManifest({
    cycle: { cycleId: 'c', line: 'l', config: lineConfig() },
    plan: { strategy: 'full', repair: null, parent: null },
    snapshot: { splitMs: 1 },
    files: { train: [], replay: [], holdout: [] },
    ...{ devices: 0, folder: '/training/c' },
  });

  expect(hyperparameters).toMatchObject({ rates: null, recencyHalfLifeMs: null, repair: null });
});
