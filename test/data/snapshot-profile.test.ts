import { describe, expect, test } from 'vitest';
import { quantile } from '../../data/profile/index.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

describe('the source as the manifest describes it', () => {
  test('has the recent window, the same one a season before, and each hour', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 10 * HOUR, 20);
    await feed.playTo(START + 34 * HOUR, 10);

    const { manifest } = await feed.snapshot({ eventNowMs: START + 34 * HOUR + 1 });

    const { source } = manifest;
    expect(source).toMatchObject({ recent: 240, recentSeasonBack: 480 });
    expect(source.newestArrivalMs).toBe(START + 34 * HOUR);
    expect(source.hourly.reduce((sum, { rows }) => sum + rows, 0)).toBe(10 * 120 + 24 * 60);
    expect(source.hourly.filter(({ mature }) => !mature).map(({ rows }) => rows)).toEqual([30]);
    expect(source.hourly.find(({ startMs }) => startMs === manifest.cutoffMs - 3 * HOUR)?.rows).toBe(60);
  });

  test('has how late the rows of each hour came, and what was repeated', async () => {
    const feed = await Feed.open();
    // The hour (START + 1 h, START + 2 h] of a snapshot whose cutoff lies 6 h after START.
    const lags = [-5, 0, 10, 40, 55, 70, 100, 130, 200, 400];
    const shown = lags.map((minutes, n) => {
      const eventTimeMs = START + 90 * MINUTE + n;
      return impression(n, { eventTimeMs, arrivedAtMs: eventTimeMs + minutes * MINUTE });
    });
    const [first, second] = shown as [(typeof shown)[0], (typeof shown)[0]];
    const twin = {
      ...impression(50, { eventTimeMs: second.eventTimeMs }),
      userId: second.userId,
      itemId: second.itemId,
    };
    await feed.write([...shown, impression(60, { eventTimeMs: START + 5.5 * HOUR })], [clickOn(first)]);
    await feed.write([
      { ...first, arrivedAtMs: START + 3 * HOUR },
      { ...twin, arrivedAtMs: START + 3 * HOUR },
    ]);

    const { manifest } = await feed.snapshot({ eventNowMs: START + 6.5 * HOUR });

    expect(manifest.source.repeats).toEqual({ byId: 1, byKey: 1 });
    expect(manifest.counts).toMatchObject({ notArrived: 1, duplicates: 2 });
    expect(manifest.source.hourly[0]).toEqual({
      startMs: START + HOUR,
      rows: 9,
      positives: 1,
      mature: true,
      duplicates: 2,
      beforeEvent: 1,
      lagP50Ms: 55 * MINUTE,
      lagP95Ms: 200 * MINUTE,
      // Arrived by 2:01, 2:05, 2:15, 2:30, 3:00, 4:00 and 6:00, shown at 1:30.
      arrivedWithin: [3, 3, 4, 5, 6, 8, 9],
    });
  });

  test('reaches back over the largest window and a season, or a week', async () => {
    const feed = await Feed.open(feedConfig({ snapshot: { maxWindow: '1d' } }));
    await feed.write(
      Array.from({ length: 12 * 24 }, (_, n) =>
        impression(n, { eventTimeMs: START + n * HOUR, arrivedAtMs: START + n * HOUR }),
      ),
    );

    const { manifest } = await feed.snapshot({ eventNowMs: START + 12 * 24 * HOUR });

    const oldest = manifest.source.hourly[0]?.startMs ?? 0;
    const back = manifest.cutoffMs - oldest;
    expect(back).toBeGreaterThanOrEqual(7 * 24 * HOUR);
    expect(back).toBeLessThanOrEqual((7 * 24 + 5) * HOUR);
    expect(manifest.source.firstEventMs).toBeGreaterThan(oldest);
  });
});

describe('the profiles of a snapshot', () => {
  test('are of the fresh rows and of the unlabelled ones, and can be read back', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 30 * HOUR);
    const parent = (await feed.snapshot({ eventNowMs: START + 20 * HOUR })).manifest;
    const { manifest } = await feed.snapshot({ parent });

    const fresh = await feed.profile(manifest, 'fresh');
    const unlabelled = await feed.profile(manifest, 'unlabelled');

    expect(manifest.counts.replay).toBeGreaterThan(0);
    expect(fresh?.rows).toBe(manifest.counts.train + manifest.counts.holdout);
    expect(unlabelled?.rows).toBe(manifest.counts.immature);
    expect(fresh?.fromMs).toBeGreaterThan(manifest.windowStartMs);
    expect(unlabelled?.fromMs).toBeGreaterThan(manifest.cutoffMs);
    expect(fresh?.columns['label']).toMatchObject({ missing: 0, mean: expect.closeTo(1 / 3, 2) as number });
    expect(unlabelled?.columns['label']).toMatchObject({ count: 0 });
    expect(fresh === null ? null : quantile(fresh, 'length', 0.5)).toBeCloseTo(50, -1);
    expect(fresh?.columns['topic']).toMatchObject({ kind: 'categorical', missing: 0 });
  });
});
