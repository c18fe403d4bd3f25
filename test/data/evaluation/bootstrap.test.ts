import type { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { compareScores, NO_GROUP, type ComparisonInput, type ScoredRows } from '../../../data/evaluation/bootstrap.ts';
import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  lessIsBetter,
  type Estimate,
  type Figures,
} from '../../../policy/evaluation.ts';
import { auc, calibrationBins, calibrationRatio, logLoss } from '../../../policy/ranking-metrics.ts';
import { coarsened, simulateRows, unclustered } from './simulated-rows.ts';

const rows = simulateRows({ users: 400, noise: [0.5, 1], seed: 1 });

type Options = Partial<Omit<ComparisonInput, 'rows'>>;

const compare = (given: ScoredRows, options: Options = {}): ReturnType<typeof compareScores> =>
  compareScores({ rows: given, slices: [], replicates: 400, seed: 1, k: 3, sliceMinRows: 50, threads: 1, ...options });

const overall = async (given: ScoredRows, options?: Options): Promise<Figures> =>
  (await compare(given, options)).overall;

/** Rows by a property of theirs. */
function sliceBy(
  name: string,
  valueOf: (row: number) => number,
): { slice: string; value: string; rows: Uint32Array }[] {
  const all = [...rows.labels.keys()];
  return [...new Set(all.map(valueOf))].sort().map((value) => ({
    slice: name,
    value: String(value),
    rows: Uint32Array.from(all.filter((row) => valueOf(row) === value)),
  }));
}

describe('compareScores', () => {
  it('says of both models what the definitions say, to 7 digits, and counts the rows', async () => {
    const { labels, scores } = rows;
    const { challenger, champion, ...population } = await overall(rows, { replicates: 4 });
    for (const [model, given] of [
      [challenger, scores[0] ?? []],
      [champion, scores[1] ?? []],
    ] as const) {
      expect(model?.auc.estimate).toBe(Number(auc(labels, given).toPrecision(7)));
      expect(model?.logLoss.estimate).toBe(Number(logLoss(labels, given).toPrecision(7)));
      expect(model?.calibration.estimate).toBe(Number(calibrationRatio(labels, given).toPrecision(7)));
    }
    const clicked = new Set([...rows.groups].filter((_, row) => labels[row] === 1)).size;
    expect(population).toMatchObject({
      rows: labels.length,
      positives: labels.reduce((sum, label) => sum + label, 0),
      users: 400,
      groups: rows.groupCount,
      groupsWithoutPositive: rows.groupCount - clicked,
    });
  });

  it('gives the same figures for the same seed, other bounds for another', async () => {
    const first = await compare(rows, { seed: 3 });
    expect(await compare(rows, { seed: 3 })).toEqual(first);
    const other = await overall(rows, { seed: 4 });
    expect(other.gain?.auc.estimate).toBe(first.overall.gain?.auc.estimate);
    expect(other.gain?.auc.lower).not.toBe(first.overall.gain?.auc.lower);
  });

  it('turns the sign of a gain so that more is better', async () => {
    const { challenger, champion, gain } = await overall(rows, { replicates: 0 });
    for (const metric of COMPARED_METRICS) {
      const more =
        (challenger[metric].estimate - (champion?.[metric].estimate ?? NaN)) * (lessIsBetter(metric) ? -1 : 1);
      expect(gain?.[metric].estimate).toBeCloseTo(more, 5);
    }
    expect(gain?.auc.estimate).toBeGreaterThan(0);
    expect(gain?.logLoss.estimate).toBeGreaterThan(0);
  });

  it('has no champion and no gain with one model', async () => {
    const { overall, calibrationCurve } = await compare({ ...rows, scores: rows.scores.slice(0, 1) });
    expect(overall).toMatchObject({ champion: null, gain: null });
    expect(calibrationCurve.champion).toBeNull();
  });

  it('has the curve of each model', async () => {
    const { calibrationCurve } = await compare(rows, { replicates: 0 });
    for (const [index, curve] of [calibrationCurve.challenger, calibrationCurve.champion].entries()) {
      const bins = calibrationBins(rows.labels, rows.scores[index] ?? []);
      expect(curve).toEqual(bins.map((bin) => expect.objectContaining({ rows: bin.rows }) as unknown));
      expect(curve?.[0]?.predicted).toBe(Number(bins[0]?.predicted.toPrecision(7)));
      expect(curve?.[14]?.observed).toBe(Number(bins[14]?.observed.toPrecision(7)));
    }
  });
});

