import { beforeAll, expect, test } from 'vitest';
import type { Feature } from '../../config/schema.ts';
import { loadFeatureHash, type FeatureHash } from '../../features/feature-id.ts';
import { createFeaturizer, FeatureError, type RawFeatures } from '../../features/featurizer.ts';

const FEATURES: Feature[] = [
  { kind: 'numeric', name: 'age', from: 'candidate', transform: 'none' },
  { kind: 'categorical', name: 'author', from: 'candidate', buckets: 11, dim: 2 },
  { kind: 'categorical', name: 'country', from: 'user', field: 'home', buckets: 11, dim: 2 },
  { kind: 'numeric', name: 'hour', from: 'context', transform: 'log1p' },
];

let hash: FeatureHash;
beforeAll(async () => {
  hash = await loadFeatureHash();
});

const raw = (...candidates: Record<string, unknown>[]): RawFeatures => ({
  user: { home: 'dk' },
  context: { hour: '13' },
  candidates: candidates.map((features, index) => ({ id: String(index), features })),
});

test('columns stand in the order of the spec, rows in the order of the candidates', () => {
  const featurizer = createFeaturizer(FEATURES, hash);
  const rows = featurizer.featurize(raw({ age: 1.5, author: 'x' }, { age: '2', author: 7 }));
  expect(featurizer.categorical).toEqual(['author', 'country']);
  expect(featurizer.numeric).toEqual(['age', 'hour']);
  expect([...rows.ids]).toEqual([hash('x'), hash('dk'), hash('7'), hash('dk')]);
  expect([...rows.dense]).toEqual([1.5, 13, 2, 13]);
  expect(rows.count).toBe(2);
});

test('what is missing is 0 as an id and NaN as a number', () => {
  const rows = createFeaturizer(FEATURES, hash).featurize({
    user: {},
    context: { hour: null },
    candidates: [{ id: 'a', features: { age: '' } }],
  });
  expect([...rows.ids]).toEqual([0n, 0n]);
  expect([...rows.dense]).toEqual([NaN, NaN]);
});

test('what is logged is what the model was fed, rounded to float32 and without losing a bit of an id', () => {
  const featurizer = createFeaturizer(FEATURES, hash);
  const rows = featurizer.featurize(raw({ age: 0.1, author: 'x' }, { author: null }));
  expect(featurizer.loggedFeatures(rows, 0)).toEqual({
    age: Math.fround(0.1),
    author: String(hash('x')),
    country: String(hash('dk')),
    hour: 13,
  });
  expect(featurizer.loggedFeatures(rows, 1)).toMatchObject({ age: null, author: '0' });
});

test('what every object inherits is no value', () => {
  const features: Feature[] = [
    { kind: 'categorical', name: 'constructor', from: 'candidate', buckets: 11, dim: 2 },
    { kind: 'numeric', name: 'proto', field: '__proto__', from: 'user', transform: 'none' },
  ];
  const rows = createFeaturizer(features, hash).featurize(raw({}));
  expect([...rows.ids]).toEqual([0n]);
  expect([...rows.dense]).toEqual([NaN]);
  const given = JSON.parse('{"__proto__": 3}') as Record<string, unknown>;
  expect([...createFeaturizer(features, hash).featurize({ ...raw({}), user: given }).dense]).toEqual([3]);
});

test.each([
  ['abc', 'the text "abc"'],
  [true, 'true'],
  [[1], 'a list'],
  [1e39, '1e+39'],
  ['   ', 'the text "   "'],
])('the number %j is refused with its feature and its place', (age, shown) => {
  const featurize = () => createFeaturizer(FEATURES, hash).featurize(raw({ age: 1 }, { age }));
  expect(featurize).toThrow(FeatureError);
  expect(featurize).toThrow(`feature "age" at candidates[1].features.age: expected a finite number`);
  expect(featurize).toThrow(shown);
});

test('a list as a category is refused, and a field that objects inherit is missing', () => {
  const featurizer = createFeaturizer(FEATURES, hash);
  expect(() => featurizer.featurize({ ...raw({}), user: { home: ['dk'] } })).toThrow('feature "country" at user.home');
  const inherited = createFeaturizer([{ ...FEATURES[1], name: 'constructor' } as Feature], hash);
  expect([...inherited.featurize(raw({})).ids]).toEqual([0n]);
});
