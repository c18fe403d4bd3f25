import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DataError } from '../../../data/data-error.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';
import { columns, features, lake, range, rowsSql, write, type LakeInput } from './lake.ts';
import { featuresOf, HOUR, loaded, START, temporaryFolder } from './loaded.ts';

describe('a lake', () => {
  test.each([
    { format: 'parquet' as const, options: 'FORMAT parquet', name: 'rows.parquet' },
    { format: 'csv' as const, options: 'FORMAT csv, HEADER', name: 'rows.csv' },
    { format: 'csv' as const, options: 'FORMAT csv, HEADER, COMPRESSION gzip', name: 'rows.csv.gz' },
  ])('gives the rows of $name as impressions, and their labels as feedback', async ({ format, options, name }) => {
    const path = await write(join(await temporaryFolder(), name), rowsSql(4), options);

    const { reading, rows, feedback } = await loaded(lake({ path, format }), { range, features });

    expect(reading).toMatchObject({ kind: 'lake', location: path, rows: 4 });
    expect(reading.columns.map((column) => column.name)).toEqual(['clicked', 'i', 'length', 't', 'topic', 'u']);
    const hash = await loadFeatureHash();
    expect(rows[1]).toMatchObject({
      line: 'feed',
      user_id: 'u1',
      item_id: '101',
      event_time_ms: START + 60_000,
      arrived_at_ms: START + 60_000,
      request_id: null,
      position: null,
      features: { topic: String(hash('news')), length: '1.5' },
      known_at_ms: null,
    });
    expect(new Set(rows.map(({ impression_id }) => impression_id)).size).toBe(4);
    expect(feedback).toEqual([
      expect.objectContaining({ impression_id: rows[1]?.impression_id, event: 'click', event_time_ms: START + 60_000 }),
      expect.objectContaining({ impression_id: rows[3]?.impression_id, event: 'click' }),
    ]);
  });

  test('maps every column it is told of, and makes the same ids at each reading', async () => {
    const more = `, 'req' || n AS r, n AS p, 0.5 AS s, 7 AS v, 'canary' AS a, 0.01 AS pr, ${String(START)} + n * 60000 + 90000 AS arr, ${String(START)} + 3600000 + n AS known, n * 1000 AS dwell`;
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), rowsSql(2, { more }));
    const mapped = {
      ...columns,
      requestId: 'r',
      position: 'p',
      score: 's',
      version: 'v',
      arm: 'a',
      propensity: 'pr',
      arrivedAt: 'arr',
      labelAt: 'known',
      dwellMs: 'dwell',
    };
    const source = lake({ path, columns: mapped });

    const { rows, feedback } = await loaded(source, { range, features });

    expect(rows[1]).toMatchObject({
      request_id: 'req1',
      position: 1,
      score: 0.5,
      version: 7,
      arm: 'canary',
      propensity: 0.01,
      arrived_at_ms: START + 150_000,
    });
    expect(feedback).toEqual([
      expect.objectContaining({ event: 'click', value: null, arrived_at_ms: START + HOUR + 1 }),
      expect.objectContaining({ event: 'dwell', value: 1000, arrived_at_ms: START + HOUR + 1 }),
    ]);
    expect((await loaded(source, { range, features })).rows).toEqual(rows);
  });

  test('knows a label never before its row could be seen, and after the stated delay', async () => {
    const more = `, ${String(START)} + 7200000 AS arr`;
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), rowsSql(2, { more }));
    const late = await loaded(lake({ path, columns: { ...columns, arrivedAt: 'arr' } }), { range, features });
    expect(late.feedback[0]).toMatchObject({ event_time_ms: START + 60_000, arrived_at_ms: START + 2 * HOUR });
    const delayed = await loaded(lake({ path, labelDelay: '30m' }), { range, features });
    expect(delayed.feedback[0]).toMatchObject({
      event_time_ms: START + 31 * 60_000,
      arrived_at_ms: START + 31 * 60_000,
    });
  });

  test('reads only the partitions near the range, and counts only these', async () => {
    const root = await temporaryFolder();
    for (const day of [1, 4, 5, 6, 9]) {
      const from = Date.UTC(2026, 0, day, 3);
      await write(join(root, `dt=2026-01-0${String(day)}/hour=03/part.parquet`), rowsSql(2, { from }));
    }
    await write(join(root, 'dt=2026-01-05/_temporary/part.parquet'), rowsSql(2));
    const path = join(root, '**/*.parquet');
    const days = async (input: Partial<LakeInput>) => {
      const { reading, rows } = await loaded(lake({ path, ...input }), { range, features });
      expect(reading.rows).toBe(rows.length);
      return [...new Set(rows.map(({ event_time_ms }) => new Date(event_time_ms ?? 0).getUTCDate()))];
    };

    expect(await days({})).toEqual([5, 6]);
    expect(await days({ partitions: { margin: '0h' } })).toEqual([5]);
    expect(await days({ partitions: { day: 'day' } })).toEqual([5, 6, 9]);
  });

  test('leaves out rows of before the range and keeps what is dated or arrives after it', async () => {
    const from = START - HOUR;
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), rowsSql(600, { from }));
    const { reading, rows } = await loaded(lake({ path }), { range, features });
    expect(rows).toHaveLength(540);
    expect(reading.rows).toBe(540);
    expect(Math.max(...rows.map(({ event_time_ms }) => event_time_ms ?? 0))).toBeGreaterThan(range.toMs);
  });

  test('reads files whose columns differ, names the columns of the newest, and takes folders as columns', async () => {
    const root = await temporaryFolder();
    await write(join(root, 'dt=20260105/country=dk/a.parquet'), rowsSql(1));
    await write(
      join(root, 'dt=20260106/country=se/b.parquet'),
      `SELECT * EXCLUDE (length), 'x' AS extra FROM (${rowsSql(1, { from: START + HOUR })})`,
    );
    const source = lake({ path: join(root, '**/*.parquet') });
    const declared = [...features, ...featuresOf([{ kind: 'categorical', name: 'country' }])];
    const { reading, rows } = await loaded(source, { range, features: declared });
    const hash = await loadFeatureHash();
    expect(rows.map((row) => [row.features?.['length'], row.features?.['country']])).toEqual([
      ['0.0', String(hash('dk'))],
      [null, String(hash('se'))],
    ]);
    expect(reading.columns.map(({ name }) => name)).toEqual([
      'clicked',
      'country',
      'dt',
      'extra',
      'i',
      't',
      'topic',
      'u',
    ]);
  });

  test('gives no rows, but its columns, when no partition is near', async () => {
    const root = await temporaryFolder();
    await write(join(root, 'dt=2025-01-01/a.parquet'), rowsSql(3));
    const { reading, rows } = await loaded(lake({ path: join(root, '*/*.parquet') }), { range, features });
    expect([reading.rows, rows.length]).toEqual([0, 0]);
    expect(reading.columns.map(({ name }) => name)).toContain('topic');
  });

  const NOON = Date.UTC(2026, 0, 5, 12);
  test.each([
    { what: 'ms', time: String(NOON), timeUnit: 'ms' as const },
    { what: 's', time: String(NOON / 1000), timeUnit: 's' as const },
    { what: 's with a fraction', time: `${String(NOON / 1000)}.25`, timeUnit: 's' as const, expected: NOON + 250 },
    { what: 'us', time: `${String(NOON)}999`, timeUnit: 'us' as const },
    { what: 'a timestamp', time: `TIMESTAMP '2026-01-05 12:00:00'` },
    { what: 'a timestamp of nanoseconds', time: `TIMESTAMP_NS '2026-01-05 12:00:00'` },
    { what: 'a timestamp with its zone', time: `TIMESTAMPTZ '2026-01-05 14:00:00+02'`, timeZone: 'Asia/Tokyo' },
    { what: 'a local timestamp', time: `TIMESTAMP '2026-01-05 13:00:00'`, timeZone: 'Europe/Copenhagen' },
    { what: 'text', time: `'2026-01-05 13:00:00'`, timeUnit: 'timestamp' as const, timeZone: 'Europe/Copenhagen' },
    { what: 'text with Z', time: `'2026-01-05T12:00:00.000Z'`, timeUnit: 'timestamp' as const, timeZone: 'Asia/Tokyo' },
    { what: 'text with an offset', time: `'2026-01-05T14:00:00+02:00'`, timeUnit: 'timestamp' as const },
  ])('reads a time that is $what', async ({ what: _, time, expected = NOON, ...times }) => {
    const root = await temporaryFolder();
    const path = await write(join(root, 'rows.parquet'), rowsSql(1, { time }));
    const parquet = await loaded(lake({ path, ...times }), { range, features });
    expect(parquet.rows[0]?.event_time_ms).toBe(expected);
  });

  test('gives a feature when it was known, for the features that say so', async () => {
    const path = await write(
      join(await temporaryFolder(), 'rows.parquet'),
      rowsSql(1, { more: `, TIMESTAMP '2026-01-05' AS seen_at` }),
    );
    const declared = featuresOf([{ kind: 'numeric', name: 'length', knownAt: 'seen_at' }]);
    const { rows } = await loaded(lake({ path }), { range, features: declared });
    expect(rows[0]?.known_at_ms).toEqual({ length: BigInt(START) });
  });

  test('takes labels from a table of their own, by impression or by request and item', async () => {
    const root = await temporaryFolder();
    const path = await write(join(root, 'rows.parquet'), rowsSql(3, { more: `, 'imp' || n AS id, 'req' AS r` }));
    const clicks = await write(
      join(root, 'clicks.parquet'),
      `SELECT * FROM (VALUES ('imp1', 'req', 101, 'click', NULL, ${String(START + HOUR)}), ('imp2', 'req', 102, 'dwell', 9000, ${String(START + HOUR)}), ('imp9', 'req', 109, 'click', NULL, ${String(START + HOUR)}), ('imp0', 'req', 100, 'share', NULL, ${String(START)})) AS t(id, r, i, what, ms, happened)`,
    );
    const base = { user: 'u', item: 'i', time: 't', requestId: 'r' };
    const read = (key: object, withId: object) =>
      loaded(
        lake({
          path,
          columns: { ...base, ...withId },
          feedback: { path: clicks, columns: { ...key, event: 'what', value: 'ms', time: 'happened' } },
        }),
        { range, features },
      );

    const byId = await read({ impressionId: 'id' }, { impressionId: 'id' });
    const byItem = await read({ requestId: 'r', item: 'i' }, {});

    for (const { rows, feedback } of [byId, byItem]) {
      const shown = new Map(rows.map(({ impression_id, item_id }) => [impression_id, item_id]));
      const found = feedback.map(({ impression_id, event, value }) => [shown.get(impression_id), event, value]);
      expect(found).toContainEqual(['101', 'click', null]);
      expect(found).toContainEqual(['102', 'dwell', 9000]);
      // One whose impression is not there, and one that is neither a click nor a dwell.
      expect(feedback.filter(({ impression_id }) => impression_id === null)).toHaveLength(1);
      expect(feedback.filter((row) => row.impression_id !== null && !shown.has(row.impression_id))).toHaveLength(1);
    }
  });
});

