import { describe, expect, test } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import { Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

const topic = { kind: 'categorical' as const, name: 'topic' };
const length = { kind: 'numeric' as const, name: 'length' };

describe('the historical holdout', () => {
  const config = (
    snapshot: LineConfigInput['snapshot'] = {},
    features = [topic, length] as LineConfigInput['features'],
  ) => feedConfig({ features, snapshot: { historicalShare: 0.05, historicalRows: 20, replayShare: 0.3, ...snapshot } });

  async function openFeed(): Promise<Feed> {
    const feed = await Feed.open(config());
    await feed.write(Array.from({ length: 1_500 }, (_, n) => impression(n)));
    return feed;
  }
  const ids = async (
    feed: Feed,
    manifest: SnapshotManifest,
    part: keyof SnapshotManifest['files'],
  ): Promise<string[]> => (await feed.rows(manifest, part)).map(({ impression_id }) => impression_id);

  test('is frozen once there are enough rows, and is the same file from then on', async () => {
    const feed = await openFeed();
    const take = async (hours: number, parent?: SnapshotManifest): Promise<SnapshotManifest> =>
      (await feed.snapshot({ eventNowMs: START + hours * HOUR, ...(parent === undefined ? {} : { parent }) })).manifest;

    const young = await take(3);
    const first = await take(16, young);
    const second = await take(20, first);
    const third = await take(25, second);

    expect(young.counts.reserved).toBeGreaterThan(0);
    expect(young.historical).toBeNull();
    expect(young.files.historical).toEqual([]);
    expect(first.historical).toMatchObject({ frozenAtMs: START + 16 * HOUR, frozenBy: 'feed-1', because: 'first' });
    expect(first.files.historical).toMatchObject([{ rows: 20 }]);
    expect([second, third].map(({ files }) => files.historical)).toEqual([
      first.files.historical,
      first.files.historical,
    ]);
    expect(third.historical).toEqual(first.historical);
  });

  test('and all requests like those in it never train, fresh, late or replayed', async () => {
    const feed = await openFeed();
    const first = (await feed.snapshot({ eventNowMs: START + 16 * HOUR })).manifest;
    await feed.write(
      Array.from({ length: 300 }, (_, n) =>
        impression(2_000 + n, { eventTimeMs: START + n * MINUTE + 1, arrivedAtMs: START + 17 * HOUR }),
      ),
    );
    const second = (await feed.snapshot({ eventNowMs: START + 24 * HOUR, parent: first })).manifest;

    expect(second.counts.lateIncluded).toBeGreaterThan(250);
    expect(second.counts.replay).toBeGreaterThan(100);
    const used = new Set<string>();
    for (const manifest of [first, second]) {
      for (const part of ['train', 'holdout', 'replay'] as const) {
        for (const id of await ids(feed, manifest, part)) used.add(id);
      }
    }
    const frozen = await ids(feed, second, 'historical');
    expect(frozen).toHaveLength(20);
    expect(frozen.filter((id) => used.has(id))).toEqual([]);
    // Every reserved row of the feed, frozen or not: of the first 24 h all others were used, but for unreplayed history.
    expect(second.counts.reserved).toBeGreaterThan(50);
    expect(second.counts.reserved / (24 * 60 + 300)).toBeCloseTo(0.05, 1);
  });

  test.each([
    {
      what: 'another feature',
      now: config({}, [topic, length, { kind: 'numeric', name: 'age' }]),
      because: 'featuresChanged',
    },
    {
      what: 'a feature of another kind',
      now: config({}, [topic, { kind: 'categorical', name: 'length' }]),
      because: 'featuresChanged',
    },
    { what: 'a smaller reserve', now: config({ historicalShare: 0.03, historicalRows: 15 }), because: 'shareShrank' },
  ])('is frozen anew with $what', async ({ now, because }) => {
    const feed = await openFeed();
    const parent = (await feed.snapshot({ eventNowMs: START + 16 * HOUR })).manifest;

    const { manifest } = await feed.snapshot({ eventNowMs: START + 24 * HOUR, parent, config: now });

    expect(manifest.historical?.because).toBe(because);
    expect(manifest.files.historical).not.toEqual(parent.files.historical);
    expect(manifest.files.historical[0]?.rows).toBeGreaterThanOrEqual(15);
  });

  test.each([
    { what: 'a feature is dropped', now: config({}, [length]) },
    { what: 'the line asks for a larger set', now: config({ historicalRows: 30 }) },
  ])('is carried on when $what', async ({ now }) => {
    const feed = await openFeed();
    const parent = (await feed.snapshot({ eventNowMs: START + 16 * HOUR })).manifest;
    const { manifest } = await feed.snapshot({ eventNowMs: START + 24 * HOUR, parent, config: now });
    expect(manifest.files.historical).toEqual(parent.files.historical);
  });

  test('without the rows found bad is frozen anew', async () => {
    const feed = await openFeed();
    const parent = (await feed.snapshot({ eventNowMs: START + 16 * HOUR })).manifest;
    const bad = { fromMs: START + HOUR, toMs: START + 5 * HOUR };

    const { manifest } = await feed.snapshot({ eventNowMs: START + 24 * HOUR, parent, taintedWindows: [bad] });

    expect(manifest.historical).toMatchObject({ because: 'tainted', frozenAtMs: START + 24 * HOUR });
    const frozen = await feed.rows(manifest, 'historical');
    expect(frozen).toHaveLength(20);
    expect(frozen.filter(({ event_time_ms: at }) => at > bad.fromMs && at <= bad.toMs)).toEqual([]);
  });

  test('of no rows reserves nothing', async () => {
    const feed = await openFeed();
    const { manifest } = await feed.snapshot({ eventNowMs: START + 24 * HOUR, config: config({ historicalRows: 0 }) });
    expect(manifest.counts.reserved).toBe(0);
    expect(manifest.historical).toBeNull();
  });
});
