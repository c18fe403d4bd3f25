import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { canEnter, startPostgres, type PostgresServer } from '../../../scripts/stack/postgres.ts';
import { Supervisor } from '../../../scripts/stack/processes.ts';

let folder: string;
let supervisor: Supervisor;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-postgres-'));
  // Started by root, Postgres runs as another user, who must be able to enter.
  chmodSync(folder, 0o755);
  supervisor = new Supervisor(join(folder, 'logs'));
});
afterEach(async () => {
  await supervisor.stopAll();
  rmSync(folder, { recursive: true });
});

test('data outlives a restart, also one after a crash whose lock file names a process that is somebody else by now', async () => {
  const first = await start();
  await query(first, 'create table kept as select 42 as answer');
  await supervisor.stopAll();
  writeFileSync(join(folder, 'data', 'postmaster.pid'), `${String(process.pid)}\n${join(folder, 'data')}\n`);
  expect(await query(await start(), 'select answer from kept')).toEqual([{ answer: 42 }]);
});

test('a data folder that another server uses is refused, and that server left alone', async () => {
  const first = await start();
  await expect(start()).rejects.toThrow(/another Postgres \(process \d+\) uses the data folder/);
  expect(await query(first, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('a server that can not start is reported with its own last lines', async () => {
  await start();
  await supervisor.stopAll();
  writeFileSync(join(folder, 'data', 'postgresql.conf'), 'no_such_setting = 1\n');
  await expect(start()).rejects.toThrow(/no_such_setting/);
});

test('a folder below one that others may not enter can not be entered by them', async () => {
  const somebody = { uid: 65_533, gid: 65_533 };
  mkdirSync(join(folder, 'private', 'data'), { recursive: true });
  expect(await canEnter(join(folder, 'private', 'data'), somebody)).toBe(true);
  chmodSync(join(folder, 'private'), 0o700);
  expect(await canEnter(join(folder, 'private', 'data'), somebody)).toBe(false);
  expect(await canEnter(join(folder, 'private', 'data'), {})).toBe(true);
});

async function start(): Promise<PostgresServer> {
  return startPostgres({
    dataDir: join(folder, 'data'),
    supervisor,
    say: () => undefined,
    durable: false,
    preferredPort: 15_700,
  });
}

async function query(server: PostgresServer, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}