describe('the bounds', () => {
  it('draw the same users for both models: a model against itself differs by nothing', async () => {
    const [scores] = rows.scores as [Float32Array];
    const { gain } = await overall({ ...rows, scores: [scores, scores] });
    for (const metric of COMPARED_METRICS) {
      expect(gain?.[metric]).toEqual({ estimate: 0, lower: 0, upper: 0, standardError: 0 });
    }
  });

  it('are those of scipy for a mean', async () => {
    // import numpy, scipy.stats; v = -numpy.log(1 - (numpy.arange(400) + 0.5) / 400)
    // scipy.stats.bootstrap((v,), numpy.mean, confidence_level=0.9, n_resamples=200_000, batch=1000, method='percentile', rng=1)
    const scipy = { mean: 0.9991338264, low: 0.9189361812, high: 1.0827068815, standardError: 0.0497986741 };
    // The log loss of positives with the probabilities exp(-v).
    const values = Float32Array.from({ length: 400 }, (_, row) => 1 - (row + 0.5) / 400);
    const given = {
      labels: new Uint8Array(400).fill(1),
      users: Uint32Array.from(values.keys()),
      userCount: 400,
      groups: new Uint32Array(400).fill(NO_GROUP),
      groupCount: 0,
      scores: [values],
    };
    for (const [replicates, tolerance] of [
      [1_000, 0.005],
      [50_000, 0.001],
    ] as const) {
      const { estimate, lower, upper } = (await overall(given, { replicates })).challenger.logLoss;
      expect(estimate).toBeCloseTo(scipy.mean, 6);
      expect(Math.abs(lower / scipy.low - 1)).toBeLessThan(tolerance);
      expect(Math.abs(upper / scipy.high - 1)).toBeLessThan(tolerance);
    }
    const { standardError } = (await overall(given, { replicates: 50_000 })).challenger.logLoss;
    expect(Math.abs(standardError / scipy.standardError - 1)).toBeLessThan(0.01);
  });

  it('are wider when rows come in clusters than when each row is a user', async () => {
    const clustered = await overall(rows);
    const single = await overall(unclustered(rows));
    const ratio =
      (clustered.champion?.calibration.standardError ?? NaN) / (single.champion?.calibration.standardError ?? NaN);
    expect(ratio).toBeGreaterThan(1.15);
  });

  it('hold the true difference about as often as they say, on either side', { timeout: 60_000 }, async () => {
    const truth = await overall(simulateRows({ users: 60_000, noise: [0.5, 1], seed: 99 }), { replicates: 0 });
    const metrics = ['auc', 'logLoss', 'ndcg', 'mrr', 'hitRate'] as const;
    const misses = Object.fromEntries(metrics.map((metric) => [metric, { below: 0, above: 0 }]));
    const trials = 200;
    for (let trial = 0; trial < trials; trial++) {
      const sample = simulateRows({ users: 200, noise: [0.5, 1], seed: 1_000 + trial });
      const { gain } = await overall(sample, { replicates: 300, seed: trial });
      for (const metric of metrics) {
        const { lower, upper } = gain?.[metric] as Estimate;
        const difference = truth.gain?.[metric].estimate ?? NaN;
        (misses[metric] as { below: number }).below += Number(difference < lower);
        (misses[metric] as { above: number }).above += Number(difference > upper);
      }
    }
    // 5 % a side is 10 of 200; 20 is more than three standard errors above, 1 nearly three below.
    for (const metric of metrics) {
      for (const count of Object.values(misses[metric] ?? {})) {
        expect(count, metric).toBeGreaterThanOrEqual(1);
        expect(count, metric).toBeLessThanOrEqual(20);
      }
    }
  });

  it('of a calibration error hold the estimate, though noise adds to each replicate', async () => {
    // Calibrated: what lies above 0 is noise.
    const small = coarsened(simulateRows({ users: 60, noise: [0], seed: 4 }), 100);
    const { estimate, lower, upper } = (await overall(small)).challenger.calibrationError;
    expect(lower).toBeLessThan(estimate);
    expect(upper).toBeGreaterThan(estimate);
  });
});

