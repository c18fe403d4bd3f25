import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadLineConfig } from '../../config/load.ts';
import type { LineConfig } from '../../config/schema.ts';
import { openLog, type LoggedRequest, type LogReader } from '../../simulator/log-reader.ts';
import { HOUR_MS, lineOver, NOON_MS, runSql, writeLog } from './log-files.ts';

const KUAIRAND = join(import.meta.dirname, '../../../shared/data/kuairand');

let folder: string;
const opened: LogReader[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-log-'));
});
afterEach(async () => {
  for (const log of opened.splice(0)) log.close();
  await rm(folder, { recursive: true, force: true });
});

async function open(path: string, config: LineConfig = lineOver()): Promise<LogReader> {
  const log = await openLog({ path, config });
  opened.push(log);
  return log;
}

async function readAll(path: string, config?: LineConfig): Promise<LoggedRequest[]> {
  const log = await open(path, config);
  return log.read(log.firstMs, log.lastMs + 1);
}

describe('a log', () => {
  it.each(['log.csv', 'log.parquet'])(
    'reads %s as requests by time and, within it, in the order of the file',
    async (name) => {
      const path = await writeLog(
        folder,
        [
          { user: 'late', at: NOON_MS + HOUR_MS },
          { user: 'z', at: NOON_MS },
          { user: 'a', at: NOON_MS },
        ],
        name,
      );
      const requests = await readAll(path);
      expect(requests.map(({ userId, eventTimeMs }) => [userId, eventTimeMs])).toEqual([
        ['z', NOON_MS],
        ['a', NOON_MS],
        ['late', NOON_MS + HOUR_MS],
      ]);
    },
  );

  it('makes one request of the rows with the same user and time, also when another user comes between them', async () => {
    const path = await writeLog(folder, [
      { user: 'u1', item: 'i2', clicked: 1, watchedMs: 900 },
      { user: 'u2', item: 'i1' },
      { user: 'u1', item: 'i1', clicked: 0 },
    ]);
    const [first, second] = await readAll(path);
    expect(first?.candidates.map(({ id }) => id)).toEqual(['i2', 'i1']);
    expect(first?.outcomes.get('i2')).toEqual({ clicked: true, dwellMs: 900 });
    expect(first?.outcomes.get('i1')).toEqual({ clicked: false, dwellMs: null });
    expect(second?.userId).toBe('u2');
  });

  it('keeps a repeated item once, clicked if any of its rows was, and counts the others', async () => {
    const path = await writeLog(folder, [{ item: 'i1' }, { item: 'i1', clicked: 1 }, { item: 'i2' }]);
    const [request] = await readAll(path);
    expect(request?.candidates.map(({ id }) => id)).toEqual(['i1', 'i2']);
    expect(request?.outcomes.get('i1')?.clicked).toBe(true);
    expect(request?.repeatedItems).toBe(1);
  });

  it('leaves out and counts rows without user, item, time or label', async () => {
    const path = await writeLog(folder, [{}, { user: null }, { item: null }, { at: null }, { clicked: null }]);
    const log = await open(path);
    expect(log).toMatchObject({ rows: 5, unusableRows: 4 });
    expect(await log.read(log.firstMs, log.lastMs + 1)).toHaveLength(1);
  });

  it('reads a time written as a timestamp, and a label written as a truth value', async () => {
    const path = join(folder, 'typed.parquet');
    await runSql(
      `copy (select 'u' as "user", 'i' as item, epoch_ms(${NOON_MS}) as at, true as clicked, 1 as watched_ms, 'x' as topic) to '${path}'`,
    );
    const [request] = await readAll(path);
    expect(request?.eventTimeMs).toBe(NOON_MS);
    expect(request?.outcomes.get('i')?.clicked).toBe(true);
  });

  it('takes the only Parquet file of a folder', async () => {
    const path = await writeLog(folder, [{}], 'only.parquet');
    expect((await open(folder)).path).toBe(path);
  });

  it('sends ids as text and numbers as numbers, and what is not a number as missing', async () => {
    const path = await writeLog(folder, [
      { item: 1, topic: '7' },
      { item: 2, topic: 'seven' },
    ]);
    const config = lineOver({
      features: [
        { kind: 'categorical', name: 'item' },
        { kind: 'numeric', name: 'length', field: 'topic' },
      ],
    });
    const [request] = await readAll(path, config);
    expect(request?.candidates.map(({ features }) => features)).toEqual([
      { item: '1', topic: 7 },
      { item: '2', topic: null },
    ]);
  });

  it('leaves a joined feature out: it is not known when the request is served', async () => {
    const path = await writeLog(folder, [{ watchedMs: 5 }]);
    const joined = {
      path: '{log}',
      column: 'watched_ms',
      on: { userId: 'user', itemId: 'item', eventTimeMs: 'at' },
      parity: 'unverified' as const,
    };
    const config = lineOver({
      features: [
        { kind: 'categorical', name: 'topic' },
        { kind: 'numeric', name: 'watched_ms', joined },
      ],
    });
    const [request] = await readAll(path, config);
    expect(request?.candidates[0]?.features).toEqual({ topic: 'news' });
  });
});

