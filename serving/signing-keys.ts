/** A secret that signs rank answers. The first of a list signs; the others are still accepted, so that keys can be changed. */
export interface SigningKey {
  id: string;
  secret: Buffer;
}

const MIN_SECRET_BYTES = 32;
const HOW_TO_MAKE =
  `make one with: node -e "console.log('k1:' + require('node:crypto').randomBytes(32).toString('base64'))" ` +
  'and give the same to every gateway as FRESHET_TOKEN_KEYS';

/**
 * Reads keys written `id:base64secret[,id2:...]`, the current one first.
 *
 * @throws Error that says how to make a key, when there is none, or one that is malformed, short or named twice.
 */
export function parseSigningKeys(text: string | undefined): SigningKey[] {
  const parts = (text ?? '').split(',').map((part) => part.trim());
  const keys = parts.filter((part) => part !== '').map(parseKey);
  checkSigningKeys(keys);
  return keys;
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

function parseKey(part: string): SigningKey {
  const match = /^([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/=_-]+)$/.exec(part);
  const [, id, secret] = match ?? [];
  // The part itself is not shown: it may hold a secret.
  if (id === undefined || secret === undefined)
    throw new Error(`a signing key is not written id:base64secret: ${HOW_TO_MAKE}`);
  return { id, secret: Buffer.from(secret, 'base64') };
}
