import { beforeAll, expect, test } from 'vitest';
import { loadFeatureHash, type FeatureHash } from '../../features/feature-id.ts';

let hash: FeatureHash;
beforeAll(async () => {
  hash = await loadFeatureHash();
});

test('an id is the xxHash64 of the text, read as a signed 64-bit number', () => {
  // xxHash64 of "abc", seed 0, from the reference implementation: 44bc2cf5ad770999.
  expect(hash('abc')).toBe(0x44bc2cf5ad770999n);
  // Of "a": d24ec4f1a98c6e5b, whose highest bit is set.
  expect(hash('a')).toBe(0xd24ec4f1a98c6e5bn - (1n << 64n));
});

test('a number in a log and its text in a request are the same value', () => {
  expect(hash(42)).toBe(hash('42'));
  expect(hash(42n)).toBe(hash('42'));
  expect(hash(true)).toBe(hash('true'));
  expect(hash('42 ')).not.toBe(hash('42'));
});

test.each([[null], [undefined], [''], [NaN]])('%s is missing', (value) => {
  expect(hash(value)).toBe(0n);
});

test('a value without a text of its own is refused', () => {
  expect(() => hash(['a'])).toThrow('expected a string, number or boolean, got a list');
  expect(() => hash({ a: 1 })).toThrow('got object');
});

test('of far more values than are remembered each keeps its own id', () => {
  const wrong: unknown[] = [];
  for (let round = 0; round < 2; round++) {
    for (let number = 0; number < 150_000; number += 7 - 3 * round) {
      // A bigint's id is never remembered.
      const id = hash(BigInt(number));
      if (hash(number) !== id) wrong.push(number);
      if (hash(String(number)) !== id) wrong.push(String(number));
    }
  }
  expect(wrong).toEqual([]);
  expect(hash(0.5)).toBe(hash('0.5'));
  expect(hash(-0)).toBe(hash('0'));
});
