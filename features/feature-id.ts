import xxhash from 'xxhash-wasm';

/** The id of a missing value. */
export const MISSING_ID = 0n;

/** Signed 64-bit id of a categorical value, the same in every process that serves or imports. */
export type FeatureHash = (value: unknown) => bigint;

/** Places for values whose ids are remembered: those of a feed come again and again. A power of two. */
const PLACES = 65_536;
/** Longer texts are not remembered, so that what is remembered stays small. */
const MAX_REMEMBERED_LENGTH = 64;

/**
 * Loads the hash once (it is WebAssembly) and returns {@link FeatureHash}: xxHash64 (seed 0) of the value's canonical
 * text, read as a signed 64-bit number. `5`, `5n` and `"5"` are the same value, as a log's number and a request's text
 * must be; `null`, `undefined`, `NaN` and `''` are missing (0n). A value whose hash is 0 gets 1n.
 *
 * The hash throws TypeError for values without a canonical text: objects, lists, functions.
 */
export async function loadFeatureHash(): Promise<FeatureHash> {
  const xxHash = await xxhash();
  const hash: FeatureHash = (value) => {
    const text = canonicalText(value);
    if (text === '') return MISSING_ID;
    const id = BigInt.asIntN(64, xxHash.h64(text));
    return id === MISSING_ID ? 1n : id;
  };
  return remembering(hash);
}

/** Each value has its one place and the last one there stays: quicker than a map, and nothing is left to collect. */
function remembering(hash: FeatureHash): FeatureHash {
  const values = new Array<string | number | undefined>(PLACES).fill(undefined);
  const ids = new BigInt64Array(PLACES);
  return (value) => {
    const short = typeof value === 'string' && value.length <= MAX_REMEMBERED_LENGTH;
    if (!short && typeof value !== 'number') return hash(value);
    const place = placeOf(value);
    if (values[place] !== value) {
      ids[place] = hash(value);
      values[place] = value;
    }
    return ids[place] ?? MISSING_ID;
  };
}

/** Spreads well enough, in little time. */
function placeOf(value: string | number): number {
  let mixed = 0;
  if (typeof value === 'number') {
    mixed = Math.imul(value, 0x9e3779b1);
  } else {
    for (let at = 0; at < value.length; at++)
      mixed = Math.imul(mixed ^ value.charCodeAt(at), 0x5bd1e995) ^ (mixed >>> 15);
  }
  return (mixed ^ (mixed >>> 16)) & (PLACES - 1);
}

function canonicalText(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'undefined':
      return '';
    case 'number':
      return Number.isNaN(value) ? '' : String(value);
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      if (value === null) return '';
      throw new TypeError(
        `expected a string, number or boolean, got ${Array.isArray(value) ? 'a list' : typeof value}`,
      );
  }
}
