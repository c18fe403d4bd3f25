import { appendFile, cp, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { holdSegments, releaseSegments } from '../../data/event-log/hold.ts';
import { readLog } from '../../data/event-log/hour-state.ts';
import type { ImpressionRecord } from '../../data/event-log/records.ts';
import { snapshotManifestSchema, type SnapshotManifest } from '../../data/snapshot.ts';
import { eventLogSource } from '../../data/sources/event-log-source.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

const ids = (rows: { impression_id: string }[]): string[] => rows.map(({ impression_id }) => impression_id);
const fileHashes = (manifest: SnapshotManifest): string[] =>
  Object.values(manifest.files)
    .flat()
    .map(({ sha256 }) => sha256);

describe('a snapshot', () => {
  test('accounts for every row that was read', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 8 * HOUR);
    const shown = impression(5_000, { eventTimeMs: START + 7 * HOUR });
    await feed.write([shown, shown, impression(5_001, { line: 'other-feed', eventTimeMs: START + 7 * HOUR })]);
    const eventNowMs = feed.now;
    await feed.playTo(START + 9 * HOUR);

    const { manifest } = await feed.snapshot({ eventNowMs });

    const { counts } = manifest;
    expect(counts).toMatchObject({
      malformed: 0,
      otherLine: 1,
      duplicates: 1,
      immature: 30,
      history: 0,
      replay: 0,
      lateIncluded: 0,
    });
    expect(counts.train + counts.holdout).toBe(7.5 * 60 + 1);
    const placed = counts.malformed + counts.otherLine + counts.notArrived + counts.duplicates + counts.immature;
    expect(placed + counts.history + counts.train + counts.holdout + counts.replay).toBe(counts.read);
    expect(counts.positives).toBe(150);
    expect(manifest.files.train).toMatchObject([{ rows: counts.train }]);
    expect(await feed.rows(manifest, 'train')).toHaveLength(counts.train);
    expect(await feed.rows(manifest, 'holdout')).toHaveLength(counts.holdout);
  });

  test('holds the logged numbers, the label and the keys of each row', async () => {
    const feed = await Feed.open();
    const big = '-9223372036854775808';
    const shown = impression(1, {
      features: { topic: big, length: null },
      position: 3,
      version: 4,
      arm: 'canary',
      propensity: 0.5,
      score: 0.75,
    });
    const bare = impression(2, { features: {} });
    await feed.write([shown, bare], [clickOn(shown)]);

    const { manifest } = await feed.snapshot({ eventNowMs: START + 2 * HOUR });
    const rows = await feed.rows(manifest, 'train');

    const { impressionId, requestId, userId, itemId, eventTimeMs } = shown;
    expect([...rows, ...(await feed.rows(manifest, 'holdout'))]).toEqual([
      {
        impression_id: impressionId,
        request_id: requestId,
        user_id: userId,
        item_id: itemId,
        event_time_ms: eventTimeMs,
        arrived_at_ms: eventTimeMs,
        position: 3,
        version: 4,
        arm: 'canary',
        propensity: 0.5,
        score: 0.75,
        label: 1,
        topic: BigInt(big),
        length: null,
      },
      expect.objectContaining({ impression_id: bare.impressionId, label: 0, topic: 0, length: null }),
    ]);
  });

  test('is the same bytes when taken again, and from a copy of the log in another folder', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 30 * HOUR);
    const { manifest: parent } = await feed.snapshot({ eventNowMs: START + 20 * HOUR });
    const first = await feed.snapshot({ parent });
    const again = await feed.snapshot({ parent });
    const copy = join(feed.root, '..', 'copy');
    await cp(feed.root, copy, { recursive: true });
    const elsewhere = await feed.snapshot({
      parent,
      source: eventLogSource({ root: copy }),
      workDir: join(feed.root, '..', 'other', 'work'),
    });

    expect(first.manifest.counts.replay).toBeGreaterThan(0);
    expect(again.snapshotId).toBe(first.snapshotId);
    const { location } = elsewhere.manifest.source;
    expect(location).not.toBe(first.manifest.source.location);
    expect(elsewhere.manifest).toEqual({ ...first.manifest, source: { ...first.manifest.source, location } });
    expect(fileHashes(first.manifest)).toHaveLength(4);
  });

  test('taken again for its own time, does not see what arrived since', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 6 * HOUR);
    const eventNowMs = feed.now;
    const first = await feed.snapshot({ eventNowMs });
    await feed.playTo(START + 8 * HOUR);
    await feed.write([impression(9_999, { eventTimeMs: START + HOUR })]);

    const again = await feed.snapshot({ eventNowMs });

    expect(again.manifest.counts.notArrived).toBeGreaterThan(0);
    expect(fileHashes(again.manifest)).toEqual(fileHashes(first.manifest));
  });

  test('stores a manifest that can be read back under its id', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 6 * HOUR);

    const { snapshotId, manifest } = await feed.snapshot();

    const stored: unknown = JSON.parse(Buffer.from(await feed.artifacts.get(snapshotId)).toString('utf8'));
    expect(snapshotManifestSchema.parse(stored)).toEqual(manifest);
  });

  test('without rows is a manifest without files', async () => {
    const feed = await Feed.open();

    const { manifest } = await feed.snapshot({ eventNowMs: START + 6 * HOUR });

    expect(manifest.files).toEqual({ train: [], holdout: [], replay: [], historical: [], unlabelled: [] });
    expect(manifest.profiles).toEqual({ fresh: null, unlabelled: null });
    expect(manifest.counts.read).toBe(0);
    expect(manifest.splitMs).toBe(manifest.windowStartMs);
    expect(manifest.source).toMatchObject({ firstEventMs: null, newestArrivalMs: null, recent: 0 });
  });
});