describe('side tables', () => {
  const tables = [
    { path: 'users.csv', key: 'id', as: 'user' as const },
    { path: 'items.csv', key: 'id', as: 'candidate' as const },
  ];
  const config = lineOver({
    features: [
      { kind: 'categorical', name: 'degree', from: 'user' },
      { kind: 'numeric', name: 'length' },
      { kind: 'categorical', name: 'topic' },
    ],
    log: { user: 'user', item: 'item', timeMs: 'at', label: 'clicked', tables },
  });

  it("add to the user and to the candidate; the log's own columns come first; who is not in them is missing", async () => {
    const path = await writeLog(folder, [
      { user: 1, item: 10, topic: 'of the moment' },
      { user: 2, item: 11 },
    ]);
    await writeFile(join(folder, 'users.csv'), 'id,degree\n1,high\n');
    await writeFile(join(folder, 'items.csv'), 'id,length,topic\n10,2.5,of the table\n');
    const [first, second] = await readAll(path, config);
    expect(first?.user).toEqual({ degree: 'high' });
    expect(first?.candidates[0]?.features).toEqual({ length: 2.5, topic: 'of the moment' });
    expect(second?.user).toEqual({ degree: null });
    expect(second?.candidates[0]?.features).toEqual({ length: null, topic: 'news' });
  });

  it('must be there, have their key, and have it once', async () => {
    const path = await writeLog(folder, [{}]);
    await writeFile(join(folder, 'users.csv'), 'id,degree\n1,high\n');
    await expect(open(path, config)).rejects.toThrow(
      /items\.csv \(log\.tables\.1\) does not exist: paths are relative to the log's folder/,
    );
    await writeFile(join(folder, 'items.csv'), 'item_id,length\n10,2.5\n');
    await expect(open(path, config)).rejects.toThrow(/items\.csv lacks its key column "id"; it has: item_id, length/);
    await writeFile(join(folder, 'items.csv'), 'id,length\n10,2.5\n10,3\n');
    await expect(open(path, config)).rejects.toThrow(/several rows for id = 10: a side table must have one row a key/);
  });
});

describe('a log that can not be replayed', () => {
  it('says that it does not exist', async () => {
    await expect(open(join(folder, 'none.parquet'))).rejects.toThrow(
      /none\.parquet does not exist: expected a Parquet/,
    );
  });

  it('says that it can not be read, and why', async () => {
    const broken = join(folder, 'broken.parquet');
    await writeFile(broken, 'this is not Parquet');
    await expect(open(broken)).rejects.toThrow(
      /broken\.parquet can not be read \(.*magic bytes.*\): expected a Parquet/i,
    );
    const foreign = join(folder, 'log.xlsx');
    await writeFile(foreign, '');
    await expect(open(foreign)).rejects.toThrow(/log\.xlsx can not be read: expected a Parquet/);
  });

  it('names every missing column, what wants it, and the columns there are', async () => {
    const path = await writeLog(folder, [{}]);
    const config = lineOver({
      features: [
        { kind: 'categorical', name: 'author', from: 'user' },
        { kind: 'categorical', name: 'topic' },
      ],
      log: { user: 'user', item: 'video', timeMs: 'at', label: 'clicked' },
    });
    await expect(open(path, config)).rejects.toThrow(
      /lacks the columns "video" \(log\.item\), "author" \(feature "author" from the user\)\.\nThe log has: user, item, at, clicked, watched_ms, topic\./,
    );
  });

  it('says that it is empty, or has no usable row', async () => {
    await expect(open(await writeLog(folder, []))).rejects.toThrow(/is empty: it has columns, but no rows/);
    await expect(open(await writeLog(folder, [{ user: null }]))).rejects.toThrow(/has 1 rows, but none with a user/);
  });

  it('refuses labels other than 0 and 1, and times that are not milliseconds', async () => {
    await expect(open(await writeLog(folder, [{ clicked: 3 }]))).rejects.toThrow(
      /column "clicked" .* has 1 values other than 0 and 1/,
    );
    const seconds = [{ at: NOON_MS / 1_000 }];
    await expect(open(await writeLog(folder, seconds))).rejects.toThrow(
      /log\.timeMs must be Unix milliseconds \(this looks like seconds\)/,
    );
    const config = lineOver({ log: { user: 'user', item: 'item', timeMs: 'topic', label: 'clicked' } });
    await expect(open(await writeLog(folder, [{}]), config)).rejects.toThrow(
      /has the type VARCHAR: log\.timeMs must be/,
    );
  });

  it('says that the line has no mapping', async () => {
    const config = lineOver({ log: undefined });
    await expect(open(await writeLog(folder, [{}]), config)).rejects.toThrow(
      /the line "replayed" has no "log" in its config/,
    );
  });
});

describe.skipIf(!existsSync(KUAIRAND))('KuaiRand-Pure', () => {
  it('has all that its line asks for', async () => {
    const config = await loadLineConfig(join(import.meta.dirname, '../../config/kuairand.yaml'));
    const log = await open(KUAIRAND, config);
    expect(log).toMatchObject({ rows: 94_784, unusableRows: 0 });
    const [request] = await log.read(log.firstMs, log.firstMs + 1);
    expect(request?.user).toEqual({ user_id: '712', user_active_degree: expect.any(String) as string });
    expect(Object.keys(request?.candidates[0]?.features ?? {})).toEqual(
      expect.arrayContaining(['video_id', 'author_id', 'tag', 'upload_type', 'duration_ms', 'freshness_days']),
    );
  });
});
