import { expect, test } from 'vitest';
import { ModelError, openModel } from '../../scoring/model-session.ts';
import { CATEGORY, FEATURES_OF, modelBytes, NUMBER, rowsOf } from './fixtures.ts';

test('scores rows by both inputs, in their order', async () => {
  const model = await openModel(await modelBytes('rising'), FEATURES_OF.rising);
  const scores = await model.score({ count: 3, ids: BigInt64Array.of(0n, 4n, 0n), dense: Float32Array.of(1, 1, NaN) });
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
  expect(scores).toHaveLength(3);
  for (const [index, expected] of [sigmoid(1), sigmoid(1.004), 0.5].entries()) {
    expect(scores[index]).toBeCloseTo(expected, 6);
  }
  await model.close();
});

test('a file that is no model is refused with what to do', async () => {
  const bytes = (await modelBytes('rising')).subarray(0, 100);
  await expect(openModel(bytes, FEATURES_OF.rising)).rejects.toThrow(ModelError);
  await expect(openModel(bytes, FEATURES_OF.rising)).rejects.toThrow(
    /not a model that ONNX Runtime can load \(100 bytes\).*train the version again or restore its artifact/,
  );
});

test('a model with other inputs than its features, or another output, is refused', async () => {
  await expect(openModel(await modelBytes('rising'), [NUMBER])).rejects.toThrow(
    'the model takes ids int64 [N, 1] and dense float32 [N, 1], its feature spec gives dense float32 [N, 1]',
  );
  await expect(openModel(await modelBytes('rising'), [CATEGORY, { ...CATEGORY, name: 'b' }, NUMBER])).rejects.toThrow(
    'its feature spec gives ids int64 [N, 2] and dense float32 [N, 1]',
  );
  await expect(openModel(await modelBytes('wrong-output'), FEATURES_OF['wrong-output'])).rejects.toThrow(
    'the model answers score float32 [N], expected probability float32 [N]',
  );
});

test('NaN is an error, not a score', async () => {
  const model = await openModel(await modelBytes('nan'), FEATURES_OF.nan);
  await expect(model.score(rowsOf(1, 2))).rejects.toThrow('the model scored row 0 of 2 with NaN');
  await model.close();
});

test("a sigmoid's rounding error is none of the model's", async () => {
  const unbounded = await openModel(await modelBytes('unbounded'), FEATURES_OF.unbounded);
  expect([...(await unbounded.score(rowsOf(1.0000001, 0.5, -1e-7)))]).toEqual([1, 0.5, 0]);
  await unbounded.close();
  const rising = await openModel(await modelBytes('rising'), FEATURES_OF.rising);
  const large = await rising.score(rowsOf(...Array.from({ length: 50_000 }, (_, step) => 16 + step / 10_000)));
  expect(large.every((score) => score > 0.99 && score <= 1)).toBe(true);
  await rising.close();
});

test.each([1.00001, -0.00001, 17, -Infinity])('%d is no probability', async (score) => {
  const model = await openModel(await modelBytes('unbounded'), FEATURES_OF.unbounded);
  await expect(model.score(rowsOf(0.5, score))).rejects.toThrow('the model scored row 1 of 2 with');
  await model.close();
});

test('a model that throws says so, and scores on', async () => {
  const model = await openModel(await modelBytes('throwing'), FEATURES_OF.throwing);
  await expect(model.score({ ...rowsOf(), count: 1, ids: BigInt64Array.of(7n) })).rejects.toThrow(
    'the model threw while scoring 1 rows',
  );
  expect([...(await model.score({ ...rowsOf(), count: 1, ids: BigInt64Array.of(1n) }))]).toEqual([0.75]);
  await model.close();
});
