import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { Feature } from '../../config/schema.ts';
import type { ImpressionRecord } from '../../data/event-log/records.ts';
import { loadFeatureHash } from '../../features/feature-id.ts';
import { createFeaturizer } from '../../features/featurizer.ts';
import { startThread } from '../../scoring/start-thread.ts';
import type { LogEvent } from '../../serving/log-events.ts';
import { openSlateLog, type ServedSlate, type SlateLog, type SlateLogOptions } from '../../serving/slate-log.ts';
import type { LogThreadInput } from '../../serving/slate-protocol.ts';

let root: string;
let told: LogEvent[];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'freshet-slates-'));
  told = [];
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
    tell: (event) => told.push(event),
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

const lostIn = (log: SlateLog): number => Object.values(log.stats().dropped).reduce((sum, lost) => sum + lost, 0);

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
  expect(log.stats()).toMatchObject({ waiting: 0, unsealed: 0 });
  expect(lostIn(log)).toBe(0);
  expect(told).toEqual([]);
});

test('what does not fit while the thread is behind is dropped and counted, and never waited for', async () => {
  const log = await open({ maxWaitingRecords: 10 });
  const one = await slate('r', 4);
  for (let index = 0; index < 5; index++) log.appendSlate(one);
  expect(log.stats()).toMatchObject({ waiting: 8, dropped: { threadBehind: 12 } });
  await log.close();
  expect(await written()).toHaveLength(8);
  expect(lostIn(log)).toBe(12);
  log.appendSlate(one);
  expect(log.stats().dropped).toMatchObject({ threadBehind: 12, closed: 4 });
  expect(told).toEqual([{ kind: 'dropping', droppedBy: { threadBehind: 12 } }]);
});

test('a folder that can not be made is said at the start', async () => {
  await expect(open({ root: '/dev/null/log' })).rejects.toThrow(/ENOTDIR/);
});

const PATIENT = { timeout: 45_000 };

/** Threads that the log started, to be killed. */
function threads(): { started: Worker[]; start: NonNullable<SlateLogOptions['start']> } {
  const started: Worker[] = [];
  const beside = new URL('../../serving/slate-log.ts', import.meta.url).href;
  return {
    started,
    start: (workerData) => {
      const worker = startThread({ beside, entry: './log-thread', workerData });
      started.push(worker);
      return worker;
    },
  };
}

test('a thread that ends is started again; what waits is written, what it had is counted as lost', async () => {
  const { started, start } = threads();
  const log = await open({ start, sealEveryMs: 20 });
  log.appendSlate(await slate('sealed', 3));
  await expect.poll(written, PATIENT).toHaveLength(3);
  await expect.poll(() => log.stats(), PATIENT).toMatchObject({ waiting: 0, unsealed: 0 });

  const killed = started[0]?.terminate();
  log.appendSlate(await slate('meanwhile', 4));
  await killed;
  await expect.poll(() => told, PATIENT).toHaveLength(1);
  log.appendSlate(await slate('after', 2));
  await expect.poll(() => log.stats(), PATIENT).toMatchObject({ waiting: 0, unsealed: 0 });
  await log.close();

  const [ended] = told as Extract<LogEvent, { kind: 'threadEnded' }>[];
  expect(ended).toMatchObject({ kind: 'threadEnded', restartInMs: 100 });
  // What was handed over to the thread while it was ending is lost; what was not is written.
  const requests = new Set((await written()).map(({ requestId }) => requestId));
  expect([...requests].sort()).toEqual(ended?.lost === 4 ? ['after', 'sealed'] : ['after', 'meanwhile', 'sealed']);
  expect(log.stats().dropped.threadEnded).toBe(ended?.lost);
  expect(started).toHaveLength(2);
});

test('what a thread had taken and not sealed when it ended is counted as lost', async () => {
  const { started, start } = threads();
  const log = await open({ start });
  log.appendSlate(await slate('unsealed', 4));
  await expect.poll(() => log.stats().unsealed, PATIENT).toBe(4);
  await started[0]?.terminate();
  log.appendSlate(await slate('after', 2));
  // Closing does not wait for the pause before the restart.
  await log.close();
  expect((await written()).map(({ requestId }) => requestId)).toEqual(['after', 'after']);
  expect(log.stats().dropped).toMatchObject({ threadEnded: 4 });
  expect(told.map(({ kind }) => kind)).toEqual(['threadEnded', 'dropping']);
});

test('a thread that can not be started again is tried a few times, with growing pauses, and then given up', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { started, start } = threads();
  const first = (input: LogThreadInput): Worker =>
    started.length === 0 ? start(input) : new Worker('', { eval: true });
  const log = await open({ start: first });
  await started[0]?.terminate();
  const pauses = (): number[] => told.flatMap((event) => ('restartInMs' in event ? [event.restartInMs] : []));
  for (const [tries, pause] of [100, 1_000, 5_000, 30_000, 60_000].entries()) {
    await vi.waitFor(() => {
      expect(pauses()).toHaveLength(tries + 1);
    }, 20_000);
    await vi.advanceTimersByTimeAsync(pause);
  }
  await vi.waitFor(() => {
    expect(told.at(-1)).toMatchObject({
      kind: 'threadGivenUp',
      problem: expect.stringContaining('ended while it was starting') as string,
    });
  }, 20_000);
  expect(pauses()).toEqual([100, 1_000, 5_000, 30_000, 60_000]);
  log.appendSlate(await slate('r', 3));
  expect(log.stats()).toMatchObject({ waiting: 0, dropped: { threadEnded: 3 } });
  await log.close();
});
