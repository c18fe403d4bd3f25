import { stat } from 'node:fs/promises';
import { parseSigningKeys, type KeptKey } from '../../serving/signing-keys.ts';
import { keyFileOf } from '../stack/token-keys.ts';
import { readKeyFile } from './key-file.ts';
import { dueStep } from './rotation.ts';

/**
 * Looks at the signing keys of an installation.
 *
 * @throws Error that says what to do when they can not be used.
 */
export async function checkTokenKeys(env: NodeJS.ProcessEnv): Promise<{ status: 'ok' | 'warn'; message: string }> {
  const { FRESHET_TOKEN_KEYS: text = '', FRESHET_TOKEN_KEYS_FILE: named = '' } = env;
  if (text !== '' && named !== '')
    throw new Error(
      'FRESHET_TOKEN_KEYS and FRESHET_TOKEN_KEYS_FILE are both set, and gateways start with one: unset the other',
    );
  if (text !== '') return { status: 'ok', message: inWords(parseSigningKeys(text)) };
  const file = keyFileOf(undefined, env);
  const info = await stat(file).catch(() => null);
  if (info === null && named === '')
    return {
      status: 'warn',
      message:
        'none yet: "freshet up" makes one; gateways elsewhere need FRESHET_TOKEN_KEYS_FILE or FRESHET_TOKEN_KEYS',
    };
  const keys = await readKeyFile(file);
  if (((info?.mode ?? 0) & 0o077) !== 0)
    return {
      status: 'warn',
      message: `others than its owner may use ${file}, and forge clicks by it: chmod 600 ${file}`,
    };
  return { status: 'ok', message: inWords(keys) };
}

function inWords(keys: readonly KeptKey[]): string {
  const signs = `${keys[0]?.id ?? 'none'} signs, ${String(keys.length)} accepted`;
  const due = dueStep(keys);
  return due === 'add'
    ? signs
    : `${signs}; a rotation is under way: its next step is "freshet keys rotate --step ${due}"`;
}
