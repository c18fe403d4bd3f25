import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { lineConfigSchema, type LineConfigInput } from '../../../config/schema.ts';
import { DataError } from '../../../data/data-error.ts';
import type { DataSource } from '../../../data/sources/data-source.ts';
import { sourceOf } from '../../../data/sources/index.ts';
import { loadFeatureHash } from '../../../features/feature-id.ts';
import { featuresOf, HOUR, loaded, START } from './loaded.ts';

type PostgresInput = Extract<NonNullable<LineConfigInput['source']>, { kind: 'postgres' }>;

const url = inject('databaseUrl');
const schema = `source_${randomUUID().slice(0, 8)}`;
const admin = new pg.Pool({ connectionString: url, max: 2 });

const features = featuresOf([
  { kind: 'categorical', name: 'topic' },
  { kind: 'categorical', name: 'paid' },
  { kind: 'categorical', name: 'rate' },
  { kind: 'numeric', name: 'length' },
]);
const range = { line: 'feed', fromMs: START, toMs: START + 6 * HOUR };
const columns = { user: 'u', item: 'i', time: 'shown_at', arrivedAt: 'seen_at', label: 'clicked' };
const query = `select * from ${schema}.shown -- of the range
  where extract(epoch from shown_at) * 1000 >= :from_ms and extract(epoch from shown_at) * 1000 < :to_ms::bigint;`;

beforeAll(async () => {
  await admin.query(`
    create schema ${schema};
    create table ${schema}.shown (u text, i int8, shown_at timestamptz, seen_at timestamp, clicked bool, topic text,
      paid bool, rate numeric(9, 2), length float8, tags int[]);
    insert into ${schema}.shown
      select 'u' || n, 9007199254740993 + n, to_timestamp(${String(START / 1000)}) + n * interval '1 minute',
        to_timestamp(${String(START / 1000)}) at time zone 'Europe/Copenhagen' + n * interval '2 minutes', n % 2 = 1,
        case n when 2 then null else 'news' end, n % 2 = 0, 5.00, case n when 2 then 'NaN' else n * 1.5 end, array[n]
      from generate_series(0, 4999) as n;
    create table ${schema}.clicks (r text, i int8, happened_at int8);`);
});
afterAll(async () => {
  await admin.query(`drop schema ${schema} cascade`);
  await admin.end();
});

function source(input: Partial<PostgresInput> = {}, address = url): DataSource {
  const config = lineConfigSchema.parse({
    line: 'feed',
    features: [{ kind: 'numeric', name: 'x' }],
    source: { kind: 'postgres', urlFrom: 'SOURCE_URL', query, columns, timeZone: 'Europe/Copenhagen', ...input },
  });
  return sourceOf(config, { logRoot: '', processEnv: { SOURCE_URL: address } });
}

