import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, transaction, type Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { currentRoute } from '../../store/routes.ts';
import type { VersionStatus } from '../../store/types.ts';
import { listVersions } from '../../store/versions.ts';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { claim, LINE, lineConfig, lineWithStable, register } from './stage.ts';

const STATUSES = ['candidate', 'shadow', 'canary', 'stable', 'archived', 'rejected', 'rolledBack'] as const;
const ALLOWED: Record<VersionStatus, readonly VersionStatus[]> = {
  candidate: ['shadow', 'canary', 'stable', 'rejected', 'rolledBack'],
  shadow: ['candidate', 'canary', 'rejected', 'rolledBack'],
  canary: ['candidate', 'shadow', 'stable', 'rejected', 'rolledBack'],
  stable: ['archived', 'rolledBack'],
  archived: ['stable', 'rolledBack'],
  rejected: [],
  rolledBack: ['stable'],
};
/** How a version gets to a status. */
const WAY: Record<VersionStatus, readonly VersionStatus[]> = {
  candidate: [],
  shadow: ['shadow'],
  canary: ['canary'],
  stable: ['canary', 'stable'],
  archived: ['canary', 'stable', 'archived'],
  rejected: ['rejected'],
  rolledBack: ['rolledBack'],
};

describe('the status of a version', () => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await createTestDatabase();
    await lineWithStable(test.db);
    await claim(test.db, 'c');
    await register(test.db, 'c', 1);
  });
  afterAll(() => test.drop());

  const pairs = STATUSES.flatMap((from) => STATUSES.map((to) => [from, to] as const)).filter(
    ([from, to]) => from !== to,
  );
  it.each(pairs)('from %s to %s', async (from, to) => {
    const tried = attempt(test.db, [...WAY[from], to]);
    if (ALLOWED[from].includes(to)) {
      expect(await tried).toBe(to);
      return;
    }
    const allowed = [...ALLOWED[from]].sort().join(', ');
    const next = allowed === '' ? 'nowhere' : `to ${allowed}`;
    await expect(tried).rejects.toThrow(
      `version 2 of news-feed can not go from ${from} to ${to}: from ${from} it can go ${next}`,
    );
  });

  it.each(STATUSES)('%s stays as it is when it is written again', async (status) => {
    expect(await attempt(test.db, [...WAY[status], status])).toBe(status);
  });

  it.each(STATUSES)('can begin as %s, or not', async (status) => {
    const begun = undone(test.db, (client) =>
      client.query(
        `insert into versions (line, version, status, cycle_id, model_sha256) values ('news-feed', 9, $1, 'c', 'm')`,
        [status],
      ),
    );
    if (status === 'candidate' || status === 'rejected') expect((await begun).rowCount).toBe(1);
    else await expect(begun).rejects.toThrow(`version 9 of news-feed can not begin as ${status}: version 0 begins as`);
  });
});

describe('a version', () => {
  let test: TestDatabase;
  // What is tried here is refused, or leaves the line as it was.
  beforeAll(async () => {
    test = await createTestDatabase();
    await lineWithStable(test.db);
  });
  afterAll(() => test.drop());

  it.each([
    [`model_sha256 = 'other'`, 'model_sha256'],
    [`checkpoint_sha256 = 'other', parent = 1`, 'checkpoint_sha256, parent'],
    [`features = '[]'`, 'features'],
    [`training_cutoff_ms = 1`, 'training_cutoff_ms'],
    [`lineage = lineage || '{"seed": 2}'`, 'lineage'],
    [`created_at = created_at + interval '1 microsecond'`, 'created_at'],
    [`version = 7`, 'version'],
  ])('is on record for ever: %s is refused', async (change, columns) => {
    await expect(test.db.query(`update versions set ${change} where version = 1`)).rejects.toThrow(
      `version 1 of news-feed is on record for ever: its ${columns} can not change`,
    );
  });

  it('gets new metrics and keeps those it has', async () => {
    const { db } = test;
    const add = (metrics: object): Promise<unknown> =>
      db.query('update versions set metrics = $1 where version = 1', [JSON.stringify(metrics)]);
    await add({ later: { share: 0.5 } });
    await add({ later: { share: 0.5 }, more: 1 });
    await expect(add({ later: { share: 0.5, extra: 1 }, more: 1 })).rejects.toThrow(
      'new ones may be added, later can not change',
    );
    await expect(add({ more: 1 })).rejects.toThrow('later can not change');
  });

  it.each([
    'delete from versions',
    'truncate versions cascade',
    'delete from version_history',
    `update version_history set at = now()`,
  ])('stays, with its history: %s is refused', async (statement) => {
    await expect(test.db.query(statement)).rejects.toThrow(/rows of (versions|version_history) are kept for ever/);
  });

  it.each([
    ['no stable', `update versions set status = 'archived' where status = 'stable'`],
    [
      'another stable than the route has',
      `update versions set status = 'archived' where status = 'stable'; update versions set status = 'stable' where version = 0`,
    ],
    [
      'a route with another stable',
      `insert into routes (line, epoch, stable, salt, who, why) values ('news-feed', 3, 0, 's', 'w', 'w'); update route_heads set epoch = 3`,
    ],
    [
      'a line without a version',
      `insert into lines (line, config, config_hash, applied_by) values ('sports', '{}', '', '')`,
    ],
  ])('can not leave its line with %s', async (_name, statement) => {
    const before = await currentRoute(test.db, LINE);
    await expect(test.db.query(statement)).rejects.toThrow(
      /line (news-feed|sports) must have one stable version, the one of its route: the route has/,
    );
    expect(await currentRoute(test.db, LINE)).toEqual(before);
  });

  it('may leave its line without a stable for as long as a transaction lasts', async () => {
    const { db } = test;
    const epoch = await transaction(db, async (tx) => {
      await tx.query(`update versions set status = 'archived' where status = 'stable'`);
      await tx.query(`update versions set status = 'stable' where version = 1`);
      return (await currentRoute(tx, LINE)).epoch;
    });
    expect(await currentRoute(db, LINE)).toMatchObject({ epoch, stable: 1 });
  });
});

