import { describe, expect, it, test } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import {
  decideTraining,
  trainedInFullAt,
  type ParentFacts,
  type TrainingFacts,
  type TrainingPast,
} from '../../policy/training-strategy.ts';
import { lineConfig } from './line-config.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = 1_000 * DAY;
const config = (training: LineConfigInput['training'] = {}) => lineConfig({ training }).training;
const ONLINE = config({ online: { every: '1h' } });

const PARENT: ParentFacts = {
  ...{
    version: 7,
    ofChampion: true,
    hasCheckpoint: true,
    trainedInFullAtMs: NOW - 2 * DAY,
    dormantUnits: 0.05,
    notUsedBy: null,
  },
  trainedWith: { hidden: [64, 32] },
};
const PAST: TrainingPast = {
  ...{ wholeCycleMs: NOW - 4 * HOUR, fullMs: NOW - 2 * DAY, fullByDriftMs: null, repairMs: null },
};
const ALARM = {
  takenAtMs: NOW - 4 * HOUR,
  findings: [{ check: 'drift.features', status: 'warn', message: 'topic moved by 0.4' }],
  answered: false,
};

function decide(change: Partial<TrainingFacts>, parent: Partial<ParentFacts> = {}, past: Partial<TrainingPast> = {}) {
  return decideTraining({
    ...{ config: config(), scheduleEveryMs: 4 * HOUR, seasonMs: DAY, trigger: 'schedule', nowMs: NOW, eventNowMs: NOW },
    ...{ parent: { ...PARENT, ...parent }, alarm: null, past: { ...PAST, ...past } },
    ...change,
  });
}

type Case = [string, Parameters<typeof decide>, strategy: string, codes: string[], words?: RegExp];

describe('the strategy of a cycle', () => {
  test.each<Case>([
    ['trains on from the parent', [{}], 'incremental', ['continued'], /from version 7.* in full 2 days ago/],
    ['is as configured', [{ config: config({ strategy: 'warmStart' }) }], 'warmStart', ['continued']],
    ['is full where the config says so', [{ config: config({ strategy: 'full' }) }], 'full', ['configured']],
    ['is full without a parent', [{ parent: null }], 'full', ['coldStart']],
    ['is full when the parent has no checkpoint', [{}, { hasCheckpoint: false }], 'full', ['noCheckpoint']],
    [
      'is full when the layers have other widths now',
      [{ config: config({ hidden: [64, 16] }) }],
      'full',
      ['layersChanged'],
      /64 and 32, and training\.hidden is 64 and 16 now/,
    ],
    ['is full under another trainer', [{ config: config({ command: ['gbdt'] }) }], 'full', ['trainerChanged']],
    ['takes a parent whose lineage does not say', [{}, { trainedWith: undefined }], 'incremental', ['continued']],
    ['is full when a trainer could not use the parent', [{}, { notUsedBy: 8 }], 'full', ['parentNotUsed'], /version 8/],

    ['is full on a drift trigger', [{ trigger: 'drift' }], 'full', ['drift'], /the drift trigger/],
    ['is full on a performance trigger', [{ trigger: 'performance' }], 'full', ['drift']],
    ['is not full on new examples', [{ trigger: 'newExamples' }], 'incremental', ['continued']],
    [
      'is full when the newest snapshot had drifted',
      [{ alarm: ALARM }],
      'full',
      ['drift'],
      /taken 4 h ago had drifted: drift\.features \(warn\): topic moved by 0\.4/,
    ],
    [
      'is not full on a drift that was answered',
      [{ alarm: { ...ALARM, answered: true } }],
      'incremental',
      ['continued'],
    ],
    ['is not full without a finding', [{ alarm: { ...ALARM, findings: [] } }], 'incremental', ['continued']],
    [
      'is full by drift once a season at most',
      [{ alarm: ALARM }, {}, { fullByDriftMs: NOW - DAY + 1 }],
      'incremental',
      ['continued', 'drift.held'],
      /not in full, although the snapshot .* answered by a training in full 24 h ago; .* a season of 24 h/,
    ],
    [
      'is full by a trigger once a season at most',
      [{ trigger: 'drift' }, {}, { fullByDriftMs: NOW - HOUR }],
      'incremental',
      ['continued', 'drift.held'],
    ],
    ['is full by drift again after a season', [{ alarm: ALARM }, {}, { fullByDriftMs: NOW - DAY }], 'full', ['drift']],
    [
      'is full by drift soon after another training in full',
      [{ alarm: ALARM }, {}, { fullMs: NOW - HOUR }],
      'full',
      ['drift'],
    ],

    [
      'is full again after a week',
      [{}, { trainedInFullAtMs: NOW - 7 * DAY }, { fullMs: NOW - 7 * DAY }],
      'full',
      ['reanchor'],
      /version 7 goes back to a training in full 7 days ago \(training\.reanchorEvery: 7 days\)/,
    ],
    ['is not full before', [{}, { trainedInFullAtMs: NOW - 7 * DAY + 1 }], 'incremental', ['continued']],
    [
      'is full when nothing is known of the last time',
      [{}, { trainedInFullAtMs: null }, { fullMs: null }],
      'full',
      ['reanchor'],
      /at a time that is not on record/,
    ],
    [
      'does not train in full again and again when that is rejected',
      [{}, { trainedInFullAtMs: NOW - 8 * DAY }, { fullMs: NOW - 4 * HOUR }],
      'incremental',
      ['continued', 'reanchor.held'],
      /trained in full 4 h ago is not what the line trains on from/,
    ],
    [
      'trains in full more often than once a season where the config says so',
      [
        { config: config({ reanchorEvery: '8h' }) },
        { trainedInFullAtMs: NOW - 8 * HOUR },
        { fullMs: NOW - 8 * HOUR - 60_000 },
      ],
      'full',
      ['reanchor'],
    ],

    ['is an online update between', [{ config: ONLINE }, {}, { wholeCycleMs: NOW - HOUR }], 'online', ['online']],
    [
      'is an online update with a slow start',
      [{ config: ONLINE }, {}, { wholeCycleMs: NOW - 3.49 * HOUR }],
      'online',
      ['online'],
      /version 7: the last whole cycle began 3\.5 h ago, the next is due 4 h after it/,
    ],
    [
      'is whole when that is due',
      [{ config: ONLINE }, {}, { wholeCycleMs: NOW - 3.5 * HOUR }],
      'incremental',
      ['continued'],
    ],
    [
      'is whole when the champion is not what is trained on',
      [{ config: ONLINE }, { ofChampion: false }, { wholeCycleMs: NOW - HOUR }],
      'incremental',
      ['continued'],
    ],
    [
      'is whole when somebody asks',
      [{ config: ONLINE, trigger: 'manual' }, {}, { wholeCycleMs: NOW - HOUR }],
      'incremental',
      ['continued'],
    ],
    [
      'is whole when there never was one',
      [{ config: ONLINE }, {}, { wholeCycleMs: null }],
      'incremental',
      ['continued'],
    ],
    ['is whole without online updates', [{}, {}, { wholeCycleMs: NOW - HOUR }], 'incremental', ['continued']],
    [
      'is full on drift between whole cycles, too',
      [{ config: ONLINE, alarm: ALARM }, {}, { wholeCycleMs: NOW - HOUR }],
      'full',
      ['drift'],
    ],
    [
      'leaves re-anchoring to whole cycles',
      [{ config: ONLINE }, { trainedInFullAtMs: NOW - 8 * DAY }, { wholeCycleMs: NOW - HOUR }],
      'online',
      ['online'],
    ],
    [
      'updates online between trainings in full',
      [{ config: { ...ONLINE, strategy: 'full' } }, {}, { wholeCycleMs: NOW - HOUR }],
      'online',
      ['online'],
    ],
  ])('%s', (_name, facts, strategy, codes, words = /./) => {
    const decision = decide(...facts);
    expect(decision.strategy).toBe(strategy);
    expect(decision.reasons.map(({ code }) => code)).toEqual(codes.map((code) => `training.${code}`));
    expect(decision.reasons.map(({ message }) => message).join('\n')).toMatch(words);
    expect(decision.repair).toBeNull();
  });

  it('says why in numbers', () => {
    const [online] = decide({ config: ONLINE }, {}, { wholeCycleMs: NOW - HOUR }).reasons;
    expect(online?.numbers).toEqual({ agoMs: HOUR, scheduleEveryMs: 4 * HOUR });
  });
});

