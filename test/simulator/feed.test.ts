import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadLineConfig } from '../../config/load.ts';
import type { LineConfig } from '../../config/schema.ts';
import { DAY_MS } from '../../simulator/event-timeline.ts';
import { createFeed, FEED_START_MS, feedSource } from '../../simulator/feed.ts';
import { createFeedWorld } from '../../simulator/feed-world.ts';
import { lineOver, HOUR_MS, runSql } from './log-files.ts';
import { startStandInGateway, type StandInGateway } from './stand-in-gateway.ts';

const WORLD = { users: 500, visitsPerDay: 4_000, articlesPerHour: 25 };

type Source = ReturnType<typeof feedSource>;
type Visit = Awaited<ReturnType<Source['next']>>[number];
type Ids = string[];

function source(seed: number, label: 'click' | 'dwell' = 'click'): Source {
  return feedSource({ config: { label: { ...config.label, event: label } }, seed, outcomes: null, options: WORLD });
}

async function visits(from: Source, count: number): Promise<Visit[]> {
  const found: Visit[] = [];
  while (found.length < count) found.push(...(await from.next()));
  return found.slice(0, count);
}

/** Ids that are clicked when these are shown in this order. */
function clicks(from: Source, visit: Visit, shown: Ids): Ids {
  const items = shown.map((id) => ({ id, impressionId: id }));
  return from.react(visit, { version: 1, arm: 'stable', items }).map(({ impressionId }) => impressionId);
}

const idsOf = ({ rank }: Visit): Ids => rank.candidates.map(({ id }) => id);

let config: LineConfig;
beforeEach(async () => {
  config = await loadLineConfig(join(import.meta.dirname, '../../config/simulated-feed.yaml'));
});

describe('the simulated feed', () => {
  it('is the same for the same seed and another for another', async () => {
    const [first, again, other] = await Promise.all([1, 1, 2].map((seed) => visits(source(seed), 300)));
    expect(again).toEqual(first);
    expect(other?.map(({ rank }) => rank.candidates)).not.toEqual(first?.map(({ rank }) => rank.candidates));
  });

  it('answers the same ranking with the same clicks, whatever was ranked before', async () => {
    const [one, two] = [source(1), source(1)];
    const [before, after] = [await visits(one, 300), await visits(two, 300)];
    for (const visit of before.slice(0, 100)) clicks(one, visit, idsOf(visit).reverse());
    expect(before.map((visit) => clicks(one, visit, idsOf(visit)))).toEqual(
      after.map((visit) => clicks(two, visit, idsOf(visit))),
    );
  });

  it('clicks more on a better ranking: what is relevant, then what is known, then the order of time', async () => {
    const feed = source(3);
    const world = createFeedWorld({ seed: 3, ...WORLD });
    const earned = { relevance: 0, affinity: 0, newest: 0 };
    for (const visit of await visits(feed, 4_000)) {
      const relevance = new Map(
        [...visit.articles].map(([id, article]) => [
          id,
          world.relevance({ user: visit.user, article, atMs: visit.eventTimeMs }),
        ]),
      );
      const affinity = new Map(
        visit.rank.candidates.map(({ id, features }) => [id, Number(features['topic_affinity'])]),
      );
      const best = (by: Map<string, number>): Ids => idsOf(visit).sort((a, b) => (by.get(b) ?? 0) - (by.get(a) ?? 0));
      earned.relevance += clicks(feed, visit, best(relevance).slice(0, 5)).length;
      earned.affinity += clicks(feed, visit, best(affinity).slice(0, 5)).length;
      earned.newest += clicks(feed, visit, idsOf(visit).slice(0, 5)).length;
    }
    expect(earned.affinity).toBeGreaterThan(1.15 * earned.newest);
    expect(earned.relevance).toBeGreaterThan(1.4 * earned.affinity);
  });

  it('looks less at what stands lower', async () => {
    const feed = source(4);
    const byPlace = [0, 0, 0, 0, 0];
    for (const visit of await visits(feed, 3_000)) {
      const [item = ''] = idsOf(visit);
      for (const place of byPlace.keys()) {
        const shown = Array.from({ length: 5 }, (_, index) => (index === place ? item : `absent-${index}`));
        byPlace[place] = (byPlace[place] ?? 0) + clicks(feed, visit, shown).length;
      }
    }
    expect([...byPlace].sort((a, b) => b - a)).toEqual(byPlace);
    expect(byPlace[0]).toBeGreaterThan(1.8 * (byPlace[4] ?? 0));
  });

  it('has the rhythm of a day, and sends no request before its time', async () => {
    const feed = source(5);
    const planned = await visits(feed, 4_000);
    const inHour = (hour: number): number =>
      planned.filter(({ eventTimeMs }) => new Date(eventTimeMs).getUTCHours() === hour).length;
    expect(inHour(19)).toBeGreaterThan(2.5 * inHour(4));
    const times = planned.map(({ eventTimeMs }) => eventTimeMs);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
    expect(times[0]).toBeGreaterThanOrEqual(FEED_START_MS);
  });

  it('has articles that live for hours and tastes that drift', () => {
    const world = createFeedWorld({ seed: 6, ...WORLD });
    const today = world.articlesAlive(FEED_START_MS);
    const tomorrow = new Set(world.articlesAlive(FEED_START_MS + 2 * DAY_MS).map(({ id }) => id));
    expect(today.length).toBeGreaterThan(100);
    expect(today.filter(({ id }) => tomorrow.has(id))).toEqual([]);
    expect(Math.min(...today.map(({ publishedMs }) => publishedMs))).toBeGreaterThan(FEED_START_MS - 37 * HOUR_MS);

    // The same user and article, seen at the same age: only the taste can have changed.
    const [article] = today;
    if (article === undefined) throw new Error('no article');
    const changes = Array.from({ length: 100 }, (_, user) => {
      const [now, later] = [0, 2 * DAY_MS].map((shift) =>
        world.relevance({
          user,
          article: { ...article, publishedMs: FEED_START_MS + shift },
          atMs: FEED_START_MS + shift,
        }),
      );
      return Math.abs((later ?? 0) - (now ?? 0));
    });
    expect(changes.filter((change) => change > 0.02).length).toBeGreaterThan(50);
  });

  it('tells how long was read on lines that are labelled by it', async () => {
    const feed = source(7, 'dwell');
    const planned = await visits(feed, 200);
    const reactions = planned.flatMap((visit) =>
      feed.react(visit, { version: 1, arm: 'stable', items: idsOf(visit).map((id) => ({ id, impressionId: id })) }),
    );
    const dwells = reactions.filter(({ event }) => event === 'dwell');
    expect(dwells).toHaveLength(reactions.length / 2);
    expect(dwells.every(({ value, delayMs }) => value === Math.round(delayMs) && delayMs > 0)).toBe(true);
  });

  it('refuses a line that needs what it does not have', async () => {
    const strange = lineOver({ features: [{ kind: 'categorical', name: 'weather', from: 'context' }] });
    await expect(
      createFeed({ config: strange, seed: 1, gatewayUrl: 'http://127.0.0.1:1', dayMs: 1_000 }),
    ).rejects.toThrow(
      /feature "weather" of the line "replayed" needs the field "weather" of the context: the simulated feed has hour_of_day there/,
    );
  });
});

