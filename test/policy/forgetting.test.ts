import { describe, expect, it } from 'vitest';
import { forgettingNotes } from '../../policy/forgetting.ts';
import type { ComparedMetric, Evaluation, HistoricalFigures } from '../../policy/evaluation.ts';

const figures = (auc: number, logLoss: number): HistoricalFigures['challenger'] => ({ auc, logLoss });
const notes = (historical: HistoricalFigures | null | undefined, metric: ComparedMetric = 'auc'): string[] =>
  forgettingNotes({ historical } as Evaluation, { metric, tolerance: 0.01 });

describe('forgetting', () => {
  it.each<[string, HistoricalFigures | null | undefined, ComparedMetric, RegExp | null]>([
    ['no historical holdout', null, 'auc', null],
    ['an evaluation of before there was one', undefined, 'auc', null],
    ['no champion', { rows: 900, challenger: figures(0.5, 0.9), champion: null }, 'auc', null],
    ['a better challenger', { rows: 900, challenger: figures(0.75, 0.5), champion: figures(0.7, 0.6) }, 'auc', null],
    [
      'a loss within the tolerance',
      { rows: 900, challenger: figures(0.5, 0), champion: figures(0.505, 0) },
      'auc',
      null,
    ],
    [
      'a loss beyond the tolerance',
      { rows: 5_000, challenger: figures(0.66, 0.2), champion: figures(0.7, 0.2) },
      'auc',
      /^forgetting: the challenger's auc is worse by 0.04 on the 5,000 rows .*\(0.66, champion 0.7, tolerance 0.01\)/,
    ],
    [
      'a higher log loss',
      { rows: 900, challenger: figures(0.7, 0.62), champion: figures(0.7, 0.6) },
      'logLoss',
      /logLoss is worse by 0.02/,
    ],
    [
      'the other metric alone',
      { rows: 900, challenger: figures(0.6, 0.6), champion: figures(0.7, 0.6) },
      'logLoss',
      null,
    ],
    [
      'a metric that these rows are not measured in',
      { rows: 900, challenger: figures(0.6, 0.6), champion: figures(0.7, 0.6) },
      'ndcg',
      /auc is worse by 0.1/,
    ],
    [
      'figures that are no numbers',
      { rows: 900, challenger: figures(NaN, 0.6), champion: figures(null as never, 0.6) },
      'auc',
      /can not be told/,
    ],
  ])('of %s', (_, historical, metric, says) => {
    const [note, ...others] = notes(historical, metric);
    expect(others).toEqual([]);
    if (says === null) expect(note).toBeUndefined();
    else expect(note).toMatch(says);
  });
});
