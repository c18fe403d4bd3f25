import { hostname } from 'node:os';
import pino from 'pino';
import { z } from 'zod';
import { startGateway } from './gateway.ts';
import type { KeyFile } from './key-ring.ts';
import { parseSigningKeys, type SigningKey } from './signing-keys.ts';

/** The gateway as a process: configured by its environment, ended by SIGTERM or SIGINT. */

const milliseconds = z.coerce.number().int().min(10);
const environmentSchema = z.object({
  FRESHET_HOST: z.string().min(1).default('127.0.0.1'),
  FRESHET_PORT: z.coerce.number().int().min(0).max(65_535).default(8_090),
  DATABASE_URL: z
    .string({ error: 'expected the address of Postgres: postgres://user:password@host:5432/database' })
    .min(1),
  FRESHET_ARTIFACTS: z.string({ error: 'expected the folder of the artifact store' }).min(1),
  FRESHET_LOG_ROOT: z.string({ error: 'expected the folder of the event log' }).min(1),
  FRESHET_CACHE_DIR: z.string({ error: 'expected a folder for what a restart without Postgres needs' }).min(1),
  FRESHET_TOKEN_KEYS: z.string().optional(),
  FRESHET_TOKEN_KEYS_FILE: z.string().optional(),
  FRESHET_PROCESS_ID: z.string().min(1).optional(),
  FRESHET_LINES: z.string().optional(),
  FRESHET_POLL_EVERY_MS: milliseconds.default(1_000),
  FRESHET_FLUSH_EVERY_MS: milliseconds.default(1_000),
  FRESHET_SEAL_EVERY_MS: milliseconds.default(1_000),
  FRESHET_CANARY_DEADLINE_MS: milliseconds.optional(),
  FRESHET_DEADLINE_MS: milliseconds.optional(),
  FRESHET_SHED_AFTER_MS: milliseconds.optional(),
  FRESHET_KEEP_VERSIONS: z.coerce.number().int().min(1).optional(),
  FRESHET_BODY_LIMIT_BYTES: z.coerce.number().int().min(1_024).optional(),
  FRESHET_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

function readEnvironment(): z.output<typeof environmentSchema> {
  const result = environmentSchema.safeParse(process.env);
  if (result.success) return result.data;
  throw new Error(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n'));
}

/** @throws Error unless exactly one of the two says which keys sign. */
function signingKeys(env: z.output<typeof environmentSchema>): readonly SigningKey[] | KeyFile {
  const { FRESHET_TOKEN_KEYS: text = '', FRESHET_TOKEN_KEYS_FILE: file = '' } = env;
  if (file === '') return parseSigningKeys(text);
  if (text === '') return { file };
  throw new Error(
    'FRESHET_TOKEN_KEYS and FRESHET_TOKEN_KEYS_FILE are both set: expected one, so that it is clear which keys sign',
  );
}

type Given<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

/** Without what is not set, so that the defaults hold. */
const given = <T extends object>(options: T): Given<T> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Given<T>;

async function main(): Promise<void> {
  const env = readEnvironment();
  // Standard output carries the one line below.
  const logger = pino({ name: 'gateway', level: env.FRESHET_LOG_LEVEL }, pino.destination({ dest: 2, sync: true }));
  const lines = env.FRESHET_LINES?.split(',')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const starting = startGateway({
    host: env.FRESHET_HOST,
    port: env.FRESHET_PORT,
    databaseUrl: env.DATABASE_URL,
    artifactsRoot: env.FRESHET_ARTIFACTS,
    logRoot: env.FRESHET_LOG_ROOT,
    cacheDir: env.FRESHET_CACHE_DIR,
    processId: env.FRESHET_PROCESS_ID ?? `gateway-${hostname()}-${String(env.FRESHET_PORT)}`,
    keys: signingKeys(env),
    pollEveryMs: env.FRESHET_POLL_EVERY_MS,
    flushEveryMs: env.FRESHET_FLUSH_EVERY_MS,
    sealEveryMs: env.FRESHET_SEAL_EVERY_MS,
    logger,
    ...given({
      lines,
      canaryDeadlineMs: env.FRESHET_CANARY_DEADLINE_MS,
      deadlineMs: env.FRESHET_DEADLINE_MS,
      shedAfterMs: env.FRESHET_SHED_AFTER_MS,
      keepVersions: env.FRESHET_KEEP_VERSIONS,
      bodyLimitBytes: env.FRESHET_BODY_LIMIT_BYTES,
    }),
  });

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    // Also while it is still starting: it may have registered, and rollbacks would wait for it.
    starting
      .then((gateway) => gateway.close())
      .then(
        () => {
          logger.info({ signal }, 'stopped');
        },
        (error: unknown) => {
          logger.error({ err: error }, 'stopped, but not cleanly');
          process.exitCode = 1;
        },
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const { url } = await starting;
  process.stdout.write(`${JSON.stringify({ listening: url })}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`gateway: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
