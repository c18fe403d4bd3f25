import { TextDecoder } from 'node:util';
import type { FeedbackRecord, ImpressionRecord } from './records.ts';

const NEWLINE = 10;

/**
 * The records of a segment that stand in it whole, and how many lines hold anything else: cut in the middle, bytes that are no
 * text, JSON that is no record.
 */
export function wholeRecords(bytes: Buffer): { records: (ImpressionRecord | FeedbackRecord)[]; torn: number } {
  // Bytes that are no UTF-8 would become replacement characters, and the record would look whole.
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const records: (ImpressionRecord | FeedbackRecord)[] = [];
  let torn = 0;
  let start = 0;
  while (start < bytes.length) {
    const found = bytes.indexOf(NEWLINE, start);
    const end = found === -1 ? bytes.length : found;
    if (end > start) {
      const record = recordOf(bytes.subarray(start, end), decoder);
      if (record === null) torn += 1;
      else records.push(record);
    }
    start = end + 1;
  }
  return { records, torn };
}

function recordOf(line: Buffer, decoder: TextDecoder): ImpressionRecord | FeedbackRecord | null {
  try {
    const value: unknown = JSON.parse(decoder.decode(line));
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is ImpressionRecord | FeedbackRecord {
  if (value === null || typeof value !== 'object') return false;
  const { impressionId, line, arrivedAtMs } = value as Partial<ImpressionRecord>;
  return typeof impressionId === 'string' && typeof line === 'string' && typeof arrivedAtMs === 'number';
}
