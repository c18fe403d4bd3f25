import { describe, expect, test } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import type { ImpressionRecord } from '../../data/event-log/records.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, resultOf, START } from './feed.ts';

/** One impression a minute for 24 hours, in slates of five, all shown as one. */
const SHOWN = Array.from({ length: 288 }, (_, slate) =>
  Array.from({ length: 5 }, (_, position) =>
    impression(slate * 5 + position, {
      ...{ requestId: `slate-${String(slate)}`, position, eventTimeMs: START + slate * 5 * MINUTE },
    }),
  ),
).flat();
const CLICKS = SHOWN.filter((_, n) => n % 3 === 0).map((row) => clickOn(row));
/** The parent's snapshot is taken after 16 hours, this one after 20. */
const [BEFORE, NOW] = [START + 16 * HOUR, START + 20 * HOUR];

async function open(
  given: Partial<LineConfigInput> = {},
  shown: ImpressionRecord[] = SHOWN,
): Promise<{ feed: Feed; parent: SnapshotManifest }> {
  const feed = await Feed.open(feedConfig(given));
  await feed.write(shown, CLICKS);
  const { manifest } = await feed.snapshot({ eventNowMs: BEFORE });
  return { feed, parent: manifest };
}

describe('the snapshot of a training in full', () => {
  test('has all of history for a replay, and what is fresh and held out stays the same', async () => {
    const { feed, parent } = await open();

    const { manifest: sample } = await feed.snapshot({ eventNowMs: NOW, parent });
    const { manifest: full } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all' });

    expect([sample.replay, full.replay]).toEqual(['sample', 'all']);
    expect([full.splitMs, full.windowStartMs, full.cutoffMs]).toEqual([
      ...[sample.splitMs, sample.windowStartMs, sample.cutoffMs],
    ]);
    for (const part of ['train', 'holdout'] as const) expect(full.files[part]).toEqual(sample.files[part]);
    const history = SHOWN.filter(({ eventTimeMs }) => eventTimeMs <= parent.splitMs);
    expect(full.counts).toMatchObject({ replay: history.length, history: 0 });
    expect(sample.counts.replay + sample.counts.history).toBe(history.length);
    const replayed = await feed.rows(full, 'replay');
    expect(replayed.map(({ impression_id }) => impression_id).sort()).toEqual(
      history.map(({ impressionId }) => impressionId).sort(),
    );
    expect(replayed.filter(({ label }) => label === 1)).toHaveLength(
      CLICKS.filter(({ eventTimeMs }) => eventTimeMs - 5 * MINUTE <= parent.splitMs).length,
    );
  });

  test('passes the checks that look at replay', async () => {
    const { feed, parent } = await open();
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all' });

    const report = await feed.check(manifest);

    for (const check of ['leakage.overlap', 'duplicates', 'volume.min-rows', 'schema', 'recency'] as const)
      expect([check, resultOf(report, check).status]).toEqual([check, 'pass']);
  });

  test('too few fresh rows are too few, however much history there is', async () => {
    const { feed, parent } = await open({ snapshot: { minRows: 500 } });
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all' });

    expect(manifest.counts.replay).toBeGreaterThan(500);
    expect(resultOf(await feed.check(manifest), 'volume.min-rows').status).toBe('block');
  });

  test('goes back no further than the longest window', async () => {
    const { feed, parent } = await open({ snapshot: { maxWindow: '10h', season: '10h' } });
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all' });

    const replayed = (await feed.rows(manifest, 'replay')).map(({ event_time_ms }) => event_time_ms);
    expect(Math.min(...replayed)).toBeGreaterThan(manifest.cutoffMs - 10 * HOUR);
    expect(replayed).toHaveLength(
      SHOWN.filter((row) => row.eventTimeMs > manifest.cutoffMs - 10 * HOUR && row.eventTimeMs <= parent.splitMs)
        .length,
    );
    expect(manifest.counts.history).toBeGreaterThan(0);
  });

  test('samples whole requests of history when there are more than a line trains on', async () => {
    const { feed, parent } = await open({ snapshot: { maxTrainRows: 302 } });
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all' });

    const replayed = await feed.rows(manifest, 'replay');
    expect(replayed).toHaveLength(300);
    expect(new Set(replayed.map(({ request_id }) => request_id)).size).toBe(60);
    // From all over history, not from its end.
    const hours = new Set(replayed.map(({ event_time_ms }) => Math.floor((event_time_ms - START) / HOUR)));
    expect(hours.size).toBeGreaterThan(8);
  });

  test('has no rows that were found bad and none that are reserved', async () => {
    const { feed, parent } = await open({ snapshot: { historicalShare: 0.05, historicalRows: 20 } });
    const bad = { fromMs: START + HOUR, toMs: START + 3 * HOUR };
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all', taintedWindows: [bad] });

    const replayed = await feed.rows(manifest, 'replay');
    expect(replayed.some(({ event_time_ms: at }) => at > bad.fromMs && at <= bad.toMs)).toBe(false);
    expect(manifest.counts.tainted).toBe(120);
    expect(manifest.counts.reserved).toBeGreaterThan(0);
    expect(resultOf(await feed.check(manifest), 'leakage.overlap').status).toBe('pass');
  });

  test('has the rows whose label is still a proxy, too', async () => {
    const label = { maturity: '6h', maturityFrom: 'config', proxy: { event: 'click', maturity: '30m' } } as const;
    const { feed, parent } = await open({ label });
    const { manifest: sample } = await feed.snapshot({ eventNowMs: NOW, parent });
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, replay: 'all' });

    const newest = async (of: SnapshotManifest): Promise<number> =>
      Math.max(...(await feed.rows(of, 'replay')).map(({ event_time_ms }) => event_time_ms));
    expect(await newest(sample)).toBeLessThanOrEqual(NOW - 6 * HOUR);
    expect(await newest(manifest)).toBeLessThanOrEqual(parent.splitMs);
    expect(await newest(manifest)).toBeGreaterThan(parent.splitMs - 10 * MINUTE);
    expect(manifest.counts.replay).toBe(SHOWN.filter(({ eventTimeMs }) => eventTimeMs <= parent.splitMs).length);
  });

  test('is the ordinary one on a cold start', async () => {
    const { feed, parent } = await open();
    const { manifest } = await feed.snapshot({ eventNowMs: BEFORE, replay: 'all' });
    expect(manifest).toEqual(parent);
  });
});

