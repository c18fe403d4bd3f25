import { createHash } from 'node:crypto';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { z } from 'zod';
import { DataError } from '../data-error.ts';
import { REGISTERS } from './distinct.ts';
import { type Arrays, packArrays, unpackArrays, type PackedArray } from './packed-arrays.ts';
import type { ColumnProfile, Profile } from './profile.ts';

/*
 * A blob: the magic, one byte of format version, the SHA-256 of the rest, and the rest, compressed with Brotli (whose output,
 * unlike that of zlib, does not depend on the processor): the length of a JSON header, the header, the arrays it describes.
 */
const MAGIC = Buffer.from('freshet profile\n');
const VERSION = 1;
const DIGEST_START = MAGIC.length + 1;
const BODY_START = DIGEST_START + 32;
/** Far beyond any profile: a damaged length must not take all memory. */
const MAX_BYTES = 2 ** 30;

const count = z.number().int().nonnegative();
const number = z.number().nullable();
const common = { count, missing: count };
const headerSchema = z.object({
  hash: z.string(),
  rows: count,
  fromMs: number,
  toMs: number,
  columns: z.array(
    z.discriminatedUnion('kind', [
      z.object({
        name: z.string(),
        kind: z.literal('numeric'),
        ...common,
        zeros: count,
        min: number,
        max: number,
        mean: number,
        m2: number,
      }),
      z.object({
        name: z.string(),
        kind: z.literal('categorical'),
        ...common,
        heavy: z.array(z.tuple([z.string(), count])),
        heavyError: count,
      }),
    ]),
  ),
  capacity: count,
  arrays: z.array(
    z.object({
      type: z.enum(['u8', 'u32', 'u64', 'f32', 'f64']),
      length: count,
      words: z.array(z.string()).optional(),
    }),
  ),
});

/** A profile as one self-contained, compressed blob: the same bytes for the same profile. */
export function serializeProfile(profile: Profile): Uint8Array {
  const { hash, rows, fromMs, toMs, sample } = profile;
  const columns = Object.entries(profile.columns);
  const arrays: Arrays = [sample.hashes];
  for (const [name, { distinct, kind }] of columns) {
    const values = kind === 'numeric' ? sample.numeric[name] : sample.categorical[name];
    if (values?.length !== sample.hashes.length) throw new Error(`the profile's sample lacks column "${name}"`);
    arrays.push(distinct, values);
  }
  const { packed, bytes } = packArrays(arrays);
  const header: z.input<typeof headerSchema> = {
    hash,
    rows,
    fromMs,
    toMs,
    columns: columns.map(([name, { distinct: _distinct, ...column }]) => ({ name, ...column })),
    capacity: sample.capacity,
    arrays: packed,
  };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  const body = brotliCompressSync(Buffer.concat([length, json, bytes]), {
    params: { [constants.BROTLI_PARAM_QUALITY]: 5 },
  });
  return Buffer.concat([MAGIC, Buffer.of(VERSION), createHash('sha256').update(body).digest(), body]);
}

/**
 * The profile in a blob of `serializeProfile`.
 *
 * @throws DataError when it is none, was damaged, or was written by a newer Freshet.
 */
export function parseProfile(bytes: Uint8Array): Profile {
  const blob = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (blob.length < BODY_START || !blob.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new DataError(`expected the profile of a snapshot, got ${String(blob.length)} bytes of something else`);
  }
  const version = blob[MAGIC.length];
  if (version !== VERSION) {
    throw new DataError(
      `the profile has format version ${String(version)}, this Freshet reads ${String(VERSION)}: use the version that wrote it`,
    );
  }
  const body = blob.subarray(BODY_START);
  if (!createHash('sha256').update(body).digest().equals(blob.subarray(DIGEST_START, BODY_START))) {
    throw new DataError(
      'the profile is damaged (its checksum differs): take the snapshot again or restore the artifact',
    );
  }
  try {
    return readBody(brotliDecompressSync(body, { maxOutputLength: MAX_BYTES }));
  } catch (error) {
    throw new DataError('the profile is whole but not readable: it was not written by Freshet', { cause: error });
  }
}

function readBody(body: Buffer): Profile {
  const start = 4 + body.readUInt32LE(0);
  const header = headerSchema.parse(JSON.parse(body.subarray(4, start).toString()));
  const [hashes, ...arrays] = unpackArrays(header.arrays as PackedArray[], body.subarray(start));
  if (!(hashes instanceof BigUint64Array)) throw new Error('no hashes');
  const columns: Record<string, ColumnProfile> = {};
  const sample: Profile['sample'] = { capacity: header.capacity, hashes, numeric: {}, categorical: {} };
  for (const [index, { name, ...column }] of header.columns.entries()) {
    const distinct = arrays[2 * index];
    const values = arrays[2 * index + 1];
    if (!(distinct instanceof Uint8Array) || (distinct.length !== REGISTERS && distinct.length !== 0))
      throw new Error(`column "${name}" has no sketch`);
    if (values?.length !== hashes.length) throw new Error(`column "${name}" has no sample`);
    if (column.kind === 'numeric' && values instanceof Float64Array) sample.numeric[name] = values;
    else if (column.kind === 'categorical' && Array.isArray(values)) sample.categorical[name] = values;
    else throw new Error(`column "${name}" has a sample of another kind`);
    columns[name] = { ...column, distinct };
  }
  const { hash, rows, fromMs, toMs } = header;
  return { formatVersion: 1, hash, rows, fromMs, toMs, columns, sample };
}
