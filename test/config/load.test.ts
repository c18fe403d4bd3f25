import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ConfigError, lineConfigJsonSchema, loadLineConfig, parseLineConfig } from '../../config/load.ts';

const MINIMAL = 'line: news-feed\nfeatures: [{ kind: categorical, name: topic }]\n';

test('a line and one feature are enough: every default is filled in, durations are milliseconds', () => {
  const config = parseLineConfig(MINIMAL, 'news.yaml');
  expect(config.line).toBe('news-feed');
  expect(config.schedule.every).toBe(4 * 3_600_000);
  expect(config.canary.steps).toEqual([1, 5, 25, 50, 100]);
  expect(config.features[0]).toMatchObject({ from: 'candidate', buckets: 100_003 });
});

test.each([
  ['an empty file', '', ['(the whole file): expected object']],
  ['a missing line', 'features: [{ kind: numeric, name: age }]', ['line: expected string, but it is missing']],
  [
    'an unknown feature kind',
    'line: a\nfeatures: [{ kind: catgorical, name: topic }]',
    ['features[0].kind: unknown feature kind: expected "categorical" or "numeric"'],
  ],
  [
    'a feature named like a column of every snapshot',
    'line: a\nfeatures: [{ kind: categorical, name: User_Id }]',
    ['features[0].name: feature "User_Id" is a column of every snapshot'],
  ],
  ['a misspelt key', `${MINIMAL}canary: { widow: 30m }`, ['canary.widow: unknown key']],
  [
    'a duration without a unit',
    `${MINIMAL}schedule: { every: "30" }`,
    ['schedule.every: expected a duration such as 90s'],
  ],
  [
    'a silence that would never end',
    `${MINIMAL}silences: [{ guard: leakage, until: never, reason: the join is known to leak }]`,
    ['silences[0].until: expected a date and time with its zone, such as 2026-01-31T12:00:00Z'],
  ],
  [
    'two problems at once',
    `${MINIMAL}canary: { steps: [50, 10] }\ngate: { metric: accuracy }`,
    ['gate.metric: expected one of "auc"|"logLoss"|"normalizedEntropy"'],
  ],
  ['steps that shrink', `${MINIMAL}canary: { steps: [50, 10] }`, ['canary.steps: steps must grow']],
])('%s is refused with its path and what was expected', (_name, text, messages) => {
  const problem = problemOf(() => parseLineConfig(text, 'news.yaml'));
  for (const message of messages) expect(problem).toContain(`news.yaml: ${message}`);
});

test('broken YAML is refused with its line and column', () => {
  expect(problemOf(() => parseLineConfig('line: a\nfeatures: [', 'news.yaml'))).toMatch(/^news\.yaml:2:\d+: /);
  expect(problemOf(() => parseLineConfig('line: a\nline: b', 'news.yaml'))).toMatch(
    /^news\.yaml:2:1: Map keys must be unique/,
  );
});

test('a file that is not there is named', async () => {
  await expect(loadLineConfig('/nowhere/news.yaml')).rejects.toThrow('/nowhere/news.yaml: no such file');
});

test('a file is read as its text is', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-config-'));
  try {
    const file = join(folder, 'news.yaml');
    await writeFile(file, MINIMAL);
    expect(await loadLineConfig(file)).toEqual(parseLineConfig(MINIMAL, file));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the JSON Schema for editors is current (npm run schema writes it)', async () => {
  const written: unknown = JSON.parse(
    await readFile(new URL('../../config/line.schema.json', import.meta.url), 'utf8'),
  );
  expect(written).toEqual(lineConfigJsonSchema());
});

function problemOf(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('the config was taken');
}