describe('the repair of a parent that has lost plasticity', () => {
  const DORMANT = { dormantUnits: 0.3 };
  test.each<[string, Parameters<typeof decide>, boolean]>([
    ['comes from the configured share on', [{}, DORMANT], true],
    ['comes with a warm start, too', [{ config: config({ strategy: 'warmStart' }) }, DORMANT], true],
    ['does not come below', [{}, { dormantUnits: 0.29 }], false],
    ['does not come when the trainer does not say', [{}, { dormantUnits: null }], false],
    ['does not come when it is no number', [{}, { dormantUnits: NaN }], false],
    ['comes once a season at most', [{}, DORMANT, { repairMs: NOW - DAY + 1 }], false],
    ['comes again after a season', [{}, DORMANT, { repairMs: NOW - DAY }], true],
    ['is nothing for a training in full', [{ config: config({ strategy: 'full' }) }, DORMANT], false],
    ['is nothing for an online update', [{ config: ONLINE }, DORMANT, { wholeCycleMs: NOW - HOUR }], false],
  ])('%s', (_name, facts, expected) => {
    const { repair, reasons } = decide(...facts);
    expect(repair).toEqual(expected ? { shrink: 0.9, perturb: 0.1 } : null);
    expect(reasons.some(({ code }) => code === 'training.repair')).toBe(expected);
    if (expected) expect(reasons.at(-1)?.message).toContain('30 % of the hidden units of version 7 are dormant');
  });
});

describe('when a version was trained in full', () => {
  test.each<[string, Parameters<typeof trainedInFullAt>[0], number | null]>([
    ['itself', { decided: 'full', did: 'full', takenAtMs: 9, parentMs: 1 }, 9],
    ['its ancestor', { decided: 'incremental', did: 'incremental', takenAtMs: 9, parentMs: 1 }, 1],
    [
      'its ancestor, by a trainer that knows warm starts only',
      { decided: 'online', did: 'warmStart', takenAtMs: 9, parentMs: 1 },
      1,
    ],
    [
      'nobody, when it had to start from scratch on a sample',
      { decided: 'incremental', did: 'full', takenAtMs: 9, parentMs: 1 },
      null,
    ],
    ['itself, before strategies were decided', { did: 'full', takenAtMs: 9, parentMs: null }, 9],
    ['unknown, like its parent', { decided: 'incremental', did: 'incremental', takenAtMs: 9, parentMs: null }, null],
  ])('%s', (_name, version, expected) => {
    expect(trainedInFullAt(version)).toBe(expected);
  });
});
