import { expect, test } from 'vitest';
import type { ImpressionRecord } from '../../data/event-log/records.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, resultOf, START } from './feed.ts';

/** One impression a minute for 24 hours, in slates of five. */
const SHOWN = Array.from({ length: 1440 }, (_, n) =>
  impression(n, {
    ...{ requestId: `slate-${String(Math.floor(n / 5))}`, position: n % 5 },
    eventTimeMs: START + (n - (n % 5)) * MINUTE,
  }),
);
/** The snapshot to train on is taken after 16 hours, its extension after 18, the next one to train on after 20. */
const [TRAINED, EXTENDED, NEXT] = [16, 18, 20].map((hours) => START + hours * HOUR) as [number, number, number];

async function open(shown: ImpressionRecord[] = SHOWN): Promise<{
  feed: Feed;
  trained: { snapshotId: string; manifest: SnapshotManifest };
  extend: (overrides?: Parameters<Feed['snapshot']>[0]) => ReturnType<Feed['snapshot']>;
}> {
  const feed = await Feed.open(
    feedConfig({ snapshot: { minRows: 200, historicalRows: 300, historicalShare: 0.02, replayShare: 0.2 } }),
  );
  await feed.write(
    shown,
    shown.filter((_, n) => n % 3 === 0).map((row) => clickOn(row)),
  );
  const trained = await feed.snapshot({ eventNowMs: TRAINED });
  const { snapshotId, manifest } = trained;
  const extend: Awaited<ReturnType<typeof open>>['extend'] = (overrides) =>
    feed.snapshot({
      ...{ eventNowMs: EXTENDED, sinceMs: manifest.cutoffMs, extends: { snapshotId, splitMs: manifest.splitMs } },
      ...overrides,
    });
  return { feed, trained, extend };
}

test('an extension holds out every row that matured since, and nothing else; it trains nothing', async () => {
  const { feed, trained, extend } = await open();

  const { snapshotId, manifest } = await extend();

  const { cutoffMs } = trained.manifest;
  expect(manifest).toMatchObject({ extends: trained.snapshotId, windowStartMs: cutoffMs, splitMs: cutoffMs });
  expect(manifest).toMatchObject({ historical: null, counts: { train: 0, replay: 0, lateIncluded: 0 } });
  expect(manifest.files).toMatchObject({ train: [], replay: [], historical: [] });
  const fresh = SHOWN.filter(({ eventTimeMs }) => eventTimeMs > cutoffMs && eventTimeMs <= EXTENDED - 30 * MINUTE);
  const held = (await feed.rows(manifest, 'holdout')).map(({ impression_id }) => impression_id);
  // The reserved requests are nobody's test but the historical holdout's.
  expect(held.length + manifest.counts.reserved - trained.manifest.counts.reserved).toBe(fresh.length);
  expect(new Set(held).size).toBe(held.length);
  expect(fresh.map(({ impressionId }) => impressionId)).toEqual(expect.arrayContaining(held));
  expect((await extend()).snapshotId).toBe(snapshotId);
});

test('rows of a request that the challenger or the champion was trained on are left out', async () => {
  const split = (await open()).trained.manifest.splitMs;
  const [torn, seen] = [START + 16 * HOUR + 5 * MINUTE, START + 16 * HOUR + 15 * MINUTE];
  // A slate that began before the split goes on after the cutoff.
  const requestId = SHOWN.find(({ eventTimeMs }) => eventTimeMs === split)?.requestId ?? 'none';
  const shown = SHOWN.map((row) => (row.eventTimeMs === torn ? { ...row, requestId } : row));
  const { feed, extend } = await open(shown);

  const all = (await feed.rows((await extend()).manifest, 'holdout')).map(({ event_time_ms }) => event_time_ms);
  const unseen = (await feed.rows((await extend({ championCutoffMs: seen })).manifest, 'holdout')).map(
    ({ event_time_ms }) => event_time_ms,
  );

  expect(all).not.toContain(torn);
  expect(all).toContain(seen);
  expect(Math.min(...unseen.map(Number))).toBeGreaterThan(seen);
});

test('the next snapshot to train on is the same with an extension before it as without', async () => {
  const { feed, trained, extend } = await open();
  const next = (): ReturnType<Feed['snapshot']> => feed.snapshot({ eventNowMs: NEXT, parent: trained.manifest });

  const before = await next();
  await extend();

  expect((await next()).snapshotId).toBe(before.snapshotId);
  expect(before.manifest.windowStartMs).toBe(trained.manifest.splitMs);
});

test('the checks are run on it, but for those that ask for training data', async () => {
  const { feed, extend } = await open();
  const { manifest } = await extend();

  const report = await feed.check(manifest);

  expect(report.results.filter(({ status }) => status === 'block')).toEqual([]);
  expect(report.verdict).toBe('pass');
  const codes = report.results.map(({ check }) => check);
  for (const check of ['volume.min-rows', 'leakage', 'feedback-loop']) expect(codes).not.toContain(check);
  for (const check of ['schema', 'freshness', 'duplicates', 'leakage.overlap'] as const)
    expect([check, resultOf(report, check).status]).toEqual([check, 'pass']);
});

test('an extension of a table that stands still has no rows, and one that is half loaded is blocked', async () => {
  const { extend } = await open(SHOWN.filter(({ eventTimeMs }) => eventTimeMs <= TRAINED - 31 * MINUTE));
  expect((await extend()).manifest.counts.holdout).toBe(0);

  // Of the last two hours only the first twenty minutes were loaded.
  const half = await open(SHOWN.filter(({ eventTimeMs }) => eventTimeMs <= TRAINED - 10 * MINUTE));
  const { manifest } = await half.extend({ eventNowMs: START + 19 * HOUR });
  expect(manifest.counts.holdout).toBeGreaterThan(0);
  const report = await half.feed.check(manifest);
  expect(report.verdict).toBe('block');
  expect(report.results.filter(({ status }) => status === 'block').map(({ check }) => check)).toContain('freshness');
});
