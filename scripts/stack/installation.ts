import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { projectRoot } from './project.ts';

/** Where a running installation answers; written by `freshet up` and the demo, read by every other command. */
export interface Installation {
  databaseUrl: string;
  temporalAddress: string;
  temporalNamespace: string;
  temporalUiUrl: string | null;
  gatewayUrl: string | null;
  artifacts: string;
}

const schema = z.object({
  databaseUrl: z.string(),
  temporalAddress: z.string(),
  temporalNamespace: z.string(),
  temporalUiUrl: z.string().nullable(),
  gatewayUrl: z.string().nullable(),
  artifacts: z.string(),
});

/** The folder that holds an installation's data: FRESHET_DIR, else `.freshet` beside package.json. */
export function installationDir(env: NodeJS.ProcessEnv = process.env): string {
  return env['FRESHET_DIR'] ?? join(projectRoot(), '.freshet');
}

/** Environment variables first, then what runs from this folder, then the usual ports. */
export async function readInstallation(env: NodeJS.ProcessEnv = process.env): Promise<Installation> {
  const dataDir = installationDir(env);
  const running = (await readStackFile(dataDir)) ?? usualPlaces(dataDir);
  return {
    databaseUrl: env['DATABASE_URL'] ?? running.databaseUrl,
    temporalAddress: env['TEMPORAL_ADDRESS'] ?? running.temporalAddress,
    temporalNamespace: env['TEMPORAL_NAMESPACE'] ?? running.temporalNamespace,
    temporalUiUrl: env['TEMPORAL_UI_URL'] ?? running.temporalUiUrl,
    gatewayUrl: env['FRESHET_GATEWAY_URL'] ?? running.gatewayUrl,
    artifacts: env['FRESHET_ARTIFACTS'] ?? running.artifacts,
  };
}

function usualPlaces(dataDir: string): Installation {
  return {
    databaseUrl: 'postgres://postgres:postgres@127.0.0.1:15432/freshet',
    temporalAddress: '127.0.0.1:7233',
    temporalNamespace: 'default',
    temporalUiUrl: null,
    gatewayUrl: null,
    artifacts: join(dataDir, 'artifacts'),
  };
}

async function readStackFile(dataDir: string): Promise<Installation | null> {
  const written = await readFile(stackFile(dataDir), 'utf8').catch(() => null);
  return written === null ? null : (schema.safeParse(JSON.parse(written)).data ?? null);
}

export async function writeInstallation(dataDir: string, installation: Installation): Promise<void> {
  const file = stackFile(dataDir);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(installation, null, 2)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** To be called when the installation stops, so that later commands do not look for it. */
export async function forgetInstallation(dataDir: string): Promise<void> {
  await rm(stackFile(dataDir), { force: true });
}

function stackFile(dataDir: string): string {
  return join(dataDir, 'stack.json');
}