describe('slices', () => {
  const slices = [
    ...sliceBy('even', (row) => row % 2),
    ...sliceBy('position', (row) => row % 3),
    { slice: 'rare', value: 'yes', rows: Uint32Array.of(5, 6, 7) },
    { slice: 'rare', value: 'never', rows: new Uint32Array(0) },
  ];

  it('have the figures of their rows alone, drawn like the whole', async () => {
    const { slices: found } = await compare(rows, { slices });
    const members = slices[0]?.rows ?? new Uint32Array(0);
    const alone = await compare({
      ...rows,
      labels: Uint8Array.from(members, (row) => rows.labels[row] ?? NaN),
      users: Uint32Array.from(members, (row) => rows.users[row] ?? NaN),
      groups: Uint32Array.from(members, (row) => rows.groups[row] ?? NaN),
      scores: rows.scores.map((scores) => Float32Array.from(members, (row) => scores[row] ?? NaN)),
    });
    expect(found[0]).toMatchObject({ slice: 'even', value: '0', rows: members.length });
    expect(found[0]?.figures).toEqual(alone.overall);
  });

  it('are counted only where they have too few rows', async () => {
    const { slices: found } = await compare(rows, { slices });
    expect(found.map(({ slice, value }) => `${slice}=${value}`)).toEqual(
      slices.map(({ slice, value }) => `${slice}=${value}`),
    );
    expect(found[5]).toMatchObject({ rows: 3, figures: null });
    expect(found[6]).toEqual({
      slice: 'rare',
      value: 'never',
      ...{ rows: 0, positives: 0, users: 0, groups: 0, groupsWithoutPositive: 0 },
      figures: null,
    });
  });

  it('have gaps between their best and worst value', async () => {
    const { slices: found, gaps } = await compare(rows, { slices });
    expect(gaps.map(({ slice, metric }) => `${slice} ${metric}`)).toEqual(
      ['even', 'position'].flatMap((slice) => COMPARED_METRICS.map((metric) => `${slice} ${metric}`)),
    );
    for (const { slice, metric, best, worst, gap, championGap } of gaps) {
      const values = found.filter((part) => part.slice === slice);
      const estimates = values.map(({ figures }) => figures?.challenger[metric].estimate ?? NaN);
      expect(gap.estimate).toBeCloseTo(Math.max(...estimates) - Math.min(...estimates), 5);
      const top = lessIsBetter(metric) ? Math.min(...estimates) : Math.max(...estimates);
      expect(values.find(({ value }) => value === best)?.figures?.challenger[metric].estimate).toBe(top);
      expect(best).not.toBe(worst);
      expect(gap.lower).toBeLessThanOrEqual(gap.estimate);
      expect(gap.upper).toBeGreaterThanOrEqual(gap.estimate);
      expect(championGap?.estimate).toBeGreaterThanOrEqual(0);
    }
  });

  it('have no gap where one value only is known', async () => {
    const positive = Uint32Array.from([...rows.labels.keys()].filter((row) => rows.labels[row] === 1));
    const negative = Uint32Array.from([...rows.labels.keys()].filter((row) => rows.labels[row] === 0));
    const { gaps } = await compare(rows, {
      slices: [
        { slice: 'clicked', value: 'yes', rows: positive },
        { slice: 'clicked', value: 'no', rows: negative },
      ],
    });
    expect(gaps.map(({ metric }) => metric)).toEqual(['logLoss', 'calibrationError']);
  });

  it('are the same when they do not fit into memory together', async () => {
    expect(await compare(rows, { slices, maxBytes: 1 })).toEqual(await compare(rows, { slices }));
  });
});

describe('threads', () => {
  const large = simulateRows({ users: 3_000, noise: [0.5, 1], seed: 7 });
  const options = { replicates: 8_000, slices: [] };

  /** The threads that were started in `work`, and what it answered. */
  async function watchThreads<T>(work: () => Promise<T>): Promise<{ threads: Worker[]; answer: T | Error }> {
    const threads: Worker[] = [];
    const seen = (thread: Worker): void => {
      threads.push(thread);
    };
    process.on('worker', seen);
    const answer = await work().catch((error: unknown) => error as Error);
    process.off('worker', seen);
    return { threads, answer };
  }
  const ended = (threads: readonly Worker[]): boolean => threads.every(({ threadId }) => threadId === -1);

  it('do not change the figures, and are all gone afterwards', { timeout: 60_000 }, async () => {
    const alone = await watchThreads(() => compare(large, { ...options, threads: 1 }));
    const together = await watchThreads(() => compare(large, { ...options, threads: 3 }));
    expect(alone.threads).toHaveLength(0);
    expect(together.threads).toHaveLength(1);
    expect(ended(together.threads)).toBe(true);
    expect(together.answer).toEqual(alone.answer);
  });

  it('are not started for little work', async () => {
    const { threads } = await watchThreads(() => compare(rows, { threads: 8 }));
    expect(threads).toHaveLength(0);
  });

  it('all stop when the checkpoint says so, though minutes of work are left', { timeout: 30_000 }, async () => {
    let calls = 0;
    const checkpoint = (): void => {
      if (++calls === 20) throw new Error('the evaluation was stopped');
    };
    const { threads, answer } = await watchThreads(() =>
      compare(large, { ...options, replicates: 1_000_000, threads: 2, checkpoint }),
    );
    expect(answer).toEqual(new Error('the evaluation was stopped'));
    expect(threads).toHaveLength(1);
    expect(ended(threads)).toBe(true);
    expect(calls).toBe(20);
  });
});

