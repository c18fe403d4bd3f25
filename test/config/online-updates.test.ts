import { expect, test } from 'vitest';
import { ConfigError, parseLineConfig } from '../../config/load.ts';
import { atSpeed } from '../../config/speed.ts';

const HEAD = 'line: news-feed\nfeatures: [{ kind: categorical, name: topic }]\n';
const lineOf = (online: string, rest = '') =>
  parseLineConfig(`${HEAD}training: { online: ${online} }\n${rest}`, 'news.yaml');

test('online updates come every hour and are over in a quarter of one', () => {
  expect(lineOf('{}').training.online).toEqual({ every: 3_600_000, shadow: 300_000, window: 600_000 });
  expect(parseLineConfig(HEAD, 'news.yaml').training.online).toBeUndefined();
});

test.each([
  [
    'as often as whole cycles',
    '{ every: 4h }',
    '',
    'every: online updates come between whole cycles: expected less than schedule.every (4h)',
  ],
  [
    'too short for its checks',
    '{ window: 4m }',
    '',
    'window: the window must hold at least one check a step: expected 5m or more',
  ],
  [
    'too short for the steps of its line',
    '{ window: 9m }',
    'canary: { checkEvery: 2m, window: 30m, lease: 150s }',
    'window: the window must hold at least one check a step: expected 10m or more',
  ],
  [
    'not over before the next',
    '{ every: 25m }',
    '',
    'every: an update must be over before the next one: expected more than its shadow, its window and its watch (25m)',
  ],
  [
    'not over before the next, with a long watch',
    '{ every: 35m }',
    'watch: { window: 1h }',
    'every: an update must be over before the next one: expected more than its shadow, its window and its watch (35m)',
  ],
])('an online update that is %s is refused', (_name, online, rest, message) => {
  let problem = '';
  try {
    lineOf(online, rest);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problem = error.message;
  }
  expect(problem).toContain(`news.yaml: training.online.${message}`);
});

test('a demo at speed updates as much faster', () => {
  const { training } = atSpeed(lineOf('{}'), 60);
  expect(training.online).toEqual({ every: 60_000, shadow: 5_000, window: 10_000 });
  expect(training.reanchorEvery).toBe(7 * 86_400_000);
  expect(atSpeed(parseLineConfig(HEAD, 'news.yaml'), 60).training.online).toBeUndefined();
});
