/** What a profile holds in bulk: registers, hashes, numbers, and texts with gaps. */
export type Arrays = (Uint8Array | BigUint64Array | Float64Array | (string | null)[])[];

/** How one of them lies in the bytes, little-endian: numbers as f32 where that keeps them exactly, texts as places in `words`. */
export interface PackedArray {
  type: 'u8' | 'u32' | 'u64' | 'f32' | 'f64';
  length: number;
  /** Of texts: 0 is none, n the n-th word. */
  words?: string[];
}

const WIDTH = { u8: 1, u32: 4, u64: 8, f32: 4, f64: 8 } as const;

export function packArrays(arrays: Arrays): { packed: PackedArray[]; bytes: Buffer } {
  const parts = arrays.map(pack);
  return { packed: parts.map(({ packed }) => packed), bytes: Buffer.concat(parts.map(({ bytes }) => bytes)) };
}

/** @throws Error when the bytes are not exactly those arrays. */
export function unpackArrays(packed: readonly PackedArray[], bytes: Buffer): Arrays {
  let offset = 0;
  const arrays = packed.map((array) => {
    const size = array.length * WIDTH[array.type];
    const part = bytes.subarray(offset, (offset += size));
    if (part.length !== size) throw new Error('the arrays are cut off');
    return unpack(array, part);
  });
  if (offset !== bytes.length) throw new Error('there is more than the arrays');
  return arrays;
}

function pack(array: Arrays[number]): { packed: PackedArray; bytes: Buffer } {
  const { length } = array;
  if (array instanceof Uint8Array) return { packed: { type: 'u8', length }, bytes: Buffer.from(array) };
  if (array instanceof BigUint64Array)
    return {
      packed: { type: 'u64', length },
      bytes: write(length, 8, (b, i) => b.writeBigUInt64LE(array[i] ?? 0n, 8 * i)),
    };
  if (array instanceof Float64Array) {
    return array.every((value) => Object.is(Math.fround(value), value))
      ? { packed: { type: 'f32', length }, bytes: write(length, 4, (b, i) => b.writeFloatLE(array[i] ?? NaN, 4 * i)) }
      : { packed: { type: 'f64', length }, bytes: write(length, 8, (b, i) => b.writeDoubleLE(array[i] ?? NaN, 8 * i)) };
  }
  const places = new Map<string, number>();
  const bytes = write(length, 4, (b, i) => {
    const word = array[i] ?? null;
    if (word !== null && !places.has(word)) places.set(word, places.size + 1);
    return b.writeUInt32LE(word === null ? 0 : (places.get(word) ?? 0), 4 * i);
  });
  return { packed: { type: 'u32', length, words: [...places.keys()] }, bytes };
}

function write(length: number, width: number, each: (bytes: Buffer, index: number) => void): Buffer {
  const bytes = Buffer.alloc(length * width);
  for (let index = 0; index < length; index++) each(bytes, index);
  return bytes;
}

function unpack({ type, length, words }: PackedArray, bytes: Buffer): Arrays[number] {
  const each = <T>(read: (index: number) => T): T[] => Array.from({ length }, (_, index) => read(index));
  switch (type) {
    case 'u8':
      return Uint8Array.from(bytes);
    case 'u64':
      return BigUint64Array.from(each((i) => bytes.readBigUInt64LE(8 * i)));
    case 'f32':
      return Float64Array.from(each((i) => bytes.readFloatLE(4 * i)));
    case 'f64':
      return Float64Array.from(each((i) => bytes.readDoubleLE(8 * i)));
    case 'u32':
      return each((i) => {
        const place = bytes.readUInt32LE(4 * i);
        const word = words?.[place - 1];
        if (place > 0 && word === undefined) throw new Error('a text is not among the words');
        return word ?? null;
      });
  }
}
