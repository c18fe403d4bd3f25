import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeHealthSums, type HealthSumRow } from '../../store/health-sums.ts';
import { NO_TRAFFIC } from '../../policy/health.ts';
import { setEventClock } from '../../store/event-clock.ts';
import { applyLine } from '../../store/lines.ts';
import { healthSumsInUse, pruneHealthSums } from '../../store/prune-health-sums.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { claim, LINE, lineConfig } from './stage.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await applyLine(test.db, { config: lineConfig(), who: 'test' });
});
afterEach(() => test.drop());

function row(bucketAtMs: number, change: Partial<HealthSumRow> = {}): HealthSumRow {
  return {
    ...NO_TRAFFIC,
    ...{ line: LINE, processId: 'gateway-1', boot: 'b', bucketAtMs, version: 1, arm: 'stable', epoch: 1 },
    ...{ latencyBuckets: [], scoreDifferenceSum: 0, stableLatencyMsSum: 0, dropped: 0 },
    ...change,
  };
}

/** Ages of the buckets that are left, in whole days, oldest first. */
async function agesLeft(): Promise<number[]> {
  const { rows } = await test.db.query<{ age: number }>(
    `select round(extract(epoch from now() - bucket_at) / 86400)::int as age from health_sums order by bucket_at`,
  );
  return rows.map(({ age }) => age);
}

/** Buckets of so many days ago, and when the stable became it. */
async function stage(ages: readonly number[], { stableForDays }: { stableForDays: number }): Promise<void> {
  await writeHealthSums(
    test.db,
    ages.map((age) => row(Date.now() - age * DAY_MS)),
  );
  await test.db.query('alter table routes disable trigger routes_are_kept');
  await test.db.query(`update routes set at = now() - make_interval(secs => $1::float8)`, [
    (stableForDays * DAY_MS) / 1_000,
  ]);
}

it('removes what nothing reads, and keeps a week of history, what labels wait for, and a margin', async () => {
  await stage([0, 1, 7, 7.8, 9, 20, 40], { stableForDays: 2 });
  const { removed, problems } = await pruneHealthSums(test.db);
  expect(problems).toEqual([]);
  expect(await agesLeft()).toEqual([8, 7, 1, 0]);
  expect(removed).toBe(3);
  expect(await pruneHealthSums(test.db)).toEqual({ removed: 0, problems: [] });
});

it('keeps the first hours of a stable for as long as it serves', async () => {
  await stage([0, 20, 39, 40, 41], { stableForDays: 40.01 });
  await pruneHealthSums(test.db);
  // `first` ends a day after the reference, so that both days around its beginning stay.
  expect(await agesLeft()).toEqual([40, 39, 0]);
});

it('keeps what the history of an open cycle is read from', async () => {
  await stage([9, 20, 22, 24, 30], { stableForDays: 2 });
  await claim(test.db, 'c1');
  await test.db.query(`update cycles set started_at = now() - interval '15 days'`);
  await pruneHealthSums(test.db);
  expect(await agesLeft()).toEqual([22, 20, 9]);
});

it('keeps more where a line looks further back', async () => {
  const { health } = lineConfig();
  const sequential = { ...health.sequential, history: 20 * DAY_MS };
  await applyLine(test.db, { config: lineConfig({ health: { ...health, sequential } }), who: 'test' });
  await stage([12, 20, 40], { stableForDays: 2 });
  await pruneHealthSums(test.db);
  expect(await agesLeft()).toEqual([20, 12]);
});

it('counts labels in event time: a replay at a speed of 24 needs a day of operating time where a live line needs as many weeks', async () => {
  const { db } = test;
  const back = async (): Promise<number> => {
    const health = { ...lineConfig().health };
    const config = lineConfig({ health: { ...health, sequential: { ...health.sequential, history: 0 } } });
    return Math.round((Date.now() - (await healthSumsInUse(db, config)).fromMs) / DAY_MS);
  };
  const live = await back();
  await setEventClock(db, { line: LINE, eventMs: 0, rate: 24 });
  expect(live).toBeGreaterThanOrEqual(8);
  expect(await back()).toBeLessThanOrEqual(2);
});

it('works in batches, ends when told to, and passes over rows that another process removes', async () => {
  await stage(
    Array.from({ length: 25 }, (_, index) => 30 + index / 100),
    { stableForDays: 2 },
  );
  const stopped = new AbortController();
  stopped.abort();
  expect(await pruneHealthSums(test.db, { signal: stopped.signal })).toMatchObject({ removed: 0 });

  const other = await test.db.connect();
  try {
    await other.query('begin');
    await other.query('select from health_sums order by bucket_at limit 5 for update');
    expect(await pruneHealthSums(test.db, { batch: 4 })).toMatchObject({ removed: 20 });
  } finally {
    await other.query('rollback');
    other.release();
  }
  expect(await pruneHealthSums(test.db)).toMatchObject({ removed: 5 });
});

it('prunes the other lines when the config of one can not be read', async () => {
  const { db } = test;
  await applyLine(db, { config: { ...lineConfig(), line: 'broken' }, who: 'test' });
  await stage([40], { stableForDays: 2 });
  await writeHealthSums(db, [row(Date.now() - 40 * DAY_MS, { line: 'broken' })]);
  await db.query(`update lines set config = '{}' where line = 'broken'`);
  const { removed, problems } = await pruneHealthSums(db);
  expect(removed).toBe(1);
  expect(problems).toEqual([expect.stringContaining('apply its config again')]);
});
