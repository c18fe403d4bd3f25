import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { migrate } from '../../store/database.ts';
import { startPostgres } from './postgres.ts';
import type { Supervisor } from './processes.ts';
import type { Say } from './say.ts';
import { prepareTemporal, startTemporalServer } from './temporal-server.ts';

export interface StackOptions {
  /** Holds the data of the servers that are started, so that the next start goes on where this one stopped. */
  dataDir: string;
  supervisor: Supervisor;
  say: Say;
  /** Path of the Temporal CLI; null when TEMPORAL_ADDRESS names a server. */
  temporalCli: string | null;
  /** Throws away the data that an earlier start left in the folder; refused while another stack uses it. */
  fresh?: boolean;
  env?: NodeJS.ProcessEnv;
}

/** The servers that Freshet stands on: started here, or those that DATABASE_URL and TEMPORAL_ADDRESS name. */
export interface Stack {
  databaseUrl: string;
  temporalAddress: string;
  /** Null when the Temporal server is somebody else's and TEMPORAL_UI_URL does not say. */
  temporalUiUrl: string | null;
}

/**
 * Brings up Postgres (with the schema migrated) and Temporal (with the search attributes registered). The supervisor
 * stops what was started.
 *
 * @throws Error that says which of the two can not be had and what to do.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { supervisor, say, fresh = false, env = process.env } = options;
  const dataDir = resolve(options.dataDir);
  await mkdir(dataDir, { recursive: true });
  // Postgres first: it refuses a folder that another stack uses, before anything in there is touched.
  const databaseUrl = await database({ dataDir, supervisor, say, fresh, env });
  const temporal = await temporalServer({ ...options, dataDir, env });
  const ran = await migrate(databaseUrl);
  if (ran.length > 0) say(`Postgres: schema migrated (${ran.join(', ')})`);
  return { databaseUrl, ...temporal };
}

async function database(of: {
  dataDir: string;
  supervisor: Supervisor;
  say: Say;
  fresh: boolean;
  env: NodeJS.ProcessEnv;
}): Promise<string> {
  const given = of.env['DATABASE_URL'];
  if (given) {
    of.say('Postgres: the server that DATABASE_URL names');
    return given;
  }
  const server = await startPostgres({ ...of, dataDir: join(of.dataDir, 'postgres'), preferredPort: 15_432 });
  of.say(`Postgres: ${server.url} (data in ${server.dataDir})`);
  return server.url;
}

async function temporalServer(options: StackOptions & { env: NodeJS.ProcessEnv }): Promise<Omit<Stack, 'databaseUrl'>> {
  const { env, say, supervisor, dataDir } = options;
  const given = env['TEMPORAL_ADDRESS'];
  if (given) {
    await prepareTemporal(given, env['TEMPORAL_NAMESPACE']);
    say(`Temporal: the server at ${given}`);
    return { temporalAddress: given, temporalUiUrl: env['TEMPORAL_UI_URL'] ?? null };
  }
  if (options.temporalCli === null)
    throw new Error('no Temporal server: set TEMPORAL_ADDRESS, or give the path of the Temporal CLI');
  const dbFile = join(dataDir, 'temporal.db');
  if (options.fresh === true)
    await Promise.all(['', '-wal', '-shm'].map((suffix) => rm(`${dbFile}${suffix}`, { force: true })));
  const server = await startTemporalServer({
    cli: options.temporalCli,
    supervisor,
    preferredPort: 7233,
    preferredUiPort: 8233,
    dbFile,
  });
  say(`Temporal: ${server.address}, UI ${server.uiUrl ?? 'off'}`);
  return { temporalAddress: server.address, temporalUiUrl: server.uiUrl };
}
