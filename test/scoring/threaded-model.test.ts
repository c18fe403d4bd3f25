import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import { inputOrderScores } from '../../scoring/input-order.ts';
import { ModelError } from '../../scoring/model-session.ts';
import { ModelTimeout, openThreadedModel, type ThreadedModel } from '../../scoring/threaded-model.ts';
import { FEATURES_OF, modelPath, rowsOf, type FixtureModel } from './fixtures.ts';

const open: ThreadedModel[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.close()));
});

async function start(name: FixtureModel, maxWaiting = 256): Promise<ThreadedModel> {
  const title = `version 7 of "feed"`;
  const model = await openThreadedModel({ title, path: modelPath(name), features: FEATURES_OF[name], maxWaiting });
  open.push(model);
  return model;
}

/** Turns of the slow model's loop that take much longer than the few milliseconds a test allows it. */
const MANY_TURNS = 1_500_000;

test('requests sent at once are answered each with its own scores, and the rows stay usable', async () => {
  const model = await start('rising');
  const requests = Array.from({ length: 20 }, (_, index) => rowsOf(index / 10, -1));
  const answers = await Promise.all(requests.map((rows) => model.score(rows, 10_000)));
  const firsts = answers.map(({ scores }) => scores[0] ?? NaN);
  expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
  expect(new Set(firsts).size).toBe(20);
  expect(requests[3]?.dense).toEqual(Float32Array.of(0.3, -1));
});

test('a model that can not be loaded names the version', async () => {
  await expect(start('wrong-output')).rejects.toThrow(
    'version 7 of "feed" can not be loaded: the model answers score float32 [N]',
  );
  const missing = openThreadedModel({ title: 'version 8', path: '/nowhere/model.onnx', features: [] });
  await expect(missing).rejects.toThrow('version 8 can not be loaded: ENOENT');
});

test('a file is measured by the thread before it is loaded, and what is refused then is not loaded', async () => {
  const path = modelPath('rising');
  const content = await readFile(path);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const input = { title: 'version 7', features: FEATURES_OF.rising };
  const model = await openThreadedModel({
    ...input,
    path: async (measure) => {
      expect(await measure(path)).toEqual({ sha256, bytes: content.byteLength });
      return path;
    },
  });
  open.push(model);
  expect((await model.score(rowsOf(1), 10_000)).scores).toHaveLength(1);

  const refused = openThreadedModel({ ...input, path: () => Promise.reject(new Error('damaged')) });
  await expect(refused).rejects.toThrow('damaged');
  const unreadable = openThreadedModel({ ...input, path: async (measure) => (await measure('/nowhere')).sha256 });
  await expect(unreadable).rejects.toThrow('version 7 can not be loaded: ENOENT');
});

test('batches that need more room than the ones before are scored, each request with its own', async () => {
  const model = await start('rising');
  const slate = (level: number) => rowsOf(...Array.from({ length: 50 }, (_, row) => level + row / 100));
  for (const requests of [4, 20, 40]) {
    const levels = Array.from({ length: requests }, (_, index) => index / 10);
    const answers = await Promise.all(levels.map((level) => model.score(slate(level), 10_000)));
    const alone = await model.score(slate(levels[3] ?? NaN), 10_000);
    expect(answers[3]?.scores).toEqual(alone.scores);
    const firsts = answers.map(({ scores }) => scores[0] ?? NaN);
    expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
  }
});

test('NaN is an error of the version', async () => {
  const model = await start('nan');
  await expect(model.score(rowsOf(1), 10_000)).rejects.toThrow(
    'version 7 of "feed": the model scored row 0 of 1 with NaN',
  );
});

test('of requests that are scored together each has its own error', async () => {
  const model = await start('throwing');
  const idOf = (index: number): bigint => (index === 4 ? 9n : BigInt(index % 2));
  const requests = Array.from({ length: 9 }, (_, index) => {
    const ids = BigInt64Array.of(idOf(index), idOf(index));
    return model.score({ count: 2, ids, dense: new Float32Array(0) }, 10_000).then(({ scores }) => [...scores], String);
  });
  const answers = await Promise.all(requests);
  expect(answers[4]).toContain('version 7 of "feed": the model threw while scoring 2 rows');
  const others = answers.filter((_, index) => index !== 4);
  expect(others).toEqual([0, 1, 2, 3, 5, 6, 7, 8].map((index) => (index % 2 === 0 ? [0.25, 0.25] : [0.75, 0.75])));
});

test('a request of more rows than a batch has room for is scored whole, and those beside it', async () => {
  const model = await start('rising');
  const many = Array.from({ length: 3_000 }, (_, index) => index / 1_000);
  const [before, large, after] = await Promise.all([
    model.score(rowsOf(1), 10_000),
    model.score(rowsOf(...many), 10_000),
    model.score(rowsOf(2), 10_000),
  ]).then((answers) => answers.map(({ scores }) => scores) as [Float32Array, Float32Array, Float32Array]);
  expect(large).toHaveLength(3_000);
  expect([large[1_000], large[2_000]]).toEqual([before[0], after[0]]);
  expect([...large]).toEqual([...large].toSorted((a, b) => a - b));
  expect(model.waitingMs()).toBe(0);
});

test('a model that hangs keeps neither its caller nor this thread', async () => {
  const model = await start('slow');
  await expect(model.score(rowsOf(MANY_TURNS), 5)).rejects.toThrow(ModelTimeout);
  expect([...(await model.score(rowsOf(1), 30_000)).scores]).toEqual([0.5]);
});

test('with too much waiting further requests are refused at once', async () => {
  const model = await start('slow', 2);
  const first = model.score(rowsOf(MANY_TURNS), 1);
  const second = model.score(rowsOf(1), 1);
  await expect(model.score(rowsOf(1), 30_000)).rejects.toThrow('2 requests wait for it already');
  await expect(first).rejects.toThrow('no answer within 1 ms');
  await expect(second).rejects.toThrow(ModelTimeout);
});

test('what a request cost is its share of the run, not what it waited for', async () => {
  const model = await start('slow');
  const [slow, quick] = await Promise.all([
    model.score(rowsOf(MANY_TURNS / 10), 30_000),
    new Promise((resolve) => setTimeout(resolve, 5)).then(() => model.score(rowsOf(1), 30_000)),
  ]);
  expect(slow.runMs).toBeGreaterThan(0);
  expect(quick.runMs).toBeLessThan(slow.runMs);
});

test('what waits when a model is closed is refused', async () => {
  const model = await start('slow');
  const waiting = model.score(rowsOf(MANY_TURNS), 30_000);
  const closed = model.close();
  await expect(waiting).rejects.toThrow(ModelError);
  await closed;
  await expect(model.score(rowsOf(1), 30_000)).rejects.toThrow('it was closed');
});

test('version 0 scores fall strictly and stay inside (0, 1), however many candidates there are', () => {
  const scores = inputOrderScores(500);
  expect(
    scores.every((score, index) => score > 0 && score < 1 && (index === 0 || score < (scores[index - 1] ?? 0))),
  ).toBe(true);
});
