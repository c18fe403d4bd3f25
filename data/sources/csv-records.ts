import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataError } from '../data-error.ts';

const QUOTE = 0x22;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

export interface CsvFile {
  path: string;
  header: string[];
  /** Records after the header that are not empty. */
  records: number;
}

/**
 * Counts the records of a CSV file (RFC 4180) and reads its header, byte by byte and without the reader that loads it: a
 * line end inside quotes ends no record.
 *
 * @throws DataError when a quote is never closed, which would swallow the rest of the file, or a column is named twice.
 */
export async function scanCsv(path: string, delimiter: string): Promise<CsvFile> {
  const scan = new RecordScan(delimiter.charCodeAt(0));
  for await (const bytes of open(path)) scan.take(bytes as Buffer);
  scan.end();
  if (scan.openQuoteAt !== null) {
    throw new DataError(
      `${path}: the quote that opens in line ${String(scan.openQuoteAt)} is never closed, so what follows can not be told apart; mend or remove the file`,
    );
  }
  const header = headerOf(scan.head, delimiter);
  const twice = header.find((name, index) => header.indexOf(name) !== index);
  if (twice !== undefined) throw new DataError(`${path} has two columns "${twice}"; rename one`);
  return { path, header, records: Math.max(0, scan.records - 1) };
}

function open(path: string): Readable {
  const file = createReadStream(path, { highWaterMark: 1 << 20 });
  if (!path.endsWith('.gz')) return file;
  const unzipped = createGunzip();
  file.on('error', (error) => unzipped.destroy(error));
  return file.pipe(unzipped);
}

class RecordScan {
  records = 0;
  head = '';
  #line = 1;
  #quotedFrom: number | null = null;
  #quoteSeen = false;
  #fieldStart = true;
  #empty = true;
  readonly #delimiter: number;
  readonly #headBytes: Buffer[] = [];

  constructor(delimiter: number) {
    this.#delimiter = delimiter;
  }

  /** Line of the quote that is open at the end. */
  get openQuoteAt(): number | null {
    return this.#quotedFrom;
  }

  take(bytes: Buffer): void {
    let headEnd = this.records === 0 ? bytes.length : 0;
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at];
      if (byte === NEWLINE) this.#line += 1;
      if (this.#quotedFrom !== null) {
        if (byte !== QUOTE) {
          if (!this.#quoteSeen) continue;
          this.#quotedFrom = null;
          this.#quoteSeen = false;
        } else {
          // Two quotes inside are one quote; one ends the value.
          this.#quoteSeen = !this.#quoteSeen;
          continue;
        }
      }
      if (byte === NEWLINE) {
        const first = this.records === 0;
        this.#endRecord();
        if (first && this.records === 1) headEnd = at;
      } else if (byte === this.#delimiter) {
        this.#fieldStart = true;
        this.#empty = false;
      } else if (byte !== RETURN) {
        if (byte === QUOTE && this.#fieldStart) this.#quotedFrom = this.#line;
        this.#fieldStart = false;
        this.#empty = false;
      }
    }
    if (headEnd > 0) this.#headBytes.push(bytes.subarray(0, headEnd));
  }

  end(): void {
    if (this.#quoteSeen) this.#quotedFrom = null;
    this.#endRecord();
    this.head = Buffer.concat(this.#headBytes).toString('utf8');
  }

  #endRecord(): void {
    if (!this.#empty) this.records += 1;
    this.#empty = true;
    this.#fieldStart = true;
  }
}

function headerOf(head: string, delimiter: string): string[] {
  const text = head.replace(/^\ufeff/, '').trim();
  if (text === '') return [];
  const names: string[] = [];
  let name = '';
  let quoted = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    else if (character === delimiter && !quoted) {
      names.push(name.trim());
      name = '';
    } else name += character;
  }
  return [...names, name.trim()];
}
