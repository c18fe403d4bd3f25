import { describe, expect, test } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import type { FeedbackRecord, ImpressionRecord } from '../../data/event-log/records.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

const SECOND = 1_000;

/** A click on each impression; the n-th takes (n % 100) times 6 s to arrive, so 95 % have arrived after 564 s. */
function clicksOf(shown: ImpressionRecord[]): FeedbackRecord[] {
  return shown.map((row, n) => clickOn(row, { arrivedAtMs: row.eventTimeMs + (n % 100) * 6 * SECOND }));
}

describe('the label maturity', () => {
  const shown = Array.from({ length: 600 }, (_, n) => impression(n));
  const take = async (label: LineConfigInput['label'], delays = clicksOf(shown)): Promise<SnapshotManifest> => {
    const feed = await Feed.open(feedConfig({ label: { maturity: '30m', ...label } }));
    // Of impressions this young only the quick clicks are in: they must not count.
    const young = Array.from({ length: 20 }, (_, n) =>
      impression(700 + n, { eventTimeMs: START + 12 * HOUR - 60_000 - n }),
    );
    await feed.write(
      [...shown, ...young],
      [...delays, ...young.map((row) => clickOn(row, { arrivedAtMs: row.eventTimeMs + 5 }))],
    );
    return (await feed.snapshot({ eventNowMs: START + 12 * HOUR })).manifest;
  };

  test('is the age by which the share of the labels had arrived', async () => {
    const { maturityMs, cutoffMs, eventNowMs, label } = await take({});

    expect(label).toEqual({
      delays: {
        count: 600,
        p50Ms: 294 * SECOND,
        p90Ms: 534 * SECOND,
        p95Ms: 564 * SECOND,
        p99Ms: 588 * SECOND,
        maxMs: 594 * SECOND,
        shareMs: 564 * SECOND,
      },
      maturityFrom: 'measured',
      trueCutoffMs: null,
    });
    expect(maturityMs).toBe(564 * SECOND);
    expect(cutoffMs).toBe(eventNowMs - maturityMs);
  });

  test.each([
    { what: 'of another share', label: { maturityShare: 0.5 }, ms: 294 * SECOND, from: 'measured' },
    { what: 'of too few delays', label: { minDelays: 601 }, ms: 30 * MINUTE, from: 'tooFewDelays' },
    { what: 'that is not to be measured', label: { maturityFrom: 'config' as const }, ms: 30 * MINUTE, from: 'config' },
  ])('$what comes from $from', async ({ label, ms, from }) => {
    const manifest = await take(label);

    expect(manifest.maturityMs).toBe(ms);
    expect(manifest.label.maturityFrom).toBe(from);
    expect(manifest.label.delays?.count).toBe(600);
  });

  test('is never above what the line allows, nor below 0', async () => {
    const slow = shown.map((row) => clickOn(row, { arrivedAtMs: row.eventTimeMs + 2 * HOUR }));
    const early = shown.map((row) => clickOn(row, { arrivedAtMs: row.eventTimeMs - MINUTE }));

    expect(await take({}, slow)).toMatchObject({ maturityMs: 30 * MINUTE, label: { delays: { shareMs: 2 * HOUR } } });
    expect(await take({}, early)).toMatchObject({ maturityMs: 0, label: { delays: { maxMs: 0 } } });
  });

  test('may grow beyond the parent: nothing is lost, nothing trains twice', async () => {
    const feed = await Feed.open();
    const rows = Array.from({ length: 540 }, (_, n) =>
      impression(n, n >= 180 && n < 190 ? { arrivedAtMs: START + 4.5 * HOUR } : {}),
    );
    await feed.write(rows);
    const config = (maturity: string) => feedConfig({ label: { maturity, maturityFrom: 'config' } });
    const first = (await feed.snapshot({ eventNowMs: START + 4 * HOUR, config: config('1m') })).manifest;

    const second = (await feed.snapshot({ eventNowMs: START + 5 * HOUR, config: config('3h'), parent: first }))
      .manifest;
    const third = (await feed.snapshot({ eventNowMs: START + 12 * HOUR, config: config('3h'), parent: second }))
      .manifest;

    expect(second.cutoffMs).toBe(START + 2 * HOUR);
    expect(second.cutoffMs).toBeLessThan(second.windowStartMs);
    expect(second.splitMs).toBe(first.splitMs);
    expect(second.counts).toMatchObject({ train: 10, lateIncluded: 10, holdout: 0, replay: 0 });
    const trained = await trainedLabels(feed, [first, second, third]);
    expect(trained.map(({ id }) => id).sort()).toEqual([...new Set(trained.map(({ id }) => id))].sort());
    expect(trained.length + third.counts.holdout).toBe(540);
  });
});

