import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import { DataError } from '../../data/data-error.ts';
import { openDuckDb, sqlText } from '../../data/duckdb.ts';
import { Feed, feedConfig, HOUR, impression, MINUTE, START } from './feed.ts';

describe('a joined feature', () => {
  const joined = (path: string, column = 'ratio', userId = 'user') => ({
    kind: 'numeric' as const,
    name: 'ratio',
    joined: { path, column, on: { userId, itemId: 'item', eventTimeMs: 'at' }, parity: 'unverified' as const },
  });
  type Joined = Extract<LineConfigInput['features'][number], { kind: 'numeric' }>;
  const withJoined = (feature: Joined) => feedConfig({ features: [{ kind: 'categorical', name: 'topic' }, feature] });

  async function table(feed: Feed, rows: string): Promise<string> {
    const path = join(feed.root, '..', 'ratios.parquet');
    const db = await openDuckDb();
    await db.run(
      `COPY (SELECT * FROM (VALUES ${rows}) AS t("user", item, "at", ratio)) TO ${sqlText(path)} (FORMAT parquet)`,
    );
    db.close();
    return path;
  }

  test('trains from its table, point in time, and the served value shows what was missing', async () => {
    const feed = await Feed.open();
    const shown = [1, 2, 3].map((n) => impression(n, { features: { topic: '1', ...(n === 1 ? { ratio: 0.1 } : {}) } }));
    await feed.write(shown);
    const at = (n: number): string => String(START + n * MINUTE);
    const path = await table(
      feed,
      `('user-1', 'item-1', ${at(1)}, 0.5), ('user-2', 'item-2', ${at(2)}, 0.75), ('user-2', 'item-2', ${at(2)}, 0.75), ('user-3', 'item-3', ${at(4)}, 0.9)`,
    );

    const { manifest } = await feed.snapshot({
      config: withJoined(joined('{log}')),
      tables: { log: path },
      eventNowMs: START + 2 * HOUR,
    });

    const rows = [...(await feed.rows(manifest, 'train')), ...(await feed.rows(manifest, 'holdout'))];
    expect(rows.map(({ ratio }) => ratio)).toEqual([0.5, 0.75, null]);
    const profile = manifest.features.find(({ name }) => name === 'ratio');
    expect(profile?.joined).toBe(true);
    expect(profile?.missingTrained).toBeCloseTo(1 / 3);
    expect(profile?.missingServed).toBeCloseTo(2 / 3);
  });

  test('with knownAt trains from the newest value known strictly before the impression', async () => {
    const feed = await Feed.open();
    await feed.write([impression(1), impression(2), impression(3, { userId: 'user-1' })]);
    const at = (n: number, ms = 0): string => String(START + n * MINUTE + ms);
    const path = await table(
      feed,
      `('user-1', 'item-1', ${at(0)}, 0.1), ('user-1', 'item-1', ${at(1, -1)}, 0.3), ('user-1', 'item-1', ${at(1, -1)}, 0.2),
       ('user-1', 'item-1', ${at(1)}, 0.9), ('user-1', 'item-9', ${at(2)}, 0.5), ('user-2', 'item-2', ${at(2)}, 0.8)`,
    );
    const ratios = async (on: { userId?: string; itemId?: string }): Promise<unknown[]> => {
      const base = joined(path);
      const config = withJoined({ ...base, joined: { ...base.joined, on, knownAt: 'at' } });
      const { manifest } = await feed.snapshot({ config, eventNowMs: START + 2 * HOUR });
      const rows = [...(await feed.rows(manifest, 'train')), ...(await feed.rows(manifest, 'holdout'))];
      return rows.map(({ ratio }) => (typeof ratio === 'number' ? Math.fround(ratio) : ratio));
    };

    // The first was known a moment before, what became known in its very moment was not; the second was known too late.
    expect(await ratios({ userId: 'user', itemId: 'item' })).toEqual([Math.fround(0.2), null, null]);
    expect(await ratios({ userId: 'user' })).toEqual([Math.fround(0.2), null, 0.5]);
  });

  test('without knownAt needs the whole key', () => {
    const base = joined('x.parquet');
    const feature = { ...base, joined: { ...base.joined, on: { userId: 'user' } } };
    expect(() => withJoined(feature)).toThrow(/needs userId, itemId and eventTimeMs/);
  });

  test.each([
    {
      what: 'a column that is missing',
      feature: joined('{log}', 'ration'),
      says: /no column "ration"; it has user, item, at, ratio/,
    },
    { what: 'a key that is missing', feature: joined('{log}', 'ratio', 'uid'), says: /no column "uid"/ },
    {
      what: 'a column that is no number',
      feature: joined('{log}', 'item'),
      says: /column "item" of .* is VARCHAR, expected a number/,
    },
    {
      what: 'a file that is not there',
      feature: joined('nowhere/ratios.parquet'),
      says: /can not be read from nowhere\/ratios.parquet/,
    },
    { what: 'a file that is no Parquet', feature: joined('package.json'), says: /expected a Parquet file/ },
  ])('from $what is refused with what to look at', async ({ feature, says }) => {
    const feed = await Feed.open();
    const path = await table(feed, `('user-1', 'item-1', ${String(START)}, 0.5)`);
    const taken = feed.snapshot({ config: withJoined(feature), tables: { log: path } });
    await expect(taken).rejects.toThrow(DataError);
    await expect(taken).rejects.toThrow(says);
  });

  test('that the config has dropped holds nothing up when its table is gone: it has what was served', async () => {
    const feed = await Feed.open();
    await feed.write(
      [1, 2].map((n) => impression(n, { features: { topic: '1', ...(n === 1 ? { ratio: 0.5 } : {}) } })),
    );
    const { manifest } = await feed.snapshot({
      config: withJoined(joined('nowhere/ratios.parquet')),
      dropped: ['ratio'],
      eventNowMs: START + 2 * HOUR,
    });
    const rows = [...(await feed.rows(manifest, 'train')), ...(await feed.rows(manifest, 'holdout'))];
    expect(rows.map(({ ratio }) => ratio)).toEqual([0.5, null]);
  });

  test('of the replayed log is refused where no log is replayed', async () => {
    const feed = await Feed.open();
    await expect(feed.snapshot({ config: withJoined(joined('{log}')) })).rejects.toThrow(/no log is being replayed/);
  });
});
