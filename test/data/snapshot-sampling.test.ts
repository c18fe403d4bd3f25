import { describe, expect, test } from 'vitest';
import type { ImpressionRecord } from '../../data/event-log/records.ts';
import { Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

const DAY = 24 * HOUR;

describe('replay', () => {
  test('takes equal shares of equal slices of history, whatever their volume', async () => {
    const feed = await Feed.open(feedConfig({ snapshot: { replayShare: 0.5, maxWindow: '1d' } }));
    const volumes = [300, 40, 150, 10, 500, 125];
    const shown = volumes.flatMap((volume, day) =>
      Array.from({ length: volume }, (_, i) =>
        impression(day * 1_000 + i, { eventTimeMs: START + day * DAY + Math.floor(((i + 0.5) * DAY) / volume) }),
      ),
    );
    await feed.write(shown);
    const parent = (await feed.snapshot({ eventNowMs: START + 5 * DAY + 30 * MINUTE })).manifest;

    const { manifest } = await feed.snapshot({
      eventNowMs: START + 6 * DAY + 30 * MINUTE,
      parent: { ...parent, splitMs: START + 5 * DAY },
    });

    expect(manifest.counts).toMatchObject({ train: 100, holdout: 25, replay: 100 });
    const days = (await feed.rows(manifest, 'replay')).map(({ event_time_ms }) =>
      Math.floor((event_time_ms - START) / DAY),
    );
    const byDay = [0, 1, 2, 3, 4].map((day) => days.filter((found) => found === day).length);
    // The fourth day has 10 rows; what it can not give comes from the others.
    expect(byDay[3]).toBe(10);
    for (const day of [0, 1, 2, 4]) expect(byDay[day]).toBeGreaterThanOrEqual(20);
    for (const day of [0, 1, 2, 4]) expect(byDay[day]).toBeLessThanOrEqual(25);
  });

  test('draws other rows in the next snapshot', async () => {
    const feed = await Feed.open();
    await feed.write(Array.from({ length: 2_000 }, (_, n) => impression(n)));
    const parent = (await feed.snapshot({ eventNowMs: START + 24 * HOUR })).manifest;
    const replayed = async (hours: number): Promise<string[]> => {
      const { manifest } = await feed.snapshot({ eventNowMs: START + hours * HOUR, parent });
      return (await feed.rows(manifest, 'replay')).map(({ impression_id }) => impression_id);
    };

    const [one, other] = [await replayed(30), await replayed(31)];

    expect(one.length).toBeGreaterThan(30);
    expect(one.filter((id) => other.includes(id)).length).toBeLessThan(one.length / 2);
  });
});

describe('more rows than a line trains on', () => {
  test('are sampled by whole requests, train and holdout alike, and counted', async () => {
    const feed = await Feed.open(feedConfig({ snapshot: { maxTrainRows: 203 } }));
    await feed.write(slates(120));

    const { manifest } = await feed.snapshot({ eventNowMs: START + 3 * HOUR });

    const { train, holdout, sampledOut } = manifest.counts;
    expect(train + holdout).toBe(200);
    expect(sampledOut).toBe(400);
    expect(holdout / (train + holdout)).toBeCloseTo(0.2, 1);
    for (const part of ['train', 'holdout'] as const) {
      const rows = await feed.rows(manifest, part);
      const requests = new Set(rows.map(({ request_id }) => request_id));
      expect(rows).toHaveLength(5 * requests.size);
    }
  });

  test('are all kept when they are not more', async () => {
    const feed = await Feed.open(feedConfig({ snapshot: { maxTrainRows: 600 } }));
    await feed.write(slates(120));
    const { manifest } = await feed.snapshot({ eventNowMs: START + 3 * HOUR });
    expect(manifest.counts).toMatchObject({ sampledOut: 0, train: 480, holdout: 120 });
  });
});

describe('rows that are too young for a label', () => {
  test('are kept without one, with what was served and scored', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 4 * HOUR);

    const { manifest } = await feed.snapshot();
    const young = await feed.rows(manifest, 'unlabelled');

    expect(manifest.counts.immature).toBe(30);
    expect(manifest.files.unlabelled).toMatchObject([{ rows: 30 }]);
    expect(young).toHaveLength(30);
    for (const row of young) {
      expect(row.event_time_ms).toBeGreaterThan(manifest.cutoffMs);
      expect(row).toMatchObject({ label: null, score: 0.25 });
      expect(row['topic']).not.toBe(0);
    }
  });
});

function slates(count: number): ImpressionRecord[] {
  return Array.from({ length: count }, (_, slate) =>
    Array.from({ length: 5 }, (_, position) =>
      impression(slate * 5 + position, {
        requestId: `slate-${String(slate)}`,
        position,
        eventTimeMs: START + slate * MINUTE,
      }),
    ),
  ).flat();
}