describe('from one snapshot to the next', () => {
  test('every row trains once: the immature ones and the holdout in the next', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 8 * HOUR);
    const first = (await feed.snapshot()).manifest;
    await feed.playTo(START + 12 * HOUR);
    const second = (await feed.snapshot({ parent: first })).manifest;

    expect(first.counts.immature).toBe(30);
    const trained = [...ids(await feed.rows(first, 'train')), ...ids(await feed.rows(second, 'train'))];
    const seen = [...trained, ...ids(await feed.rows(second, 'holdout'))];
    expect(new Set(trained).size).toBe(trained.length);
    expect(seen).toHaveLength(11.5 * 60);
    expect(second.windowStartMs).toBe(first.splitMs);
  });

  test('what was loaded late trains once', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 8 * HOUR);
    await holdSegments({ root: feed.root, share: 0.5 });
    await feed.playTo(START + 10 * HOUR);
    await releaseSegments({ root: feed.root });
    // The hold covers the middle of the window: what it kept lies before the split.
    const hold = { fromMs: START + 8 * HOUR, toMs: START + 10 * HOUR };
    const parent = { ...(await feed.snapshot()).manifest, splitMs: hold.toMs };
    expect(parent.counts.train + parent.counts.holdout).toBe(8 * 60 + 50);
    await feed.playTo(START + 14 * HOUR);

    const child = (await feed.snapshot({ parent })).manifest;
    await feed.playTo(START + 18 * HOUR);
    const grandchild = (await feed.snapshot({ parent: child })).manifest;

    expect(child.counts.lateIncluded).toBe(60);
    const late = (await feed.rows(child, 'train')).filter(({ event_time_ms }) => event_time_ms <= hold.toMs);
    expect(late).toHaveLength(60);
    expect(late.every(({ event_time_ms }) => event_time_ms > hold.fromMs)).toBe(true);
    expect(late.filter(({ label }) => label === 1)).toHaveLength(20);
    expect(grandchild.counts.lateIncluded).toBe(0);
    expect((await feed.snapshot({ parent: child })).manifest.counts.replay).toBeGreaterThan(0);
  });

  test('a line that was skipped for long is bounded by the largest window', async () => {
    const config = feedConfig({ snapshot: { minRows: 200, maxWindow: '12h' } });
    const feed = await Feed.open(config);
    await feed.playTo(START + 40 * HOUR);

    const { manifest } = await feed.snapshot({ sinceMs: START });

    expect(manifest.windowStartMs).toBe(manifest.cutoffMs - 12 * HOUR);
    expect(manifest.counts.train + manifest.counts.holdout).toBe(12 * 60);
    expect(manifest.counts.lateIncluded).toBe(0);
  });

  test('a share of what trains is drawn from history', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 30 * HOUR);
    const parent = (await feed.snapshot({ eventNowMs: START + 24 * HOUR })).manifest;

    const { manifest } = await feed.snapshot({ parent });

    const { train, replay } = manifest.counts;
    expect(replay / (train + replay)).toBeCloseTo(0.08, 2);
    const replayed = await feed.rows(manifest, 'replay');
    expect(replayed.every(({ event_time_ms }) => event_time_ms <= parent.splitMs)).toBe(true);
    const middle = START + (parent.splitMs - START) / 2;
    expect(replayed.filter(({ event_time_ms }) => event_time_ms <= middle).length / replay).toBeGreaterThan(0.25);
    expect(replayed.filter(({ event_time_ms }) => event_time_ms > middle).length / replay).toBeGreaterThan(0.25);
  });
});