describe('what the rows can not say', () => {
  const unknown = { estimate: NaN, lower: NaN, upper: NaN, standardError: NaN };

  it('is NaN without rows', async () => {
    const none = new Uint32Array(0);
    const empty = { labels: new Uint8Array(0), users: none, userCount: 0, groups: none, groupCount: 0 };
    const { overall, calibrationCurve } = await compare({
      ...empty,
      scores: [new Float32Array(0), new Float32Array(0)],
    });
    for (const metric of EVALUATION_METRICS) expect(overall.challenger[metric]).toEqual(unknown);
    for (const metric of COMPARED_METRICS) expect(overall.gain?.[metric]).toEqual(unknown);
    expect(calibrationCurve).toEqual({ challenger: [], champion: [] });
  });

  it('is NaN where there is one class only, no request, or no positive in any', async () => {
    const negative = await overall({ ...rows, labels: new Uint8Array(rows.labels.length) });
    for (const metric of ['auc', 'normalizedEntropy', 'ndcg', 'mrr', 'hitRate', 'calibration'] as const) {
      expect(negative.challenger[metric], metric).toEqual(unknown);
    }
    expect(negative.challenger.logLoss.lower).toBeGreaterThan(0);
    expect(negative.groupsWithoutPositive).toBe(rows.groupCount);
    const loose = await overall({ ...rows, groups: new Uint32Array(rows.labels.length).fill(NO_GROUP), groupCount: 0 });
    expect(loose.challenger.ndcg).toEqual(unknown);
    expect(loose.challenger.auc.lower).toBeGreaterThan(0);
  });

  it('has no bounds when too many replicates draw no positive', async () => {
    const labels = Uint8Array.from({ length: 50 }, (_, row) => (row < 2 ? 1 : 0));
    const scores = Float32Array.from(labels, (label, row) => 0.1 * label + row / 100);
    const users = Uint32Array.from(labels.keys());
    const { challenger } = await overall({
      labels,
      users,
      userCount: 50,
      groups: users,
      groupCount: 50,
      scores: [scores],
    });
    expect(challenger.auc.estimate).not.toBeNaN();
    expect(challenger.auc).toEqual({ ...unknown, estimate: challenger.auc.estimate });
  });

  it('has no bounds without replicates', async () => {
    const { challenger } = await overall(rows, { replicates: 0 });
    expect(challenger.auc).toEqual({ ...unknown, estimate: challenger.auc.estimate });
    expect(challenger.auc.estimate).toBeGreaterThan(0.5);
  });
});

describe('rows that contradict themselves', () => {
  const scores = rows.scores[0] as Float32Array;
  it.each<[string, Partial<ScoredRows>, Options, string]>([
    ['no model', { scores: [] }, {}, 'there are no scores'],
    ['users of other rows', { users: new Uint32Array(3) }, {}, 'users has 3 entries, expected'],
    ['scores of other rows', { scores: [scores, new Float32Array(1)] }, {}, 'the scores of model 1 has 1 entries'],
    ['a label above 1', { labels: rows.labels.map(() => 2) }, {}, 'row 0 has the label 2, expected 0 or 1'],
    ['a user too many', { userCount: 1 }, {}, 'has the user 1, expected less than 1'],
    ['a group too many', { groupCount: 1 }, {}, 'has the group 1, expected less than 1'],
    ['a score that is NaN', { scores: [scores.map(() => NaN)] }, {}, 'row 0 has the score NaN, expected a probability'],
    ['a score above 1', { scores: [scores.map(() => 1.5)] }, {}, 'row 0 has the score 1.5, expected a probability'],
    ['no rank', {}, { k: 0 }, 'k is 0, expected an integer of at least 1'],
    ['no thread', {}, { threads: 0 }, 'threads is 0, expected an integer of at least 1'],
    ['half a replicate', {}, { replicates: 0.5 }, 'replicates is 0.5, expected an integer'],
    ['no seed', {}, { seed: NaN }, 'seed is NaN, expected an integer'],
    [
      'a row that is not there',
      {},
      { slices: [{ slice: 's', value: 'v', rows: Uint32Array.of(99_999) }] },
      'slice s=v has row 99999 of',
    ],
    [
      'a row twice',
      {},
      { slices: [{ slice: 's', value: 'v', rows: Uint32Array.of(1, 1) }] },
      'slice s=v has row 1 twice',
    ],
  ])('are refused: %s', async (_, change, options, message) => {
    const refused = compare({ ...rows, ...change }, options);
    await expect(refused).rejects.toThrow(RangeError);
    await expect(refused).rejects.toThrow(message);
  });
});