describe('lists of candidates', () => {
  const listed = `SELECT * FROM (VALUES
    (1, 'u1', ${String(START)}, [10, 11, 12], [11], ['a', 'b', NULL], [0.5, 1.5, 2.5]),
    (2, 'u2', ${String(START)}, [13], NULL, ['a'], [1.0]),
    (3, 'u3', ${String(START)}, [], [], [], []),
    (4, 'u4', ${String(START)}, [14, 15], [15], ['a'], [1.0, 2.0])) AS t(id, u, t, shown, clicked, topic, length)`;
  const source = (path: string) =>
    lake({ path, columns: { user: 'u', time: 't', impressionId: 'id', candidates: 'shown', clicked: 'clicked' } });

  test('become a row each, with the lists beside them by element', async () => {
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), listed);

    const { reading, rows, feedback } = await loaded(source(path), { range, features });

    const hash = await loadFeatureHash();
    expect(rows.slice(0, 4).map((row) => [row.impression_id, row.request_id, row.item_id, row.position])).toEqual([
      ['1.0', '1', '10', 0],
      ['1.1', '1', '11', 1],
      ['1.2', '1', '12', 2],
      ['2.0', '2', '13', 0],
    ]);
    expect(rows[1]?.features).toEqual({ topic: String(hash('b')), length: '1.5' });
    expect(rows[2]?.features).toEqual({ topic: '0', length: '2.5' });
    expect(feedback.map(({ impression_id }) => impression_id)).toEqual(['1.1']);
    // An empty list, and the two candidates whose topics are one.
    expect(rows.filter(({ impression_id }) => impression_id === null)).toHaveLength(3);
    expect(rows).toHaveLength(7);
    expect(reading.rows).toBe(7);
  });

  test.each([
    { what: 'a list with gaps, read as decimals', clicked: '[CAST(12 AS DOUBLE), NULL]' },
    { what: 'a single decimal', clicked: 'CAST(12 AS DOUBLE)' },
    { what: 'text', clicked: `['12']` },
  ])('find the clicked ones by their id, also in $what', async ({ clicked }) => {
    const sql = `SELECT 1 AS id, 'u1' AS u, ${String(START)} AS t, [10, 12] AS shown, ${clicked} AS clicked, ['a', 'b'] AS topic, [0.5, 1.5] AS length`;
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), sql);

    const { feedback } = await loaded(source(path), { range, features });

    expect(feedback.map(({ impression_id }) => impression_id)).toEqual(['1.1']);
  });

  test('are refused when another list never has their length, or when they are no lists', async () => {
    const root = await temporaryFolder();
    const torn = await write(join(root, 'torn.parquet'), `SELECT * FROM (${listed}) WHERE id = 4`);
    await expect(loaded(source(torn), { range, features })).rejects.toThrow(/another length than "shown" in every row/);
    const flat = await write(join(root, 'flat.parquet'), `SELECT * REPLACE (1 AS shown) FROM (${listed})`);
    await expect(loaded(source(flat), { range, features })).rejects.toThrow(/"shown" .* is INTEGER, expected a list/);
  });
});

