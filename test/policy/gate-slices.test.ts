import { describe, expect, it } from 'vitest';
import type { GateConfig } from '../../config/schema.ts';
import type { Estimate, SegmentGap, SliceFigures } from '../../policy/evaluation.ts';
import { seededNormal } from '../../policy/drift/seeded-normal.ts';
import type { GateVerdict } from '../../policy/gate.ts';
import { changed, codes, decide, interval, normal, part, rulesOf } from './gate-cases.ts';

type SliceRule = GateConfig['slices'][number];

const rule: SliceRule = {
  ...{ slice: 'surface', metric: 'auc', tolerance: 0.01, minRows: 1_000, correction: 'holm', required: [] },
  onInconclusive: 'pass',
};

function judge(slices: SliceFigures[], change: Partial<SliceRule> = {}): GateVerdict {
  return decide({ evaluation: { slices }, config: { slices: [{ ...rule, ...change }] } });
}

const good = interval(-0.005, 0.005);
/** Rejected by itself: its upper bound is below -0.01, p = 0.0304. */
const doubtful = normal(-0.025, 0.008);
const bad = normal(-0.05, 0.008);

describe('the parts of a slice', () => {
  it.each<[string, Estimate[], Partial<SliceRule>, GateVerdict['kind']]>([
    ['all as good', [good, good], {}, 'pass'],
    ['one clearly worse', [good, bad], {}, 'reject'],
    ['one that looks worse', [doubtful], {}, 'reject'],
    ['one of two that looks worse', [good, doubtful], {}, 'pass'],
    ['one of two that looks worse, without a correction', [good, doubtful], { correction: 'none' }, 'reject'],
    [
      'one of two that looks worse, where that counts',
      [good, doubtful],
      { onInconclusive: 'inconclusive' },
      'inconclusive',
    ],
    ['one not surely as good', [good, interval(-0.02, 0.02)], {}, 'pass'],
    [
      'one not surely as good, where that counts',
      [good, interval(-0.02, 0.02)],
      { onInconclusive: 'inconclusive' },
      'inconclusive',
    ],
    ['the same model twice', [normal(0, 0), normal(0, 0)], { tolerance: 0, onInconclusive: 'inconclusive' }, 'pass'],
    ['a sure loss of the tolerance itself', [normal(-0.01, 0), good], { onInconclusive: 'inconclusive' }, 'pass'],
    ['a sure loss beyond it', [normal(-0.02, 0), good], {}, 'reject'],
  ])('%s', (_, gains, change, kind) => {
    expect(
      judge(
        gains.map((gain, index) => part(`v${String(index)}`, gain)),
        change,
      ).kind,
    ).toBe(kind);
  });

  it('are corrected as Holm does: the worst first, the next at the level of those left', () => {
    // p = 0.0304 fails at 3 tests; with two clear losses it is the last, and stands at its own level.
    const alone = judge([part('a', doubtful), part('b', good), part('c', good)], { onInconclusive: 'inconclusive' });
    expect(alone.kind).toBe('inconclusive');
    expect(alone.reasons[0]?.message).toContain("(p 0.0912 after Holm's correction for 3 parts)");
    const last = judge([part('a', doubtful), part('b', bad), part('c', bad)]);
    expect(rulesOf(last, 'slices.surface.auc').map(({ kind }) => kind)).toEqual(['reject', 'reject', 'reject']);
  });

  it('count the false alarms of parts as good as before: at most 5 % of slices with twenty', () => {
    const draw = seededNormal(1);
    let rejected = 0;
    const slices = 1_000;
    for (let slice = 0; slice < slices; slice++) {
      const parts = Array.from({ length: 20 }, (_, index) =>
        part(String(index), normal(-0.01 + 0.008 * draw(), 0.008)),
      );
      if (judge(parts).kind === 'reject') rejected++;
    }
    expect(rejected / slices).toBeLessThanOrEqual(0.065);
    expect(rejected).toBeGreaterThan(0);
  });

  it('a rejection says which part, on how much', () => {
    expect(judge([part('home', good), part('search', bad)]).reasons).toMatchObject([
      {
        code: 'gate.slice.inferior',
        message: expect.stringMatching(
          /^Inferior: in surface=search in auc the challenger gains -0\.05 .* 5,000 rows of 1,000 users/,
        ) as string,
        numbers: { slice: 'surface', value: 'search', tests: 2, tolerance: 0.01 },
      },
    ]);
  });

  it('name the size of the whole holdout that would decide', () => {
    const [, verdict] = rulesOf(
      judge([part('home', good), part('search', normal(0, 0.01))], { onInconclusive: 'inconclusive' }),
      'slices.surface.auc',
    );
    // (2.68129 * 0.01 / 0.01)^2 = 7.19 times 5,000 rows, of which the holdout has 20,000; 1,000 of 4,000 users.
    expect(verdict).toMatchObject({ kind: 'inconclusive', neededRows: 143_788, neededUsers: 28_760 });
  });
});

