import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';

/** A client that is inside a transaction; only `transaction` hands these out. */
export type Transaction = pg.PoolClient;
/** What reads and writes run on: the pool (each call its own transaction) or a transaction that is already open. */
export type Queryable = Database | Transaction;

export interface DatabaseOptions {
  /** Connections at most (10). */
  max?: number;
  /** Longest single statement, waiting for locks included (10 s). */
  statementTimeoutMs?: number;
  /** A client that stalls inside a transaction this long is cut off by Postgres, which frees its locks (5 s). */
  idleInTransactionTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 2_000;
const MAX_ATTEMPTS = 8;
/** The object id of `bigint[]`, for which `pg` has no name. */
const INT8_ARRAY = 1016;
/** SQLSTATEs after which the same transaction may well succeed: serialization failure and deadlock. */
const RETRYABLE = new Set(['40001', '40P01']);
const UNREACHABLE = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'ENOENT'],
  // Shut down, crashed, starting up, and cut off while idle in a transaction.
  ...['57P01', '57P02', '57P03', '25P03', '08000', '08003', '08006'],
]);

/** No connection to Postgres can be had. The message has the address (without password), the cause and what to do. */
export class DatabaseUnreachable extends Error {
  override name = 'DatabaseUnreachable';
}

/** Thrown inside a transaction that found its assumptions overtaken: it runs again from the start. */
export class TransactionOvertaken extends Error {
  override name = 'TransactionOvertaken';
  readonly code = '40001';
}

/** Whether an error means that Postgres is gone (refused, lost, shut down), rather than that it answered with a no. */
export function isUnreachable(error: unknown): boolean {
  if (error instanceof DatabaseUnreachable) return true;
  if (!(error instanceof Error)) return false;
  return (
    UNREACHABLE.has(codeOf(error)) || /^(Connection terminated|Query read timeout)|not queryable/.test(error.message)
  );
}

type ConnectCallback = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: (release?: unknown) => void,
) => void;

/**
 * A pool of connections to Freshet's Postgres. `bigint` columns are read as numbers (refused beyond 2^53). Failing to
 * connect rejects with `DatabaseUnreachable`; losing an idle connection is no event, the next query opens another.
 */
export class Database extends pg.Pool {
  readonly #url: string;

  constructor(url: string, options: DatabaseOptions = {}) {
    const { max = 10, statementTimeoutMs = 10_000, idleInTransactionTimeoutMs = 5_000 } = options;
    super({
      connectionString: url,
      max,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: statementTimeoutMs,
      // A frozen worker must not keep a rollback waiting on its row locks.
      idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
      // The server's own timeout does not reach us through a dead network.
      query_timeout: statementTimeoutMs + CONNECT_TIMEOUT_MS,
      keepAlive: true,
      application_name: 'freshet',
      types: numericTypes(),
    });
    this.#url = url;
    this.on('error', () => undefined);
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
    if (callback === undefined) {
      return super.connect().catch((error: unknown) => {
        throw explainConnectError(error, this.#url);
      });
    }
    super.connect((error, client, done) => {
      callback(error === undefined ? undefined : explainConnectError(error, this.#url), client, done);
    });
    return undefined;
  }
}

/**
 * Opens a pool; no connection is made before the first query.
 *
 * @throws Error when `url` is not a Postgres address.
 */
export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  return new Database(checkedUrl(url), options);
}

/**
 * Brings the schema up to date and returns the names of the migrations that ran. Safe to repeat and to run from several
 * processes at once: the others wait.
 *
 * @throws DatabaseUnreachable
 */
export async function migrate(url: string): Promise<string[]> {
  const client = new pg.Client({
    connectionString: checkedUrl(url),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'freshet migrate',
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw explainConnectError(error, url);
  }
  const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  try {
    const ran = await runner({
      dbClient: client,
      dir: fileURLToPath(new URL('./migrations', import.meta.url)),
      direction: 'up',
      migrationsTable: 'freshet_migrations',
      advisoryLockMode: 'wait',
      logger: silent,
    });
    return ran.map((migration) => migration.name);
  } finally {
    await client.end();
  }
}

/**
 * Runs `work` in one transaction (read committed) and returns its result. After a deadlock or `TransactionOvertaken` it
 * runs again, so `work` must touch nothing but the database. Inside an open transaction it joins that one.
 */
export async function transaction<T>(db: Queryable, work: (tx: Transaction) => Promise<T>): Promise<T> {
  if (!(db instanceof Database)) {
    if (db.getTransactionStatus() === 'T') return work(db);
    throw new Error(
      'expected a Database or an open transaction, got a client outside a transaction: use transaction()',
    );
  }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptTransaction(db, work);
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !RETRYABLE.has(codeOf(error))) throw error;
    }
  }
}

/** The database's clock. Leases and health checks use no other. */
export async function databaseNow(db: Queryable): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>('select clock_timestamp() as now');
  return onlyRow(rows).now;
}

/** The row of a query that always answers one. */
export function onlyRow<Row>(rows: readonly Row[]): Row {
  const [row] = rows;
  if (row === undefined || rows.length > 1)
    throw new Error(`expected one row from Postgres, got ${String(rows.length)}`);
  return row;
}

async function attemptTransaction<T>(db: Database, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await db.connect();
  // A connection that is cut between two queries would otherwise end the process; the next query reports it.
  const ignore = (): void => undefined;
  client.on('error', ignore);
  let broken = false;
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    broken = isUnreachable(error);
    if (!broken) {
      await client.query('rollback').catch(() => {
        broken = true;
      });
    }
    throw error;
  } finally {
    client.off('error', ignore);
    client.release(broken);
  }
}

function numericTypes(): pg.TypeOverrides {
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.INT8, (text: string) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value)) throw new Error(`bigint ${text} from Postgres does not fit a number (2^53)`);
    return value;
  });
  types.setTypeParser(INT8_ARRAY, (text: string) => (text === '{}' ? [] : text.slice(1, -1).split(',').map(Number)));
  return types;
}

function checkedUrl(url: string): string {
  if (URL.canParse(url) && /^postgres(ql)?:$/.test(new URL(url).protocol)) return url;
  throw new Error('DATABASE_URL is not a Postgres address: expected postgres://user:password@host:5432/database');
}

function withoutPassword(url: string): string {
  const { protocol, username, host, pathname } = new URL(url);
  return `${protocol}//${username === '' ? '' : `${username}@`}${host}${pathname}`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function explainConnectError(error: unknown, url: string): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const code = codeOf(error);
  const where = `Postgres at ${withoutPassword(url)}`;
  const cause = error.message === '' ? code : error.message;
  if (error.message === 'timeout exceeded when trying to connect') {
    const advice = 'each was busy for 2 s; look for stuck transactions, or give the pool more connections';
    return new DatabaseUnreachable(`${where} has no free connection in this process: ${advice}`, { cause: error });
  }
  if (code === '28P01' || code === '28000' || code === '3D000') {
    return new DatabaseUnreachable(`${where} refused the connection: ${cause}. Correct DATABASE_URL`, { cause: error });
  }
  if (!isUnreachable(error) && code !== '53300') return error;
  const advice = 'Start it, or set DATABASE_URL to the address of one that runs';
  return new DatabaseUnreachable(`${where} can not be reached: ${cause}. ${advice}`, { cause: error });
}
