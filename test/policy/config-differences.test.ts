import { expect, test } from 'vitest';
import { configDifferences } from '../../policy/config-differences.ts';

const slices = (...names: string[]): unknown => ({ slices: names.map((name) => ({ name, column: name })) });

test.each<[string, unknown, unknown, [string, unknown, unknown][]]>([
  ['nothing', { a: 1, b: [1, 2] }, { b: [1, 2], a: 1 }, []],
  [
    'a value',
    { training: { rate: 0.1, seed: 1 } },
    { training: { rate: 0.2, seed: 1 } },
    [['training.rate', 0.1, 0.2]],
  ],
  ['what came', { a: 1 }, { a: 1, b: { c: 2 } }, [['b', undefined, { c: 2 }]]],
  ['what went', { a: 1, b: null }, { a: 1 }, [['b', null, undefined]]],
  ['a list of plain values, whole', { steps: [1, 5] }, { steps: [1, 10] }, [['steps', [1, 5], [1, 10]]]],
  [
    'a list of objects without names, whole',
    { t: [{ m: 'auc' }] },
    { t: [{ m: 'auc', min: 1 }] },
    [['t', [{ m: 'auc' }], [{ m: 'auc', min: 1 }]]],
  ],
  [
    'no difference in keys that are in another order',
    { t: [{ a: 1, b: { c: 1, d: 2 } }] },
    { t: [{ b: { d: 2, c: 1 }, a: 1 }] },
    [],
  ],
  [
    'named things by their names',
    slices('x', 'y'),
    slices('y', 'z'),
    [
      ['slices[x]', { name: 'x', column: 'x' }, undefined],
      ['slices[z]', undefined, { name: 'z', column: 'z' }],
    ],
  ],
  [
    'a change within a named thing',
    { slices: [{ name: 'x', column: 'x' }] },
    { slices: [{ name: 'x', column: 'y' }] },
    [['slices[x].column', 'x', 'y']],
  ],
  ['the first of named things', { slices: [] }, slices('x'), [['slices[x]', undefined, { name: 'x', column: 'x' }]]],
  ['a list that became something else', { a: [1] }, { a: { b: 1 } }, [['a', [1], { b: 1 }]]],
  [
    'names that are not all different, whole',
    { a: [{ name: 'x' }] },
    { a: [{ name: 'x' }, { name: 'x' }] },
    [['a', [{ name: 'x' }], [{ name: 'x' }, { name: 'x' }]]],
  ],
])('%s', (_name, before, after, expected) => {
  expect(configDifferences(before, after).map(({ path, before: old, after: now }) => [path, old, now])).toEqual(
    expected,
  );
});
