import { describe, expect, test } from 'vitest';
import { DataError } from '../../data/data-error.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import type { DataSource } from '../../data/sources/data-source.ts';
import { eventLogSource } from '../../data/sources/event-log-source.ts';
import { Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

/** Steps of which each row is in exactly one. */
const STEPS = [
  'malformed',
  'otherLine',
  'notArrived',
  'future',
  'duplicates',
  'immature',
  'history',
  'tainted',
  'reserved',
  'sampledOut',
  'train',
  'holdout',
  'replay',
] as const satisfies (keyof SnapshotManifest['counts'])[];

describe('the counts of a snapshot', () => {
  test('have every row in one step, and add up to what the source holds', async () => {
    const feed = await Feed.open(
      feedConfig({ snapshot: { maxTrainRows: 150, historicalShare: 0.05, historicalRows: 5, replayShare: 0.1 } }),
    );
    const shown = Array.from({ length: 600 }, (_, n) => impression(n));
    await feed.write([
      ...shown,
      ...shown.slice(0, 7),
      impression(601, { line: 'another' }),
      impression(602, { eventTimeMs: START + 11 * HOUR, arrivedAtMs: START + 9 * HOUR }),
      impression(603, { eventTimeMs: START + 5 * HOUR, arrivedAtMs: START + 12 * HOUR }),
      impression(604, { userId: null as never }),
    ]);
    const parent = (await feed.snapshot({ eventNowMs: START + 6 * HOUR })).manifest;

    const { manifest } = await feed.snapshot({
      eventNowMs: START + 10 * HOUR,
      parent,
      taintedWindows: [{ fromMs: START + HOUR, toMs: START + 2 * HOUR }],
    });

    const { counts, source } = manifest;
    expect(counts).toMatchObject({ malformed: 1, otherLine: 1, notArrived: 1, future: 1, duplicates: 7, immature: 29 });
    for (const step of STEPS) expect.soft(counts[step], step).toBeGreaterThan(0);
    expect(STEPS.reduce((sum, step) => sum + counts[step], 0)).toBe(counts.read);
    expect(counts.read).toBe(611);
    expect(source).toMatchObject({ kind: 'eventLog', location: feed.root, rows: 611 });
  });

  test('that are not what the source says it holds fail the snapshot', async () => {
    const feed = await Feed.open();
    await feed.write([impression(1), impression(2)]);
    const log = eventLogSource({ root: feed.root });
    const torn: DataSource = {
      load: async (...args) => ({ ...(await log.load(...args)), rows: 3 }),
    };

    const taken = feed.snapshot({ eventNowMs: START + 2 * HOUR, source: torn });

    await expect(taken).rejects.toThrow(/says it holds 3 impressions, but 2 were read/);
    // It may have changed while it was read: worth another try.
    await expect(taken).rejects.not.toBeInstanceOf(DataError);
  });
});

describe('rows found bad later', () => {
  test('go nowhere: not as fresh rows, nor late, nor as replay', async () => {
    const feed = await Feed.open(feedConfig({ snapshot: { replayShare: 0.5 } }));
    const shown = Array.from({ length: 600 }, (_, n) =>
      impression(n, n >= 100 && n < 110 ? { arrivedAtMs: START + 7 * HOUR } : {}),
    );
    await feed.write(shown);
    const parent = (await feed.snapshot({ eventNowMs: START + 6 * HOUR })).manifest;
    const windows = [
      { fromMs: START + 90 * MINUTE, toMs: START + 120 * MINUTE },
      { fromMs: START + 400 * MINUTE, toMs: START + 560 * MINUTE },
    ];

    const { manifest } = await feed.snapshot({ eventNowMs: START + 10 * HOUR, parent, taintedWindows: windows });

    expect(manifest.counts.tainted).toBe(30 + 160);
    expect(manifest.counts.lateIncluded).toBe(0);
    expect(manifest.counts.holdout).toBeGreaterThan(0);
    for (const part of ['train', 'holdout', 'replay'] as const) {
      const bad = (await feed.rows(manifest, part)).filter(({ event_time_ms }) =>
        windows.some(({ fromMs, toMs }) => event_time_ms > fromMs && event_time_ms <= toMs),
      );
      expect.soft(bad, part).toEqual([]);
    }
  });
});
