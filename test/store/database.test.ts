import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyLine } from '../../store/lines.ts';
import { DatabaseUnreachable, isUnreachable, migrate, openDatabase, transaction } from '../../store/database.ts';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { lineConfig } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

describe('migrate', () => {
  it('builds the schema from nothing, once, whoever else does it at the same time', async () => {
    const { url, drop } = await createEmptyDatabase();
    const ran = await Promise.all([migrate(url), migrate(url), migrate(url)]);
    expect(ran.flat()).toEqual([
      '0001_initial',
      '0002_triggers_and_taints',
      '0003_registry',
      '0004_alerts',
      '0005_watch',
      '0006_health_sums',
    ]);
    expect(await migrate(url)).toEqual([]);
    const db = openDatabase(url);
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await db.end();
    await drop();
  });

  it('says where Postgres was expected', async () => {
    await expect(migrate('postgres://freshet:secret@127.0.0.1:1/freshet')).rejects.toThrow(DatabaseUnreachable);
  });
});

describe('a database that can not be reached', () => {
  const url = 'postgres://freshet:secret@127.0.0.1:1/freshet';
  const message =
    'Postgres at postgres://freshet@127.0.0.1:1/freshet can not be reached: connect ECONNREFUSED 127.0.0.1:1. ' +
    'Start it, or set DATABASE_URL to the address of one that runs';

  it('is named without its password, with what to do', async () => {
    const db = openDatabase(url);
    await expect(db.query('select 1')).rejects.toThrow(message);
    await expect(db.connect()).rejects.toThrow(message);
    const failed: unknown = await transaction(db, () => Promise.resolve()).catch((error: unknown) => error);
    expect(isUnreachable(failed)).toBe(true);
    expect(JSON.stringify(failed, Object.getOwnPropertyNames(failed)) + String(failed)).not.toContain('secret');
    await db.end();
  });

  it('is given up on when it accepts the connection and then says nothing', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const db = openDatabase(`postgres://freshet@127.0.0.1:${String(port)}/freshet`);
    await expect(db.query('select 1')).rejects.toThrow(
      /can not be reached: Connection terminated due to connection timeout/,
    );
    await db.end();
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it('is told apart from one that refuses us', async () => {
    const wrong = new URL(test.url);
    wrong.pathname = '/no_such_database';
    const db = openDatabase(wrong.href);
    await expect(db.query('select 1')).rejects.toThrow(
      /refused the connection: database "no_such_database" does not exist. Correct DATABASE_URL/,
    );
    await db.end();
  });

  it.each(['', 'localhost:5432', 'mysql://localhost/x'])('needs an address of Postgres, not %j', (address) => {
    expect(() => openDatabase(address)).toThrow(/DATABASE_URL is not a Postgres address: expected postgres:/);
  });

  it('comes back: a pool outlives the connections that Postgres cuts', async () => {
    const { db } = test;
    await db.query('select 1');
    const other = openDatabase(test.url);
    await other.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    await other.end();
    const answers = await Promise.allSettled([db.query('select 1'), db.query('select 1')]);
    for (const answer of answers) if (answer.status === 'rejected') expect(isUnreachable(answer.reason)).toBe(true);
    expect((await db.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });
});

describe('transaction', () => {
  it('commits what its work wrote, or nothing', async () => {
    const { db } = test;
    const insert = `insert into outbox (dedup_key, severity, alert) values ('x', 'info', '{}')`;
    const failing = transaction(db, async (tx) => {
      await tx.query(insert);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await transaction(db, async (tx) => (await tx.query(insert)).rowCount)).toBe(1);
    expect((await db.query('select from outbox')).rowCount).toBe(1);
  });

  it('joins the one that is open, and takes no client outside of one', async () => {
    const { db } = test;
    const same = await transaction(db, (tx) => transaction(tx, (inner) => Promise.resolve(inner === tx)));
    expect(same).toBe(true);
    const client = await db.connect();
    await expect(transaction(client, () => Promise.resolve())).rejects.toThrow(/got a client outside a transaction/);
    client.release();
  });

  it('runs again after a deadlock', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig({ line: 'a' }), who: 'test' });
    await applyLine(db, { config: lineConfig({ line: 'b' }), who: 'test' });
    const lock = 'select from lines where line = $1 for update';
    let bothHoldOne = 0;
    let attempts = 0;
    const crossed = (first: string, second: string): Promise<void> =>
      transaction(db, async (tx) => {
        attempts += 1;
        await tx.query(lock, [first]);
        bothHoldOne += 1;
        while (bothHoldOne < 2) await new Promise((resolve) => setTimeout(resolve, 1));
        await tx.query(lock, [second]);
      });
    await Promise.all([crossed('a', 'b'), crossed('b', 'a')]);
    expect(attempts).toBe(3);
  });

  it('reads bigint columns as numbers, and refuses one that does not fit', async () => {
    const { db } = test;
    const { rows } = await db.query(
      `select 9007199254740991::bigint as big, '{1,2}'::bigint[] as list, '{}'::bigint[] as none`,
    );
    expect(rows).toEqual([{ big: Number.MAX_SAFE_INTEGER, list: [1, 2], none: [] }]);
    await expect(db.query('select 9007199254740993::bigint')).rejects.toThrow(/does not fit a number/);
  });
});