describe('rows', () => {
  test('of one request are never parted between train and holdout', async () => {
    const feed = await Feed.open();
    const slates = Array.from({ length: 50 }, (_, slate) =>
      Array.from({ length: 8 }, (_, position) =>
        impression(slate * 8 + position, {
          requestId: `slate-${String(slate)}`,
          position,
          // Clocks of gateways differ: some rows of a slate lie among those of the next.
          eventTimeMs: START + slate * MINUTE + position * 10_000,
        }),
      ),
    );
    await feed.write(slates.flat());

    const { manifest } = await feed.snapshot({ eventNowMs: START + 3 * HOUR });

    const requests = async (part: 'train' | 'holdout'): Promise<Set<string>> =>
      new Set((await feed.rows(manifest, part)).map(({ request_id }) => request_id));
    const [train, holdout] = [await requests('train'), await requests('holdout')];
    expect([...train].filter((request) => holdout.has(request))).toEqual([]);
    expect(train.size + holdout.size).toBe(50);
    expect(holdout.size).toBeGreaterThanOrEqual(8);
    expect(holdout.size).toBeLessThanOrEqual(11);
  });

  test('of one user may lie in both', async () => {
    const feed = await Feed.open();
    await feed.write(Array.from({ length: 200 }, (_, n) => impression(n)));

    const { manifest } = await feed.snapshot({ eventNowMs: START + 5 * HOUR });

    const users = async (part: 'train' | 'holdout'): Promise<Set<string>> =>
      new Set((await feed.rows(manifest, part)).map(({ user_id }) => user_id));
    const [train, holdout] = [await users('train'), await users('holdout')];
    expect([...holdout].filter((user) => train.has(user)).length).toBeGreaterThan(30);
  });

  test('of a request that lies astride the split train once', async () => {
    const feed = await Feed.open();
    const slate = (n: number): ImpressionRecord[] =>
      [0, 40, 80, 120].map((seconds, position) =>
        impression(n * 4 + position, {
          requestId: `slate-${String(n)}`,
          eventTimeMs: START + n * MINUTE + seconds * 1_000,
        }),
      );
    await feed.write(Array.from({ length: 240 }, (_, n) => slate(n)).flat());

    const first = (await feed.snapshot({ eventNowMs: START + 2 * HOUR })).manifest;
    const second = (await feed.snapshot({ eventNowMs: START + 3 * HOUR, parent: first })).manifest;
    const third = (await feed.snapshot({ eventNowMs: START + 6 * HOUR, parent: second })).manifest;

    const trained = [
      ...ids(await feed.rows(first, 'train')),
      ...ids(await feed.rows(second, 'train')),
      ...ids(await feed.rows(third, 'train')),
    ];
    expect(new Set(trained).size).toBe(trained.length);
    expect(trained.length + third.counts.holdout).toBe(240 * 4);
    const astride = (await feed.rows(first, 'train')).filter(({ event_time_ms }) => event_time_ms > first.splitMs);
    expect(astride.length).toBeGreaterThan(0);
  });

  test('that repeat by id, or by user, item and time, count once, and feedback on either counts', async () => {
    const feed = await Feed.open();
    const shown = impression(1);
    const twin = { ...impression(2, { eventTimeMs: shown.eventTimeMs }), userId: shown.userId, itemId: shown.itemId };
    await feed.write([shown, impression(3)]);
    await feed.write([shown, twin, { ...shown, eventTimeMs: shown.eventTimeMs + 1 }], [clickOn(twin), clickOn(twin)]);

    const { manifest } = await feed.snapshot({ eventNowMs: START + 2 * HOUR });

    expect(manifest.counts).toMatchObject({ read: 5, duplicates: 3 });
    const rows = [...(await feed.rows(manifest, 'train')), ...(await feed.rows(manifest, 'holdout'))];
    expect(rows).toMatchObject([
      { impression_id: shown.impressionId, label: 1 },
      { impression_id: 'token3.0', label: 0 },
    ]);
    expect(manifest.counts.positives).toBe(1);
  });

  test('are labelled by the feedback that had arrived', async () => {
    const feed = await Feed.open();
    const [early, late] = [impression(1), impression(2)];
    await feed.write([early, late], [clickOn(early), clickOn(late, { arrivedAtMs: START + 5 * HOUR })]);

    const before = await feed.snapshot({ eventNowMs: START + 2 * HOUR });
    const after = await feed.snapshot({ eventNowMs: START + 6 * HOUR });

    expect(before.manifest.counts.positives).toBe(1);
    expect(after.manifest.counts.positives).toBe(2);
  });

  test('are positive from the dwell that the line asks for', async () => {
    const feed = await Feed.open(feedConfig({ label: { event: 'dwell', minDwell: '10s', maturity: '30m' } }));
    const shown = [impression(1), impression(2), impression(3)] as const;
    await feed.write(
      [...shown],
      [
        clickOn(shown[0], { event: 'dwell', value: 10_000 }),
        clickOn(shown[1], { event: 'dwell', value: 9_999 }),
        clickOn(shown[2]),
      ],
    );

    const { manifest } = await feed.snapshot({ eventNowMs: START + 2 * HOUR });

    const rows = [...(await feed.rows(manifest, 'train')), ...(await feed.rows(manifest, 'holdout'))];
    expect(rows.map(({ label }) => label)).toEqual([1, 0, 0]);
  });

  test('that are torn or foreign are counted and left out', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 6 * HOUR);
    const [hour] = await readLog({ root: feed.root, kind: 'impressions', fromMs: START, toMs: START });
    const segment = hour?.segments[0];
    if (segment === undefined) throw new Error('the feed wrote no segment');
    await truncate(segment, 100);
    const folder = join(feed.root, 'impressions', 'dt=2026-01-05', 'hour=01');
    const [whole] = await readdir(folder);
    await appendFile(
      join(folder, whole ?? ''),
      '{"impressionId":"token9.0","eventTimeMs":"soon"}\nrubbish\n{"impressionId":"to',
    );
    await writeFile(join(folder, 'empty.ndjson'), '');

    const { manifest } = await feed.snapshot();

    expect(manifest.counts.malformed).toBe(4);
    expect(manifest.counts.train + manifest.counts.holdout).toBe(5.5 * 60 - 10);
  });

  test('with a value that is no number count as missing, and are counted', async () => {
    const feed = await Feed.open();
    const features = [
      { topic: '1', length: 'tall' },
      { topic: 'sports', length: 2 },
      { topic: '3', length: 'inf' },
      { topic: '4', length: 4 },
    ];
    await feed.write(features.map((values, n) => impression(n, { features: values })));

    const { manifest } = await feed.snapshot({ eventNowMs: START + 2 * HOUR });

    const of = (name: string, kind: string) => ({ name, kind, joined: false, knownAfter: null });
    expect(manifest.features).toEqual([
      { ...of('topic', 'categorical'), missingTrained: 0.25, missingServed: 0.25, invalid: 1 },
      { ...of('length', 'numeric'), missingTrained: 0.5, missingServed: 0.5, invalid: 2 },
    ]);
  });
});
