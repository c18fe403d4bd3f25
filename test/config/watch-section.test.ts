import { expect, test } from 'vitest';
import { parseLineConfig } from '../../config/load.ts';
import { onlineWatch } from '../../config/schema.ts';
import { atSpeed } from '../../config/speed.ts';

const HEAD = 'line: news-feed\nfeatures: [{ kind: categorical, name: topic }]\n';
const lineOf = (rest: string) => parseLineConfig(`${HEAD}${rest}`, 'news.yaml');

test('a promoted version is watched for half an hour, and a demo at speed as much shorter', () => {
  const config = lineOf('');
  expect(config.watch).toEqual({ window: 1_800_000 });
  expect(atSpeed(config, 180).watch).toEqual({ window: 10_000 });
});

test.each(['0s', '60s', '2h'])('%s is a watch', (window) => {
  expect(() => lineOf(`watch: { window: ${window} }`)).not.toThrow();
});

test('one that holds no check is refused', () => {
  expect(() => lineOf('watch: { window: 59s }')).toThrow(
    'news.yaml: watch.window: the watch must hold at least one check: expected 1m (canary.checkEvery) or more, or 0s, which leaves it out',
  );
});

test('of an online update it is shorter as its ramp is', () => {
  const { canary, watch, training } = lineOf('training: { online: { window: 10m } }\nwatch: { window: 15m }');
  expect(onlineWatch({ online: training.online ?? { window: NaN }, canary, watch })).toBe(300_000);
});
