import { createHash } from 'node:crypto';
import { brotliCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { DataError } from '../../../data/data-error.ts';
import { parseProfile, serializeProfile } from '../../../data/profile/index.ts';
import { profileRows, someRows } from './rows.ts';

const whole = await profileRows(
  someRows(500).map((row, index) => ({ ...row, n: index % 5 === 0 ? null : index / 3 })),
  { sampleSize: 100 },
);
const blob = serializeProfile(whole);

test('a profile comes back as it was', async () => {
  expect(parseProfile(blob)).toEqual(whole);
  const small = await profileRows(someRows(40));
  // Quarters and NaN, which fit into 32 bits.
  expect(parseProfile(serializeProfile(small))).toEqual(small);
  const empty = await profileRows([]);
  expect(parseProfile(serializeProfile(empty))).toEqual(empty);
});

test('the same profile has the same bytes', () => {
  expect(Buffer.compare(serializeProfile(parseProfile(blob)), blob)).toBe(0);
});

function damaged(at: number): Uint8Array {
  const copy = Uint8Array.from(blob);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function forged(payload: Buffer): Uint8Array {
  const body = brotliCompressSync(payload);
  return Buffer.concat([blob.subarray(0, 17), createHash('sha256').update(body).digest(), body]);
}

const header = Buffer.from('{"rows":1}');
test.each([
  { what: 'nothing', bytes: new Uint8Array(0), says: /expected the profile of a snapshot, got 0 bytes/ },
  { what: 'something else', bytes: Buffer.from('PAR1'.repeat(40)), says: /got 160 bytes of something else/ },
  { what: 'a newer format', bytes: damaged(16), says: /format version 0, this Freshet reads 1/ },
  { what: 'a damaged checksum', bytes: damaged(20), says: /damaged/ },
  { what: 'a damaged body', bytes: damaged(blob.length - 7), says: /damaged/ },
  { what: 'a cut off end', bytes: blob.subarray(0, blob.length - 1), says: /damaged/ },
  { what: 'a foreign body', bytes: forged(Buffer.concat([Buffer.of(10, 0, 0, 0), header])), says: /not readable/ },
  { what: 'a header that is longer than all', bytes: forged(Buffer.of(255, 255, 255, 255)), says: /not readable/ },
])('$what is refused as bad data', ({ bytes, says }) => {
  expect(() => parseProfile(bytes)).toThrow(DataError);
  expect(() => parseProfile(bytes)).toThrow(says);
});