describe('the simulated feed on a gateway', () => {
  let gateway: StandInGateway;
  let folder: string;
  beforeEach(async () => {
    gateway = await startStandInGateway();
    folder = await mkdtemp(join(tmpdir(), 'freshet-feed-'));
  });
  afterEach(async () => {
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('asks for a slate, clicks, and writes what is known only afterwards to a table', async () => {
    const clock = { nowMs: 0 };
    const outcomesFolder = join(folder, 'outcomes');
    const feed = await createFeed({
      config,
      seed: 8,
      gatewayUrl: gateway.url,
      dayMs: DAY_MS,
      now: () => clock.nowMs,
      outcomesFolder,
      ...WORLD,
    });
    await feed.start();
    clock.nowMs = HOUR_MS;
    await vi.waitFor(() => {
      expect(gateway.ranked.length).toBeGreaterThan(50);
      expect(feed.stats()).toMatchObject({ lagMs: 0, inFlight: 0 });
    }, 20_000);
    clock.nowMs = HOUR_MS + 1;
    const stats = await feed.stop();

    const [request] = gateway.ranked;
    expect(request).toMatchObject({ line: 'simulated-feed', limit: 5 });
    expect(request?.candidates.length).toBeGreaterThanOrEqual(20);
    expect(Object.keys(request?.candidates[0]?.features ?? {})).toEqual(
      expect.arrayContaining(['article_id', 'topic', 'author_id', 'age_hours', 'clicks_so_far', 'topic_affinity']),
    );
    expect(request?.candidates[0]?.features).not.toHaveProperty('read_ratio');
    expect(stats).toMatchObject({ failed: 0, impressions: 5 * gateway.ranked.length });
    expect(stats.clicks).toBeGreaterThan(0);
    expect(stats.source['outcomeRows']).toBe(stats.impressions);

    expect((await readdir(outcomesFolder)).every((name) => name.endsWith('.parquet'))).toBe(true);
    const [[rows, users, separation] = []] = await runSql(
      `select count(*)::int, count(distinct user_id)::int, avg(read_ratio) filter (clicked = 1) - avg(read_ratio) filter (clicked = 0)
       from '${outcomesFolder}/*.parquet' where event_time_ms between ${FEED_START_MS} and ${FEED_START_MS + HOUR_MS}`,
    );
    expect(rows).toBe(stats.impressions);
    expect(users).toBe(new Set(gateway.ranked.map(({ userId }) => userId)).size);
    expect(separation).toBeGreaterThan(0.3);
  });
});
