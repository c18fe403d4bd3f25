import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { KeptKey } from '../../serving/signing-keys.ts';
import { createKeyFile } from '../keys/key-file.ts';
import { installationDir } from './installation.ts';

const SECRET_BYTES = 32;

/**
 * What tells an installation's gateways their signing keys: what the environment says, else a file in the data folder, made
 * with a random key the first time. Impressions that were served before a restart stay valid after it.
 */
export async function ensureTokenKeys(
  dataDir: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ FRESHET_TOKEN_KEYS_FILE?: string }> {
  if (env['FRESHET_TOKEN_KEYS'] || env['FRESHET_TOKEN_KEYS_FILE']) return {};
  const file = keptFile(dataDir);
  await createKeyFile(file, [newKey()]);
  return { FRESHET_TOKEN_KEYS_FILE: file };
}

/** The file that commands work on: the one that is given, that of the environment, or that of this installation. */
export function keyFileOf(given: string | undefined, env: NodeJS.ProcessEnv): string {
  return given ?? (env['FRESHET_TOKEN_KEYS_FILE'] || keptFile(installationDir(env)));
}

/** The first key of an installation. */
export function newKey(): KeptKey {
  return { id: 'k1', secret: newSecret(), addedAt: new Date(), replacedAt: null };
}

export function newSecret(): Buffer {
  return randomBytes(SECRET_BYTES);
}

function keptFile(dataDir: string): string {
  return resolve(dataDir, 'token-keys');
}
