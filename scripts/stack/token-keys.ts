import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The gateways' signing keys of an installation: FRESHET_TOKEN_KEYS, else a file in its data folder, made with a random
 * key the first time. Impressions that were served before a restart stay valid after it.
 */
export async function ensureTokenKeys(dataDir: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (env['FRESHET_TOKEN_KEYS']) return env['FRESHET_TOKEN_KEYS'];
  const kept = await readTokenKeys(dataDir);
  if (kept !== null) return kept;
  await mkdir(dataDir, { recursive: true });
  const keys = `k1:${randomBytes(32).toString('base64')}`;
  await writeFile(keyFile(dataDir), `${keys}\n`, { mode: 0o600 });
  return keys;
}

/** The keys kept in a data folder; null when there are none yet. */
export async function readTokenKeys(dataDir: string): Promise<string | null> {
  const text = await readFile(keyFile(dataDir), 'utf8').catch(() => null);
  return text === null ? null : text.trim();
}

function keyFile(dataDir: string): string {
  return join(dataDir, 'token-keys');
}