describe('a champion that is newer than the parent', () => {
  test('was trained on nothing that is held out', async () => {
    const { feed, parent } = await open();
    const { manifest: usual } = await feed.snapshot({ eventNowMs: NOW, parent });
    const championCutoffMs = usual.splitMs + 20 * MINUTE;

    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, championCutoffMs });

    expect(manifest.splitMs).toBe(championCutoffMs);
    const held = (await feed.rows(manifest, 'holdout')).map(({ event_time_ms }) => event_time_ms);
    expect(Math.min(...held)).toBeGreaterThan(championCutoffMs);
    const { train, holdout } = manifest.counts;
    expect(train + holdout).toBe(usual.counts.train + usual.counts.holdout);
  });

  test.each([
    [
      'changes nothing when its cutoff lies before the split',
      (usual: SnapshotManifest) => usual.splitMs - HOUR,
      'split',
    ],
    ['never moves the split behind the cutoff', (usual: SnapshotManifest) => usual.cutoffMs + HOUR, 'cutoff'],
  ] as const)('%s', async (_name, cutoffOf, expected) => {
    const { feed, parent } = await open();
    const { manifest: usual } = await feed.snapshot({ eventNowMs: NOW, parent });
    const { manifest } = await feed.snapshot({ eventNowMs: NOW, parent, championCutoffMs: cutoffOf(usual) });
    expect(manifest.splitMs).toBe(expected === 'split' ? usual.splitMs : usual.cutoffMs);
  });
});
