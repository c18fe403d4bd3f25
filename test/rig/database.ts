import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { inject } from 'vitest';
import { migrate, openDatabase, type Database } from '../../store/database.ts';

export interface TestDatabase {
  url: string;
  db: Database;
  /** Closes `db` and drops the database, whoever is still connected. */
  drop(): Promise<void>;
}

const MIGRATIONS = new URL('../../store/migrations/', import.meta.url);
let template: Promise<string> | undefined;

/** An empty migrated database of its own on the test run's Postgres, copied from a template that is migrated once. */
export async function createTestDatabase(): Promise<TestDatabase> {
  template ??= withServer(prepareTemplate);
  const source = await template;
  const name = `freshet_test_${String(process.pid)}_${randomBytes(4).toString('hex')}`;
  await withServer((server) => server.query(`create database ${name} template ${source}`));
  const url = urlOf(name);
  const db = openDatabase(url);
  return {
    url,
    db,
    async drop() {
      await db.end();
      await withServer((server) => server.query(`drop database if exists ${name} with (force)`));
    },
  };
}

/** An empty database without a schema, for tests of the migrations themselves. */
export async function createEmptyDatabase(): Promise<Omit<TestDatabase, 'db'>> {
  const name = `freshet_test_${String(process.pid)}_${randomBytes(4).toString('hex')}`;
  await withServer((server) => server.query(`create database ${name}`));
  return {
    url: urlOf(name),
    async drop() {
      await withServer((server) => server.query(`drop database if exists ${name} with (force)`));
    },
  };
}

/** The template's name carries a hash of the migrations, so a changed one makes a new template. */
async function prepareTemplate(server: pg.Client): Promise<string> {
  const name = `freshet_template_${hashOfMigrations()}`;
  // Test files run in several processes: one of them migrates, the others wait.
  await server.query(`select pg_advisory_lock(hashtextextended('freshet test template', 0))`);
  const exists = await server.query('select from pg_database where datname = $1', [name]);
  if (exists.rowCount === 1) return name;
  const unfinished = `${name}_unfinished`;
  await server.query(`drop database if exists ${unfinished} with (force)`);
  await server.query(`create database ${unfinished}`);
  await migrate(urlOf(unfinished));
  await server.query(`alter database ${unfinished} rename to ${name}`);
  return name;
}

function hashOfMigrations(): string {
  const hash = createHash('sha256');
  for (const file of readdirSync(MIGRATIONS).sort()) hash.update(readFileSync(new URL(file, MIGRATIONS)));
  return hash.digest('hex').slice(0, 12);
}

function urlOf(name: string): string {
  const url = new URL(inject('databaseUrl'));
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs on a connection of its own, which is closed after: Postgres copies no template that somebody is connected to. */
async function withServer<T>(work: (server: pg.Client) => Promise<T>): Promise<T> {
  const server = new pg.Client({ connectionString: inject('databaseUrl') });
  await server.connect();
  try {
    return await work(server);
  } finally {
    await server.end();
  }
}