describe('with a proxy label', () => {
  const TRUE_MATURITY = 24 * HOUR;
  const maturing = (maturity: string) =>
    feedConfig({
      label: {
        event: 'dwell',
        minDwell: '30s',
        maturity,
        maturityFrom: 'config',
        proxy: { event: 'click', maturity: '10m' },
      },
    });
  const proxyOf = (n: number): boolean => n % 2 === 0;
  const truthOf = (n: number): boolean => n % 3 === 0;
  const numberOf = (id: string): number => Number(/\d+/.exec(id)?.[0]);

  /** Six impressions an hour for three days; clicks after 5 minutes, the dwell time 20 hours later. */
  async function openFeed(): Promise<Feed> {
    const feed = await Feed.open(maturing('24h'));
    const shown = Array.from({ length: 72 * 6 }, (_, n) => impression(n, { eventTimeMs: START + n * 10 * MINUTE + 1 }));
    const clicks = shown.filter((_, n) => proxyOf(n)).map((row) => clickOn(row));
    const dwells = shown
      .filter((_, n) => truthOf(n))
      .map((row) => clickOn(row, { event: 'dwell', value: 40_000, arrivedAtMs: row.eventTimeMs + 20 * HOUR }));
    await feed.write(shown, [...clicks, ...dwells]);
    return feed;
  }

  test('young rows train with the proxy and old ones with the true label', async () => {
    const feed = await openFeed();

    const { manifest } = await feed.snapshot({ eventNowMs: START + 48 * HOUR });

    const { counts, label, cutoffMs, eventNowMs } = manifest;
    expect(cutoffMs).toBe(eventNowMs - 10 * MINUTE);
    expect(label.trueCutoffMs).toBe(eventNowMs - TRUE_MATURITY);
    const rows = [...(await feed.rows(manifest, 'train')), ...(await feed.rows(manifest, 'holdout'))];
    expect(rows).toHaveLength(48 * 6 - 1);
    for (const { impression_id, event_time_ms, label: given } of rows) {
      const expected = event_time_ms <= START + 24 * HOUR ? truthOf : proxyOf;
      expect(given, impression_id).toBe(Number(expected(numberOf(impression_id))));
    }
    expect(counts.proxyLabelled).toBe(24 * 6 - 1);
    expect(counts.corrected).toBe(0);
  });

  test('each row that the proxy got wrong trains once more when its true label is in, also over skipped cycles', async () => {
    const feed = await openFeed();
    const at = async (hours: number, parent?: SnapshotManifest): Promise<SnapshotManifest> =>
      (await feed.snapshot({ eventNowMs: START + hours * HOUR, ...(parent === undefined ? {} : { parent }) })).manifest;
    const first = await at(10);
    // A cycle that did not promote: the next one starts from the same parent.
    await at(14, first);
    const second = await at(40, first);
    const third = await at(44, second);
    const fourth = await at(71, third);

    expect([first, second, third].map(({ counts }) => counts.corrected > 0)).toEqual([false, true, true]);
    const trained = await trainedLabels(feed, [first, second, third, fourth]);
    const labels = new Map<number, number[]>();
    for (const { id, label } of trained) labels.set(numberOf(id), [...(labels.get(numberOf(id)) ?? []), label]);
    expect(labels.size).toBeGreaterThan(300);
    for (const [n, given] of labels) {
      const eventMs = START + n * 10 * MINUTE + 1;
      const matured = eventMs <= START + 71 * HOUR - TRUE_MATURITY;
      const [truth, proxy] = [Number(truthOf(n)), Number(proxyOf(n))];
      const options = matured ? [[truth], ...(truth === proxy ? [] : [[proxy, truth]])] : [[proxy]];
      expect(options, `row ${String(n)}`).toContainEqual(given);
    }
    expect(fourth.counts.corrected + third.counts.corrected + second.counts.corrected).toBe(
      [...labels.values()].filter((given) => given.length === 2).length,
    );
  });

  test('early clicks are corrected by clicks that came later, once', async () => {
    const config = feedConfig({
      label: { event: 'click', maturity: '24h', maturityFrom: 'config', proxy: { event: 'click', maturity: '10m' } },
    });
    const feed = await Feed.open(config);
    const shown = Array.from({ length: 60 }, (_, n) => impression(n));
    // A third after 5 minutes, a third after 20 hours.
    const clicks = shown.flatMap((row, n) =>
      n % 3 === 2 ? [] : [clickOn(row, { arrivedAtMs: row.eventTimeMs + (n % 3 === 0 ? 5 * MINUTE : 20 * HOUR) })],
    );
    await feed.write(shown, clicks);
    const first = (await feed.snapshot({ eventNowMs: START + 2 * HOUR })).manifest;

    const second = (await feed.snapshot({ eventNowMs: START + 3 * HOUR, parent: first })).manifest;
    const third = (await feed.snapshot({ eventNowMs: START + 22 * HOUR, parent: second })).manifest;
    const fourth = (await feed.snapshot({ eventNowMs: START + 26 * HOUR, parent: third })).manifest;
    const fifth = (await feed.snapshot({ eventNowMs: START + 27 * HOUR, parent: fourth })).manifest;

    expect([second, third, fifth].map(({ counts }) => counts.corrected)).toEqual([0, 0, 0]);
    const trained = await trainedLabels(feed, [first, second, third, fourth, fifth]);
    const late = trained.filter(({ id }) => numberOf(id) < 48 && numberOf(id) % 3 === 1);
    for (const wanted of new Set(late.map(({ id }) => id))) {
      const labels = late.filter(({ id }) => id === wanted).map(({ label }) => label);
      expect(labels, wanted).toEqual([0, 1]);
    }
    expect(late).toHaveLength(2 * 16);
    const others = trained.filter(({ id }) => numberOf(id) % 3 !== 1);
    expect(new Set(others.map(({ id }) => id)).size).toBe(others.length);
  });

  test('a maturity that grows does not take a true label back', async () => {
    const feed = await openFeed();
    const first = (await feed.snapshot({ eventNowMs: START + 48 * HOUR })).manifest;

    const second = (await feed.snapshot({ eventNowMs: START + 52 * HOUR, parent: first, config: maturing('40h') }))
      .manifest;

    expect(second.label.trueCutoffMs).toBe(first.label.trueCutoffMs);
    expect(second.counts.corrected).toBe(0);
  });
});

/** What the snapshots' training files hold, in the order in which they train. */
async function trainedLabels(feed: Feed, snapshots: SnapshotManifest[]): Promise<{ id: string; label: number }[]> {
  const trained: { id: string; label: number }[] = [];
  for (const manifest of snapshots) {
    for (const { impression_id, label } of await feed.rows(manifest, 'train')) {
      trained.push({ id: impression_id, label: label ?? NaN });
    }
  }
  return trained;
}
