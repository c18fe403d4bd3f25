import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadLineConfig, parseLineConfig } from '../../config/load.ts';

const LINE = 'line: feed\nfeatures: [{ kind: categorical, name: topic }]\n';
const COLUMNS = 'user: u, item: i, time: t, label: y';

test('without a source a line reads the event log', () => {
  expect(parseLineConfig(LINE, 'feed.yaml').source).toEqual({ kind: 'eventLog' });
});

test('a lake needs a path and its columns: the rest is filled in', () => {
  const { source } = parseLineConfig(
    `${LINE}source: { kind: lake, path: a.parquet, columns: { ${COLUMNS} } }`,
    'feed.yaml',
  );
  expect(source).toMatchObject({
    format: 'parquet',
    timeUnit: 'ms',
    timeZone: 'UTC',
    labelDelay: 0,
    partitions: { day: 'dt', hour: 'hour', margin: 86_400_000 },
  });
});

test.each([
  ['a kind that there is not', 'kind: kafka', /source\.kind/],
  [
    'object storage',
    `kind: lake, path: 's3://bucket/a.parquet', columns: { ${COLUMNS} }`,
    /source\.path: object storage .* mount it/,
  ],
  ['no labels', 'kind: lake, path: a, columns: { user: u, item: i, time: t }', /nothing says what was clicked/],
  [
    'an item and candidates',
    `kind: lake, path: a, columns: { ${COLUMNS}, candidates: c }`,
    /either the column "item" or the column "candidates"/,
  ],
  [
    'clicked without candidates',
    `kind: lake, path: a, columns: { ${COLUMNS}, clicked: c }`,
    /"clicked" goes with "candidates"/,
  ],
  [
    'lists in CSV',
    'kind: lake, format: csv, path: a, columns: { user: u, time: t, candidates: c, clicked: k }',
    /CSV has no lists/,
  ],
  [
    'a time zone that there is not',
    `kind: lake, path: a, timeZone: Mars, columns: { ${COLUMNS} }`,
    /source\.timeZone: expected the name of a time zone/,
  ],
  [
    'feedback without an impression',
    `kind: lake, path: a, columns: { ${COLUMNS} }, feedback: { path: b, columns: { time: t, item: i } }`,
    /both "requestId" and "item"/,
  ],
  [
    'an address in the config',
    `kind: postgres, urlFrom: 'postgres://u:p@h/d', query: select 1, columns: { ${COLUMNS} }`,
    /source\.urlFrom: expected the name of an environment variable/,
  ],
  [
    'lists from Postgres',
    `kind: postgres, urlFrom: A_URL, query: select 1, columns: { ${COLUMNS}, candidates: c }`,
    /source\.columns\.candidates: unknown key/,
  ],
])('%s is refused', (_, source, says) => {
  expect(() => parseLineConfig(`${LINE}source: { ${source} }`, 'feed.yaml')).toThrow(says);
});

test('the lines that are shipped are valid', async () => {
  const folder = join(import.meta.dirname, '../../config');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml'));
  expect(names).toEqual(expect.arrayContaining(['ebnerd.yaml', 'kuairand-lake.yaml']));
  for (const name of names) await expect(loadLineConfig(join(folder, name))).resolves.toBeDefined();
});
