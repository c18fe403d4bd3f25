import { describe, expect, it } from 'vitest';
import { decideParity, type Parity, type ParityVerdict } from '../../policy/parity.ts';
import { lineConfig } from './line-config.ts';

const worst = { impressionId: 'token7.0', trainer: 0.25, onnx: 0.2500001 };

/** Ten thousand rows on which both sides agree. */
const well: Parity = {
  problem: null,
  trainRows: 1_000_000,
  predictions: 10_000,
  rows: 10_000,
  unknownRow: null,
  notNumbers: 0,
  firstNotNumber: null,
  maxDelta: 1e-7,
  meanDelta: 2e-8,
  worst,
};

const decide = (change: Partial<Parity>): ParityVerdict =>
  decideParity({ parity: { ...well, ...change }, config: lineConfig().gate.parity });

describe('parity', () => {
  it.each<[string, Partial<Parity>, ParityVerdict['kind'], string]>([
    ['agreement', {}, 'pass', 'parity.pass'],
    ['the tolerance itself', { maxDelta: 1e-4 }, 'pass', 'parity.pass'],
    ['more than the tolerance', { maxDelta: 1.0001e-4 }, 'reject', 'parity.onnx'],
    ['a NaN on a side', { notNumbers: 1, firstNotNumber: { ...worst, onnx: null } }, 'reject', 'parity.not-a-number'],
    ['a difference that is no number', { maxDelta: NaN }, 'reject', 'parity.onnx'],
    ['a difference that is not known', { maxDelta: null, worst: null }, 'reject', 'parity.onnx'],
    ['no predictions', { predictions: 0, rows: 0, maxDelta: null }, 'hold', 'parity.no-predictions'],
    ['no row that is known', { rows: 0, unknownRow: 'a', maxDelta: null }, 'hold', 'parity.unknown-rows'],
    ['one row that is not known', { rows: 9_999, unknownRow: 'a' }, 'hold', 'parity.unknown-rows'],
    ['just enough rows', { predictions: 100, rows: 100 }, 'pass', 'parity.pass'],
    ['too few rows', { predictions: 99, rows: 99 }, 'hold', 'parity.too-few-rows'],
    ['all rows of a small train part', { trainRows: 12, predictions: 12, rows: 12 }, 'pass', 'parity.pass'],
    ['some rows of a small train part', { trainRows: 12, predictions: 11, rows: 11 }, 'hold', 'parity.too-few-rows'],
    ['something that could not be read', { problem: 'it is torn' }, 'hold', 'parity.unreadable'],
    ['figures that are no numbers', { predictions: NaN, rows: NaN }, 'hold', 'parity.no-predictions'],
  ])('%s', (_, change, kind, code) => {
    const verdict = decide(change);
    expect(verdict).toMatchObject({ kind, reasons: [{ code }] });
  });

  it('names the worst row, both numbers and what to do', () => {
    const [reason] = decide({ maxDelta: 2e-4, worst: { ...worst, onnx: 0.2502 } }).reasons;
    expect(reason?.message).toBe(
      'model.onnx is not the model that was trained: they differ on 10,000 rows by at most 0.0002 (mean 2e-8, token7.0: trainer 0.25, ONNX 0.2502); at most 0.0001 is allowed. ' +
        'Look at the export: preprocessing, id tables, the constant position, the bias correction; "freshet trainer check" shows it on a tiny snapshot.',
    );
    expect(reason?.numbers).toEqual({
      ...{ predictions: 10_000, rows: 10_000, maxDelta: 2e-4, meanDelta: 2e-8, tolerance: 1e-4 },
      ...{ impressionId: 'token7.0', trainer: 0.25, onnx: 0.2502 },
    });
  });

  it('names the first row on which a side says no probability', () => {
    const [reason] = decide({ notNumbers: 3, firstNotNumber: { ...worst, onnx: null } }).reasons;
    expect(reason?.message).toContain(
      'On 3 of 10,000 rows a side says no probability: token7.0: trainer 0.25, ONNX no probability.',
    );
  });
});