describe('a query on Postgres', () => {
  test('gives its rows as impressions, counted by Postgres too', async () => {
    const { reading, rows, feedback } = await loaded(source(), { range, features });

    const hash = await loadFeatureHash();
    expect(reading).toMatchObject({ kind: 'postgres', rows: 360 });
    expect(rows).toHaveLength(360);
    expect(rows[3]).toMatchObject({
      line: 'feed',
      user_id: 'u3',
      item_id: '9007199254740996',
      event_time_ms: START + 180_000,
      arrived_at_ms: START + 360_000,
      features: { topic: String(hash('news')), paid: String(hash(false)), rate: String(hash(5)), length: '4.5' },
    });
    expect(rows[2]?.features).toMatchObject({ topic: '0', paid: String(hash(true)), length: null });
    expect(feedback).toHaveLength(180);
    expect(reading.columns).toContainEqual({ name: 'shown_at', type: 'TIMESTAMP WITH TIME ZONE' });
    expect(reading.columns).toContainEqual({ name: 'tags', type: 'VARCHAR[]' });
    const { username, host, pathname } = new URL(url);
    expect(reading.location).toBe(`postgres://${username}@${host}${pathname}`);
  });

  test('is read in one state, whatever is written meanwhile', async () => {
    const holder = await admin.connect();
    await holder.query('select pg_advisory_lock(4242)');
    const waits = `select s.* from ${schema}.shown as s, pg_advisory_xact_lock_shared(4242) where :from_ms < :to_ms`;
    const reading = loaded(source({ query: waits }), { range, features });
    const waiting = `select 1 from pg_locks where locktype = 'advisory' and objid = 4242 and not granted`;
    await expect.poll(async () => (await admin.query(waiting)).rowCount, { timeout: 20_000 }).toBe(1);
    await admin.query(`insert into ${schema}.shown (u) values ('meanwhile')`);
    await holder.query('select pg_advisory_unlock(4242)');
    holder.release();
    const { reading: read, rows } = await reading;
    await admin.query(`delete from ${schema}.shown where u = 'meanwhile'`);
    expect([read.rows, rows.length]).toEqual([5000, 5000]);
  });

  test('takes labels from a query of their own', async () => {
    await admin.query(`insert into ${schema}.clicks values ('u1', 9007199254740994, ${String(START + HOUR)})`);
    const { user, item, time } = { ...columns, item: 'i', time: 'shown_at' };
    const { rows, feedback } = await loaded(
      source({
        columns: { user, item, time, requestId: 'u' },
        feedback: {
          query: `select * from ${schema}.clicks`,
          columns: { requestId: 'r', item: 'i', time: 'happened_at' },
        },
      }),
      { range, features },
    );
    expect(feedback).toEqual([
      expect.objectContaining({ impression_id: rows[1]?.impression_id, event: 'click', arrived_at_ms: START + HOUR }),
    ]);
  });

  test('without rows is empty', async () => {
    const { reading, rows } = await loaded(source({ query: `${query.replace(/;$/, '')} and false` }), {
      range,
      features,
    });
    expect([reading.rows, rows.length]).toEqual([0, 0]);
  });

  test.each([
    {
      what: 'bad SQL',
      query: 'selct 1',
      says: /refuses the query .*syntax error at or near "selct".*Correct source\.query/,
    },
    { what: 'a table that is missing', query: 'select * from nowhere', says: /relation "nowhere" does not exist/ },
    { what: 'two statements', query: `select 1; drop schema ${schema} cascade`, says: /multiple commands/ },
    {
      what: 'a statement that writes',
      query: `with gone as (delete from ${schema}.shown returning *) select * from gone`,
      says: /Postgres refuses|wants to write/,
    },
    {
      what: 'a column that is missing',
      columns: { ...columns, user: 'uid' },
      says: /no column "uid" \(source\.columns\.user\); it has u, i, shown_at/,
    },
    {
      what: 'a time that is no time',
      columns: { ...columns, time: 'topic' },
      says: /"topic" \(source\.columns\.time\) .* in none of 360 rows/,
    },
    {
      what: 'an id that is a list',
      columns: { ...columns, item: 'tags' },
      says: /"tags" \(source\.columns\.item\) .* expected text, numbers or booleans/,
    },
  ])('is refused for $what, with what to do', async ({ what: _, says, ...input }) => {
    const taken = loaded(source(input), { range, features });
    await expect(taken).rejects.toThrow(DataError);
    await expect(taken).rejects.toThrow(says);
    const { rows } = await admin.query<{ n: string }>(`select count(*) as n from ${schema}.shown`);
    expect(rows[0]?.n).toBe('5000');
  });

  test('stops at the timeout and says what to do', async () => {
    const slow = source({ query: `select s.* from ${schema}.shown as s, pg_sleep(5)`, timeout: '200ms' });
    await expect(loaded(slow, { range, features })).rejects.toThrow(/took longer than source\.timeout/);
  });

  test.each([
    {
      what: 'no server',
      address: 'postgres://reader:hunter2@127.0.0.1:9/feed',
      says: /postgres:\/\/reader@127\.0\.0\.1:9\/feed can not be reached now: .*ECONNREFUSED/,
    },
    {
      what: 'a wrong password',
      address: url.replace(/:[^:@/]*@/, ':hunter2@'),
      says: /refused the connection: .*password authentication failed.*Correct the address in SOURCE_URL/,
    },
    {
      what: 'a slash that is not encoded',
      address: 'postgres://reader:12/hunter2@127.0.0.1:9/feed',
      says: /SOURCE_URL is not a Postgres address.*percent-encoded/,
    },
    { what: 'no address', address: 'hunter2', says: /SOURCE_URL is not a Postgres address/ },
    { what: 'nothing', address: '', says: /SOURCE_URL .* is not set/ },
  ])('names what is wrong with the address ($what) and never the password', async ({ address, says }) => {
    const failure = await loaded(source({}, address), { range, features }).catch((error: unknown) => error);
    expect((failure as Error).message).toMatch(says);
    expect((failure as Error).message).not.toContain('hunter2');
  });
});