describe('a lake that is not what the config says', () => {
  test.each([
    { what: 'no file', path: 'nothing-*.parquet', says: /no file matches .*nothing-\*\.parquet: expected/ },
    {
      what: 'a column that is missing',
      columns: { ...columns, user: 'uid', score: 'p' },
      says: /no column "uid" \(source\.columns\.user\), "p" \(source\.columns\.score\); it has u, i, t, clicked, topic, length/,
    },
    {
      what: 'a time in another unit',
      timeUnit: 's' as const,
      says: /"t" \(source\.columns\.time\) .* in none of 3 rows \(for instance "\d+"\).*source\.timeUnit/,
    },
    {
      what: 'a time that is no time',
      columns: { ...columns, time: 'topic' },
      says: /"topic" .* in none of 3 rows \(for instance "news"\)/,
    },
    {
      what: 'a label that is no label',
      columns: { ...columns, label: 'topic' },
      says: /"topic" \(source\.columns\.label\) .* expected 0 or 1/,
    },
    { what: 'another format', format: 'csv' as const, says: /rows\.parquet/ },
  ])('is refused for $what, with what to do', async ({ what: _, says, path, ...input }) => {
    const root = await temporaryFolder();
    const file = await write(join(root, 'rows.parquet'), rowsSql(3));
    const taken = loaded(lake({ path: path === undefined ? file : join(root, path), ...input }), { range, features });
    await expect(taken).rejects.toThrow(DataError);
    await expect(taken).rejects.toThrow(says);
  });

  test('gives a feature that the config has dropped as missing where its column is gone', async () => {
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), rowsSql(2));
    const gone = featuresOf([{ kind: 'numeric', name: 'gone' }]);
    const asked = { range: { ...range, dropped: ['gone'] }, features: [...features, ...gone] };

    const { rows } = await loaded(lake({ path }), asked);

    expect(rows[1]?.features).toMatchObject({ length: '1.5', gone: null });
  });

  test('names a feature without a column', async () => {
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), rowsSql(3));
    const declared = featuresOf([{ kind: 'numeric', name: 'age', field: 'age_hours' }]);
    await expect(loaded(lake({ path }), { range, features: declared })).rejects.toThrow(
      /"age_hours" \(feature "age"\)/,
    );
  });

  test('counts single rows without a user, time or label as rows that could not be read', async () => {
    const sql = `SELECT * REPLACE (CASE n WHEN 0 THEN NULL ELSE u END AS u, CASE n WHEN 1 THEN 5 ELSE t END AS t, CASE n WHEN 2 THEN 7 ELSE clicked END AS clicked) FROM (${rowsSql(5, { more: ', n' })})`;
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), sql);
    const { reading, rows } = await loaded(lake({ path }), { range, features });
    expect(rows.map(({ impression_id }) => impression_id === null)).toEqual([true, true, true, false, false]);
    expect(reading.rows).toBe(5);
  });

  test('counts a click whose time can not be read as a row that could not be read, not as no click', async () => {
    const more = `, CASE n WHEN 1 THEN ${String(START)} WHEN 3 THEN 5 END AS clicked_at`;
    const path = await write(join(await temporaryFolder(), 'rows.parquet'), rowsSql(6, { more }));
    const mapped = { ...columns, labelAt: 'clicked_at' };
    const { rows, feedback } = await loaded(lake({ path, columns: mapped }), { range, features });
    expect(rows.map(({ impression_id }) => impression_id === null)).toEqual([false, false, false, true, false, true]);
    expect(feedback).toHaveLength(1);
  });

  test('counts feedback whose arrival can not be read as feedback that could not be read', async () => {
    const root = await temporaryFolder();
    const path = await write(join(root, 'rows.parquet'), rowsSql(3, { more: `, 'imp' || n AS id` }));
    const clicks = await write(
      join(root, 'clicks.parquet'),
      `SELECT 'imp' || n AS id, ${String(START)} AS at, CASE n WHEN 0 THEN ${String(START)} END AS loaded FROM range(2) AS r(n)`,
    );
    const { feedback } = await loaded(
      lake({
        path,
        columns: { user: 'u', item: 'i', time: 't', impressionId: 'id' },
        feedback: { path: clicks, columns: { impressionId: 'id', time: 'at', arrivedAt: 'loaded' } },
      }),
      { range, features },
    );
    expect(feedback.map(({ impression_id }) => impression_id)).toEqual(['imp0', null]);
  });

  test('is tried again when a file is being written', async () => {
    const path = join(await temporaryFolder(), 'rows.parquet');
    await writeFile(path, 'PAR1 half a file');
    const taken = loaded(lake({ path }), { range, features });
    await expect(taken).rejects.toThrow(/can not be read now/);
    await expect(taken).rejects.not.toThrow(DataError);
  });

  test('needs FRESHET_DATA where its path has {data}', async () => {
    const root = await temporaryFolder();
    await write(join(root, 'rows.parquet'), rowsSql(3));
    const path = '{data}/rows.parquet';
    expect((await loaded(lake({ path }, root), { range, features })).rows).toHaveLength(3);
    await expect(loaded(lake({ path }), { range, features })).rejects.toThrow(/set FRESHET_DATA/);
  });
});