describe('the migration', () => {
  it('takes what is there into the history, and goes back', async () => {
    const { url, drop } = await createEmptyDatabase();
    const db = openDatabase(url);
    try {
      await migrateTo(url, { direction: 'up', count: 2 });
      await applyLine(db, { config: lineConfig(), who: 'test' });
      await promotedAndCandidate(db);

      await migrateTo(url, { direction: 'up', count: 1 });
      const statuses = async (version: number): Promise<unknown> => {
        const { rows } = await db.query<{ from: string | null; to: string }>(
          'select from_status as "from", to_status as "to" from version_history where line = $1 and version = $2 order by id',
          [LINE, version],
        );
        return rows.map(({ from, to }) => [from, to]);
      };
      expect(await statuses(0)).toEqual([[null, 'archived']]);
      expect(await statuses(1)).toEqual([[null, 'stable']]);
      await db.query(`update versions set status = 'rejected' where version = 2`);
      expect(await statuses(2)).toEqual([
        [null, 'candidate'],
        ['candidate', 'rejected'],
      ]);

      await migrateTo(url, { direction: 'down', count: 1 });
      await db.query(`update versions set status = 'candidate' where version = 2`);
      await applyLine(db, { config: lineConfig({ line: 'sports' }), who: 'test' });
      await migrateTo(url, { direction: 'up', count: 1 });
      expect(await listVersions(db, LINE)).toHaveLength(3);
      expect(await statuses(2)).toEqual([[null, 'candidate']]);
    } finally {
      await db.end();
      await drop();
    }
  });
});

/** Version 1 as stable and version 2 as a candidate, in the tables of before: the store's functions know the newest only. */
async function promotedAndCandidate(db: Database): Promise<void> {
  await db.query(
    `insert into cycles (cycle_id, line, workflow_id, run_id, trigger, config, config_hash, stable_at_start, candidate, closed_at, outcome)
     values ('a', '${LINE}', 'a', 'a', 'test', '{}', 'x', 0, 1, now(), 'promoted'), ('c', '${LINE}', 'c', 'c', 'test', '{}', 'x', 1, 2, null, null)`,
  );
  await db.query(`update versions set status = 'archived' where version = 0`);
  await db.query(
    `insert into versions (line, version, status, cycle_id, model_sha256)
     values ('${LINE}', 1, 'stable', 'a', 'm1'), ('${LINE}', 2, 'candidate', 'c', 'm2')`,
  );
  await db.query(
    `insert into routes (line, epoch, stable, salt, cycle_id, who, why) values ('${LINE}', 2, 1, 'a', 'a', 'test', 'test')`,
  );
  await db.query('update route_heads set epoch = 2');
}

async function migrateTo(url: string, of: { direction: 'up' | 'down'; count: number }): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const dir = fileURLToPath(new URL('../../store/migrations', import.meta.url));
  await runner({ dbClient: client, dir, migrationsTable: 'freshet_migrations', logger: silent, ...of }).finally(() =>
    client.end(),
  );
}

/** Takes version 2 from candidate through these statuses, in a transaction that is undone; returns the last one. */
function attempt(db: Database, statuses: readonly VersionStatus[]): Promise<string | undefined> {
  return undone(db, async (client) => {
    // There is one stable at a time; whether there is one is looked at when a transaction commits.
    if (statuses.includes('stable')) await client.query(`update versions set status = 'archived' where version = 1`);
    for (const status of statuses) await client.query('update versions set status = $1 where version = 2', [status]);
    const { rows } = await client.query<{ status: string }>('select status from versions where version = 2');
    return rows[0]?.status;
  });
}

async function undone<T>(db: Database, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await db.connect();
  try {
    await client.query('begin');
    return await work(client);
  } finally {
    await client.query('rollback');
    client.release();
  }
}
