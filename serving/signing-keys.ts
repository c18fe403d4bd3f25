import { createHmac } from 'node:crypto';

/** A secret that signs rank answers. The first of a list signs; the others are still accepted, so that keys can be changed. */
export interface SigningKey {
  id: string;
  secret: Buffer;
}

/** A key with what a rotation has to know of it. */
export interface KeptKey extends SigningKey {
  /** When it was added behind the key that signs; null when nobody wrote it down. */
  addedAt: Date | null;
  /** When another took its place and it signed no more; null for one that signs, or has not signed yet. */
  replacedAt: Date | null;
}

const MIN_SECRET_BYTES = 32;
const HOW_TO_MAKE =
  `make one with: node -e "console.log('k1:' + require('node:crypto').randomBytes(32).toString('base64'))" ` +
  'and give the same to every gateway as FRESHET_TOKEN_KEYS, or with: freshet keys create --file F, as FRESHET_TOKEN_KEYS_FILE';

/**
 * Reads keys written `id:base64secret`, between commas or a line each, the current one first. A key may be followed by
 * `added=` and `replaced=` with ISO times; lines that begin with # are comments.
 *
 * @throws Error that says how to make a key, when there is none, or one that is malformed, short or named twice. It shows
 * no secret.
 */
export function parseSigningKeys(text: string | undefined): KeptKey[] {
  const lines = (text ?? '').split('\n').filter((line) => !line.trimStart().startsWith('#'));
  const parts = lines.flatMap((line) => line.split(',')).map((part) => part.trim());
  const keys = parts.filter((part) => part !== '').map(parseKey);
  checkSigningKeys(keys);
  return keys;
}

/** What {@link parseSigningKeys} reads, as a file: a line a key. */
export function formatSigningKeys(keys: readonly KeptKey[]): string {
  const lines = keys.map(({ id, secret, addedAt, replacedAt }) => {
    const added = addedAt === null ? '' : ` added=${addedAt.toISOString()}`;
    const replaced = replacedAt === null ? '' : ` replaced=${replacedAt.toISOString()}`;
    return `${id}:${secret.toString('base64')}${added}${replaced}`;
  });
  return [
    '# Keys of the gateways: the first signs, all are accepted. Changed with "freshet keys rotate".',
    ...lines,
    '',
  ].join('\n');
}

/** @throws Error that says how to make a key, when there is none, or one that is short or named twice. */
export function checkSigningKeys(keys: readonly SigningKey[]): void {
  if (keys.length === 0) {
    throw new Error(`the gateway has no key to sign rank answers with, so clicks could be forged: ${HOW_TO_MAKE}`);
  }
  for (const [index, { id, secret }] of keys.entries()) {
    if (secret.byteLength < MIN_SECRET_BYTES) {
      throw new Error(
        `signing key "${id}" has ${String(secret.byteLength)} bytes, expected at least ${String(MIN_SECRET_BYTES)} as base64: ${HOW_TO_MAKE}`,
      );
    }
    if (keys.findIndex((key) => key.id === id) !== index)
      throw new Error(`signing key "${id}" is given twice: give each an id of its own`);
  }
}

/** Tells secrets of one id apart without showing them: 8 hexadecimal digits. */
export function fingerprintOf({ secret }: SigningKey): string {
  return createHmac('sha256', secret).update('freshet signing key').digest('hex').slice(0, 8);
}

function parseKey(part: string): KeptKey {
  const match = /^([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/=_-]+)((?:\s+\S+)*)$/.exec(part);
  const [, id, secret, rest = ''] = match ?? [];
  // The part itself is not shown: it may hold a secret.
  if (id === undefined || secret === undefined)
    throw new Error(`a signing key is not written id:base64secret: ${HOW_TO_MAKE}`);
  const times = { added: null as Date | null, replaced: null as Date | null };
  for (const word of rest.split(/\s+/).filter((given) => given !== '')) {
    const [, name, time = ''] = /^(added|replaced)=(\S+)$/.exec(word) ?? [];
    const at = new Date(time);
    if ((name !== 'added' && name !== 'replaced') || Number.isNaN(at.getTime()))
      throw new Error(
        `what follows the secret of signing key "${id}" is not a time: expected added=2026-01-31T12:00:00Z or replaced=...`,
      );
    times[name] = at;
  }
  return { id, secret: Buffer.from(secret, 'base64'), addedAt: times.added, replacedAt: times.replaced };
}
