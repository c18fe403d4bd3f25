import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Feature } from '../../config/schema.ts';
import type { ImpressionRecord } from '../../data/event-log/records.ts';
import { loadFeatureHash } from '../../features/feature-id.ts';
import { createFeaturizer } from '../../features/featurizer.ts';
import { openSlateLog, type ServedSlate, type SlateLog, type SlateLogOptions } from '../../serving/slate-log.ts';

let root: string;
let lost: string[];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'freshet-slates-'));
  lost = [];
});
afterEach(() => rm(root, { recursive: true, force: true }));

const AT_MS = Date.UTC(2026, 0, 31, 7, 30);
const FED: Feature[] = [
  { kind: 'numeric', name: 'a "quoted" name', from: 'candidate', field: 'x', transform: 'none' },
  { kind: 'categorical', name: 'author', from: 'candidate', buckets: 11, dim: 2 },
];
const UNFED: Feature[] = [{ kind: 'categorical', name: 'later', from: 'candidate', buckets: 11, dim: 2 }];

const open = (options: Partial<SlateLogOptions> = {}): Promise<SlateLog> =>
  openSlateLog({
    ...{ root, processId: 'p1', sealEveryMs: 3_600_000, eventNow: () => AT_MS + 5_000 },
    onLost: (problem) => lost.push(problem),
    ...options,
  });

async function slate(requestId: string, count: number): Promise<ServedSlate> {
  const hash = await loadFeatureHash();
  const candidates = Array.from({ length: count + 3 }, (_, index) => ({
    id: `i${String(index)}`,
    features: { x: index % 4 === 3 ? null : index + 0.1, author: `a${String(index)}`, later: index },
  }));
  const raw = { user: {}, context: {}, candidates };
  const order = Array.from({ length: count }, (_, position) => count + 2 - position);
  return {
    head: {
      ...{ requestId, line: 'feed', userId: 'u "1"', eventTimeMs: AT_MS, arrivedAtMs: AT_MS },
      ...{ version: 3, arm: 'stable', propensity: 1 },
    },
    token: `${requestId}.scores.signature`,
    itemIds: order.map((index) => `i${String(index)}`),
    scores: order.map((index) => index / 100),
    candidates: order,
    features: [UNFED, FED].map((features) => {
      const featurizer = createFeaturizer(features, hash);
      return { featurizer, rows: featurizer.featurize(raw) };
    }),
  };
}

async function written(): Promise<ImpressionRecord[]> {
  const folder = join(root, 'impressions');
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.ndjson'));
  const texts = await Promise.all(names.sort().map((name) => readFile(join(folder, name), 'utf8')));
  return texts.flatMap((text) => text.trimEnd().split('\n')).map((line) => JSON.parse(line) as ImpressionRecord);
}

test('what is written is the served slate with the numbers of its rows, each impression once', async () => {
  const log = await open();
  const slates = await Promise.all(
    Array.from({ length: 300 }, (_, index) => slate(`r${String(index)}`, 1 + (index % 4))),
  );
  for (const one of slates) log.appendSlate(one);
  await log.close();
  const records = await written();
  const expected = slates.flatMap(({ head, itemIds, scores, candidates, features }) =>
    itemIds.map((itemId, position): ImpressionRecord => {
      const row = candidates[position] ?? NaN;
      return {
        ...{ ...head, arrivedAtMs: AT_MS + 5_000, impressionId: `signature.${String(position)}`, itemId, position },
        score: scores[position] ?? NaN,
        features: Object.assign(
          {},
          ...features.map(({ featurizer, rows }) => featurizer.loggedFeatures(rows, row)),
        ) as Record<string, number | string | null>,
      };
    }),
  );
  expect(records).toEqual(expected);
  expect(log.stats()).toEqual({ buffered: 0, dropped: 0 });
  expect(lost).toEqual([]);
});

test('what does not fit while the thread is behind is dropped and counted, and never waited for', async () => {
  const log = await open({ maxWaitingRecords: 10 });
  const one = await slate('r', 4);
  for (let index = 0; index < 5; index++) log.appendSlate(one);
  expect(log.stats()).toEqual({ buffered: 8, dropped: 12 });
  await log.close();
  expect(await written()).toHaveLength(8);
  expect(log.stats().dropped).toBe(12);
  log.appendSlate(one);
  expect(log.stats().dropped).toBe(16);
});

test('a folder that can not be made is said at the start', async () => {
  await expect(open({ root: '/dev/null/log' })).rejects.toThrow(/ENOTDIR/);
});