describe('parts that can not be judged', () => {
  const small = { rows: 999, users: 300 };
  it.each<[string, SliceFigures[], Partial<SliceRule>, GateVerdict['kind'], string]>([
    ['a small part is told, whatever it shows', [part('a', good), part('b', bad, small)], {}, 'pass', ''],
    ['a part that was not measured is told', [part('a', good), part('b', null, small)], {}, 'pass', ''],
    ['a part of few users is told', [part('a', good), part('b', bad, { users: 9 })], {}, 'pass', ''],
    ['a required part is there', [part('a', good)], { required: ['a'] }, 'pass', ''],
    ['a required part is missing', [part('a', good)], { required: ['b'] }, 'hold', 'gate.slice.required'],
    [
      'a required part is small',
      [part('a', good), part('b', good, small)],
      { required: ['b'] },
      'hold',
      'gate.slice.required',
    ],
    [
      'a required part was not measured',
      [part('a', good), part('b', null)],
      { required: ['b'] },
      'hold',
      'gate.slice.required',
    ],
    ['no part is there', [], {}, 'hold', 'gate.slice.missing'],
    ['all parts are small', [part('a', good, small)], {}, 'hold', 'gate.slice.nothing-judged'],
    ['no part was measured', [part('a', null)], {}, 'hold', 'gate.slice.nothing-judged'],
    ['a large part was not measured', [part('a', good), part('b', null)], {}, 'hold', 'gate.slice.not-measured'],
    [
      'nobody knows how large a part is',
      [part('a', good), part('b', good, { rows: NaN })],
      {},
      'hold',
      'gate.slice.not-measured',
    ],
    ['a gain is NaN', [part('a', good), part('b', normal(NaN, NaN))], {}, 'hold', 'gate.not-a-number'],
    ['a standard error is NaN', [part('a', { ...good, standardError: NaN })], {}, 'hold', 'gate.not-a-number'],
    ['a bound is infinite', [part('a', { ...good, upper: Infinity })], {}, 'hold', 'gate.not-a-number'],
  ])('%s', (_, slices, change, kind, code) => {
    const verdict = judge(slices, change);
    expect(verdict.kind).toBe(kind);
    if (code !== '') expect(codes(verdict)).toContain(code);
  });

  it('a small part is told with its numbers', () => {
    const told = rulesOf(judge([part('a', good), part('b', bad, small)]), 'slices.surface.auc').map(
      ({ reason }) => reason,
    );
    expect(told).toContainEqual({
      code: 'gate.slice.too-small',
      message: 'surface=b has 999 rows of 300 users: too few to be judged (1,000 rows, 10 users).',
      numbers: { slice: 'surface', value: 'b', rows: 999, users: 300, minRows: 1_000 },
    });
  });

  it('of a slice that could not be made, the reason is told', () => {
    const note = { code: 'slice.failed', message: 'no column "surface"', numbers: { slice: 'surface' } };
    const { reasons } = decide({ evaluation: { notes: [note] }, config: { slices: [rule] } });
    expect(reasons[0]?.message).toContain('no column "surface"');
  });

  it('parts of another slice do not count', () => {
    const slices = [{ ...part('a', bad), slice: 'users' }, part('a', good)];
    expect(judge(slices).kind).toBe('pass');
  });

  it('a ranking metric needs requests with a positive in each part', () => {
    const verdict = judge([part('a', good), part('b', good, { groups: 5, groupsWithoutPositive: 5 })], {
      metric: 'ndcg',
    });
    expect(verdict.kind).toBe('hold');
    expect(verdict.reasons[0]?.message).toContain('none of the 5 requests in surface=b is known to have a positive');
  });
});

describe('the gap between segments', () => {
  const gap = (found: Estimate): SegmentGap => ({
    ...{ slice: 'surface', metric: 'auc', best: 'home', worst: 'search', gap: found, championGap: null },
  });
  const config: Partial<GateConfig> = { segmentGap: [{ slice: 'surface', metric: 'auc', max: 0.05 }] };

  it.each<[string, SegmentGap[], GateVerdict['kind']]>([
    ['small', [gap(interval(0.01, 0.03))], 'pass'],
    ['not surely too large', [gap(interval(0.05, 0.2))], 'pass'],
    ['surely too large', [gap(interval(0.051, 0.2))], 'reject'],
    ['not measured', [], 'hold'],
    ['of another metric', [{ ...gap(good), metric: 'ndcg' }], 'hold'],
    ['NaN', [gap(normal(NaN, NaN))], 'hold'],
  ])('%s', (_, gaps, kind) => {
    const verdict = decide({ evaluation: { gaps }, config });
    expect(verdict.kind).toBe(kind);
    expect(rulesOf(verdict, 'segmentGap.surface.auc')).toHaveLength(1);
  });

  it('names both parts', () => {
    const verdict = decide({ evaluation: { gaps: [gap(interval(0.06, 0.08))] }, config });
    expect(verdict.reasons[0]?.message).toBe(
      "Between surface=home and surface=search the challenger's auc differs by 0.07 (95 % bounds 0.06 to 0.08): wholly above what is allowed, at most 0.05.",
    );
  });

  it('is known without a champion too', () => {
    const { overall } = changed({ overall: { champion: null, gain: null } });
    const evaluation = { champion: null, gaps: [gap(interval(0.06, 0.08))] };
    expect(decide({ evaluation, overall, config, hasChampion: false }).kind).toBe('reject');
  });
});
