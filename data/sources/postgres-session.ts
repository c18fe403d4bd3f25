import { DuckDBDataChunk, VARCHAR } from '@duckdb/node-api';
import pg from 'pg';
import { isUnreachable } from '../../store/database.ts';
import { DataError } from '../data-error.ts';
import { sqlName, type Duck } from '../duckdb.ts';
import type { Column } from './source-columns.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Rows fetched at once: a DuckDB chunk. */
const FETCH_ROWS = 2_048;

export interface Address {
  url: string;
  /** Without password and parameters. */
  location: string;
  /** The environment variable that it stands in. */
  from: string;
}

/** Postgres types whose text DuckDB reads as a type of its own; lists and all others stay text. */
const DUCK_TYPES: Record<string, string> = {
  int2: 'BIGINT',
  int4: 'BIGINT',
  int8: 'BIGINT',
  float4: 'FLOAT',
  float8: 'DOUBLE',
  numeric: 'DOUBLE',
  bool: 'BOOLEAN',
  date: 'DATE',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMP WITH TIME ZONE',
};

/** A query's rows, waiting to be fetched. */
export interface Cursor {
  /** With the DuckDB types that they are read as. */
  columns: Column[];
  /** Fetches all rows: the columns' texts into `table`, and a `view` of them in DuckDB's types. */
  into(db: Duck, target: { table: string; view: string; columns: readonly string[] }): Promise<void>;
}

/** One transaction that sees one state of the database. */
export interface Session {
  /** @throws DataError with what Postgres says of the query. */
  open(query: string): Promise<Cursor>;
  /** Rows of a query by `count(*)`. */
  count(query: string): Promise<number>;
}

/** @throws DataError when the variable is not set or is no Postgres address; it is never shown. */
export function addressFrom(name: string, processEnv: NodeJS.ProcessEnv): Address {
  const url = processEnv[name];
  if (url === undefined || url === '') {
    throw new DataError(
      `the source reads a Postgres whose address stands in ${name} (source.urlFrom), which is not set: start the data worker with ${name}=postgres://user:password@host:5432/database`,
    );
  }
  // An @ after the host: the password has a sign that ends the host, and would be taken for the database's name.
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol) || /@/.test(new URL(url).pathname)) {
    throw new DataError(
      `${name} is not a Postgres address: expected postgres://user:password@host:5432/database, with signs such as / in the password percent-encoded`,
    );
  }
  const { protocol, username, host, pathname } = new URL(url);
  return { url, from: name, location: `${protocol}//${username === '' ? '' : `${username}@`}${host}${pathname}` };
}

/** Runs `work` in a read-only, repeatable-read transaction. @throws Error when Postgres can not be reached now. */
export async function readOnly<T>(
  input: { address: Address; timeoutMs: number },
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { address, timeoutMs } = input;
  const client = new pg.Client({
    connectionString: address.url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: timeoutMs,
    keepAlive: true,
    application_name: 'freshet source',
    // Texts, as Postgres writes them: numbers must not be rounded on the way.
    types: { getTypeParser: () => (text: string) => text },
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('begin isolation level repeatable read read only');
    await client.query(`set local timezone = 'UTC'`);
    await client.query(`set local datestyle = 'ISO'`);
    const result = await work(sessionOn(client));
    await client.query('commit');
    return result;
  } catch (error) {
    throw explained(error, { address, timeoutMs });
  } finally {
    await client.end().catch(() => undefined);
  }
}

function sessionOn(client: pg.Client): Session {
  let opened = 0;
  return {
    async open(query) {
      const name = `freshet_rows_${String((opened += 1))}`;
      await oneStatement(client, `declare ${name} no scroll cursor for ${query}\n`);
      const { fields } = await client.query({ text: `fetch 0 from ${name}`, rowMode: 'array' });
      const columns = await columnsOf(client, fields);
      return { columns, into: async (db, target) => fetchInto(db, { client, name, columns, target }) };
    },
    async count(query) {
      const { rows } = await oneStatement<{ rows: string }>(
        client,
        `select count(*) as rows from (${query}\n) as counted`,
      );
      return Number(rows[0]?.rows);
    },
  };
}

/** The extended protocol takes one statement only: nothing can follow a query. */
async function oneStatement<Row extends pg.QueryResultRow>(
  client: pg.Client,
  text: string,
): Promise<pg.QueryResult<Row>> {
  return client.query<Row>({ text, queryMode: 'extended' } as pg.QueryConfig);
}

async function columnsOf(client: pg.Client, fields: readonly pg.FieldDef[]): Promise<Column[]> {
  const { rows } = await client.query<{ oid: string; typname: string }>(
    'select oid, typname from pg_type where oid = any($1::oid[])',
    [fields.map(({ dataTypeID }) => dataTypeID)],
  );
  const names = new Map(rows.map(({ oid, typname }) => [oid, typname]));
  return fields.map(({ name, dataTypeID }) => {
    const type = names.get(String(dataTypeID)) ?? 'unknown';
    return { name, type: type.startsWith('_') ? 'VARCHAR[]' : (DUCK_TYPES[type] ?? 'VARCHAR') };
  });
}

async function fetchInto(
  db: Duck,
  input: {
    client: pg.Client;
    name: string;
    columns: Column[];
    target: { table: string; view: string; columns: readonly string[] };
  },
): Promise<void> {
  const { client, name, columns, target } = input;
  const places = target.columns.map((column) => columns.findIndex((found) => found.name === column));
  await db.run(
    `CREATE TABLE ${target.table} (${target.columns.map((column) => `${sqlName(column)} VARCHAR`).join(', ')})`,
  );
  const appender = await db.connection.createAppender(target.table);
  for (;;) {
    const text = `fetch ${String(FETCH_ROWS)} from ${name}`;
    const { rows } = await client.query<(string | null)[]>({ text, rowMode: 'array' });
    if (rows.length === 0) break;
    const chunk = DuckDBDataChunk.create(places.map(() => VARCHAR));
    chunk.setColumns(places.map((place) => rows.map((row) => row[place] ?? null)));
    appender.appendDataChunk(chunk);
  }
  appender.closeSync();
  await client.query(`close ${name}`);
  const typed = target.columns.map((column) => {
    const type = columns.find((found) => found.name === column)?.type ?? 'VARCHAR';
    const cast =
      type === 'VARCHAR' || type === 'VARCHAR[]' ? sqlName(column) : `TRY_CAST(${sqlName(column)} AS ${type})`;
    return `${cast} AS ${sqlName(column)}`;
  });
  await db.run(`CREATE VIEW ${target.view} AS SELECT ${typed.join(', ')} FROM ${target.table}`);
}

function explained(error: unknown, input: { address: Address; timeoutMs: number }): unknown {
  if (error instanceof DataError || !(error instanceof Error)) return error;
  const { location, from } = input.address;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const cause = error.message === '' ? code : error.message;
  if (code === '28P01' || code === '28000' || code === '3D000') {
    return new DataError(`the source ${location} refused the connection: ${cause}. Correct the address in ${from}`, {
      cause: error,
    });
  }
  if (isUnreachable(error) || /timeout expired|terminated unexpectedly/.test(cause)) {
    return new Error(
      `the source ${location} can not be reached now: ${cause}. Start it, or correct the address in ${from}`,
      { cause: error },
    );
  }
  if (code === '57014') {
    const seconds = String(Math.round(input.timeoutMs / 1_000));
    return new Error(
      `the query of the source ${location} took longer than source.timeout (${seconds} s): give it an index on the time, use :from_ms and :to_ms in it, or raise the timeout`,
      { cause: error },
    );
  }
  if (code === '25006') {
    return new DataError(
      `the query of the source ${location} wants to write (${cause}); expected a SELECT that only reads`,
      { cause: error },
    );
  }
  if (/^(42|22|0A|26|21)/.test(code)) {
    const hint = 'hint' in error && typeof error.hint === 'string' ? ` (${error.hint})` : '';
    return new DataError(
      `Postgres refuses the query of the source ${location}: ${cause}${hint}. Correct source.query; expected one SELECT, in which :from_ms and :to_ms stand for Unix ms`,
      { cause: error },
    );
  }
  return error;
}
