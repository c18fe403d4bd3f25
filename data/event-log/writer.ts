import { randomUUID } from 'node:crypto';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { heldShare } from './hold.ts';
import { partitionOf, segmentsBelow, type SegmentKind } from './layout.ts';
import type { FeedbackRecord, ImpressionRecord } from './records.ts';
import { wholeRecords } from './whole-records.ts';

export interface EventLogWriterOptions {
  root: string;
  /** The same after a restart: a writer takes up what its predecessor of this name left. Letters, digits, `.`, `_`, `-`. */
  processId: string;
  sealEveryMs?: number;
  /** Records kept while segments can not be written; beyond it new ones are dropped and counted. */
  maxBufferedRecords?: number;
  /**
   * The line's event time now, in Unix ms: stamps when readers could first see a record. Without it, or when it fails or
   * says 0, the newest arrival seen of the line stands in, which lags while there is no traffic.
   */
  eventNow?: (line: string) => number | Promise<number>;
}

/**
 * Why a writer lost records: no room while segments can not be written; not to be written as JSON with a date; torn in a
 * segment that was left behind; come after the end.
 */
export const WRITER_DROPS = ['bufferFull', 'invalid', 'torn', 'closed'] as const;
export type WriterDrop = (typeof WRITER_DROPS)[number];

export interface EventLogStats {
  buffered: number;
  appended: Record<SegmentKind, number>;
  /** Records lost. */
  dropped: number;
  droppedBy: Record<WriterDrop, number>;
  publishedSegments: number;
  publishedRecords: number;
  /** Segments that wait for `HOLD` to go. */
  heldSegments: number;
  failedSeals: number;
  lastError: string | null;
}

/** Records of one time that are JSON already: each as it stands in the log, without its arrival time and the closing brace. */
export interface EncodedRecords {
  line: string;
  eventTimeMs: number;
  arrivedAtMs: number;
  heads: readonly string[];
}

export interface EventLogWriter {
  /** Never blocks and never throws. */
  appendImpressions(records: readonly ImpressionRecord[]): void;
  /** The same for records that are encoded; their event times are whole milliseconds. */
  appendEncoded(kind: SegmentKind, records: EncodedRecords): void;
  appendFeedback(records: readonly FeedbackRecord[]): void;
  /** Seals what is buffered. Resolves also when that failed: the records stay buffered, `stats()` says why. */
  flush(): Promise<void>;
  /** Seals what is buffered and stops. */
  close(): Promise<void>;
  stats(): EventLogStats;
}

interface Buffered {
  kind: SegmentKind;
  partition: string;
  line: string;
  arrivedAtMs: number;
  /** The record's JSON up to its arrival time. */
  head: string;
}

/**
 * Opens this process's end of the event log. Records are buffered and every `sealEveryMs` (1 s) written as segments of
 * NDJSON, one a partition, that appear whole: written to the spool, then renamed into place.
 *
 * A killed process loses what it had not sealed; a failed machine may also lose segments of the last seconds, since they
 * are not flushed to the disk one by one. What a predecessor left half-written is published up to its last whole line.
 *
 * @throws Error when the folders can not be made.
 */
export async function openEventLogWriter(options: EventLogWriterOptions): Promise<EventLogWriter> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(options.processId)) {
    throw new Error(
      `the process id "${options.processId}" names segment files: use letters and digits, then also dots, dashes and underscores`,
    );
  }
  const writer = new SegmentWriter(options);
  await writer.open();
  return writer;
}

class SegmentWriter implements EventLogWriter {
  readonly #root: string;
  readonly #processId: string;
  readonly #spool: string;
  readonly #held: string;
  readonly #boot = randomUUID().slice(0, 8);
  readonly #maxBuffered: number;
  readonly #sealEveryMs: number;
  readonly #eventNow: EventLogWriterOptions['eventNow'];
  readonly #newestArrival = new Map<string, number>();
  readonly #folders = new Set<string>();
  readonly #stats: Omit<EventLogStats, 'buffered'> = {
    appended: { impressions: 0, feedback: 0 },
    dropped: 0,
    droppedBy: { bufferFull: 0, invalid: 0, torn: 0, closed: 0 },
    publishedSegments: 0,
    publishedRecords: 0,
    heldSegments: 0,
    failedSeals: 0,
    lastError: null,
  };
  #buffer: Buffered[] = [];
  #sealing = 0;
  #seal: Promise<void> = Promise.resolve();
  #sequence = 0;
  #sealsHeld = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: EventLogWriterOptions) {
    this.#root = options.root;
    this.#processId = options.processId;
    this.#spool = join(options.root, 'spool', options.processId);
    this.#held = join(options.root, 'held', options.processId);
    this.#maxBuffered = options.maxBufferedRecords ?? 200_000;
    this.#sealEveryMs = options.sealEveryMs ?? 1_000;
    this.#eventNow = options.eventNow;
  }

  async open(): Promise<void> {
    await mkdir(this.#spool, { recursive: true });
    for (const segment of await segmentsBelow(this.#spool)) await this.#publishLate(this.#spool, segment);
    this.#stats.heldSegments = (await segmentsBelow(this.#held)).length;
    this.#timer = setInterval(() => void this.flush(), this.#sealEveryMs);
    this.#timer.unref();
  }

  appendImpressions(records: readonly ImpressionRecord[]): void {
    for (const record of records) this.#append('impressions', record);
  }

  appendFeedback(records: readonly FeedbackRecord[]): void {
    for (const record of records) this.#append('feedback', record);
  }

  appendEncoded(kind: SegmentKind, { line, eventTimeMs, arrivedAtMs: arrived, heads }: EncodedRecords): void {
    if (!this.#hasRoom(heads.length)) return;
    try {
      const partition = partitionOf(wholeMs(eventTimeMs));
      const arrivedAtMs = wholeMs(arrived);
      for (const head of heads) this.#buffer.push({ kind, partition, line, arrivedAtMs, head });
      this.#stats.appended[kind] += heads.length;
      this.#newestArrival.set(line, Math.max(arrivedAtMs, this.#newestArrival.get(line) ?? 0));
    } catch {
      this.#drop('invalid', heads.length);
    }
  }

  flush(): Promise<void> {
    this.#seal = this.#seal.then(async () => {
      try {
        await this.#sealBuffer();
      } catch (error) {
        this.#fail(error);
      }
    });
    return this.#seal;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.flush();
  }

  stats(): EventLogStats {
    const { appended, droppedBy } = this.#stats;
    const buffered = this.#buffer.length + this.#sealing;
    return { ...this.#stats, appended: { ...appended }, droppedBy: { ...droppedBy }, buffered };
  }

  #hasRoom(records: number): boolean {
    const full = this.#buffer.length + this.#sealing + records > this.#maxBuffered;
    if (this.#closed || full) this.#drop(this.#closed ? 'closed' : 'bufferFull', records);
    return !this.#closed && !full;
  }

  #drop(reason: WriterDrop, records: number): void {
    this.#stats.dropped += records;
    this.#stats.droppedBy[reason] += records;
  }

  #append(kind: SegmentKind, record: ImpressionRecord | FeedbackRecord): void {
    if (!this.#hasRoom(1)) return;
    try {
      const { arrivedAtMs: arrived, ...rest } = record;
      const arrivedAtMs = wholeMs(arrived);
      const eventTimeMs = wholeMs(rest.eventTimeMs);
      // Serialised here, record by record, so that a seal does not hold up requests.
      const head = JSON.stringify({ ...rest, eventTimeMs }).slice(0, -1);
      this.#buffer.push({ kind, partition: partitionOf(eventTimeMs), line: record.line, arrivedAtMs, head });
      this.#stats.appended[kind] += 1;
      const newest = this.#newestArrival.get(record.line) ?? 0;
      if (arrivedAtMs > newest) this.#newestArrival.set(record.line, arrivedAtMs);
    } catch {
      this.#drop('invalid', 1);
    }
  }

  async #sealBuffer(): Promise<void> {
    const share = await heldShare(this.#root);
    if (share === null) {
      this.#sealsHeld = 0;
      await this.#releaseHeld();
    }
    if (this.#buffer.length === 0) return;
    const records = this.#buffer;
    this.#buffer = [];
    this.#sealing = records.length;
    const hold = share !== null && this.#holdsNext(share);
    this.#sequence += 1;
    const name = `${this.#processId}-${this.#boot}-${String(this.#sequence).padStart(8, '0')}.ndjson`;
    const segments = new Map<string, Buffered[]>();
    for (const record of records) {
      const path = join(record.kind, record.partition, name);
      const segment = segments.get(path);
      if (segment === undefined) segments.set(path, [record]);
      else segment.push(record);
    }
    for (const [segment, content] of segments) {
      try {
        await this.#writeSegment({ segment, content, hold });
      } catch (error) {
        this.#fail(error);
        this.#folders.clear();
        this.#buffer = content.concat(this.#buffer);
      }
      this.#sealing -= content.length;
    }
  }

  /** Every seal's turn comes evenly: after n seals floor(n x share) are held, whatever their size. */
  #holdsNext(share: number): boolean {
    const before = this.#sealsHeld;
    this.#sealsHeld += 1;
    return Math.floor((before + 1) * share) > Math.floor(before * share);
  }

  async #writeSegment(input: { segment: string; content: Buffered[]; hold: boolean }): Promise<void> {
    const { segment, content, hold } = input;
    const now = await this.#arrivalTimes(content.map(({ line }) => line));
    const text = content
      .map(
        ({ head, line, arrivedAtMs }) =>
          `${head},"arrivedAtMs":${String(Math.max(arrivedAtMs, now.get(line) ?? 0))}}\n`,
      )
      .join('');
    const spooled = await this.#placeFor(this.#spool, segment);
    const target = await this.#placeFor(hold ? this.#held : this.#root, segment);
    try {
      await writeFile(spooled, text);
      await rename(spooled, target);
    } catch (error) {
      await rm(spooled, { force: true }).catch(() => undefined);
      throw error;
    }
    if (hold) {
      this.#stats.heldSegments += 1;
    } else {
      this.#published(content.length);
    }
  }

  async #releaseHeld(): Promise<void> {
    if (this.#stats.heldSegments === 0) return;
    for (const segment of await segmentsBelow(this.#held)) await this.#publishLate(this.#held, segment);
    this.#stats.heldSegments = 0;
  }

  /** Publishes a segment that waited, with the arrival times of now. A torn line is dropped and counted. */
  async #publishLate(from: string, segment: string): Promise<void> {
    const source = join(from, segment);
    const target = await this.#placeFor(this.#root, segment);
    // Published already, by one that died before it could remove this: its arrival times are those that readers saw.
    if (!(await exists(target))) {
      const { records, torn } = wholeRecords(await readFile(source));
      this.#drop('torn', torn);
      if (records.length > 0) {
        const now = await this.#arrivalTimes(records.map(({ line }) => line));
        const lines = records.map((record) => {
          const arrivedAtMs = Math.max(record.arrivedAtMs, now.get(record.line) ?? 0);
          return `${JSON.stringify({ ...record, arrivedAtMs })}\n`;
        });
        await writeFile(`${source}.tmp`, lines.join(''));
        await rename(`${source}.tmp`, target);
        this.#published(records.length);
      }
    }
    await rm(source);
  }

  async #arrivalTimes(lines: string[]): Promise<Map<string, number>> {
    const times = new Map<string, number>();
    for (const line of new Set(lines)) {
      const newest = this.#newestArrival.get(line) ?? 0;
      try {
        const now = wholeMs((await this.#eventNow?.(line)) ?? 0);
        times.set(line, now > 0 ? now : newest);
      } catch {
        times.set(line, newest);
      }
    }
    return times;
  }

  async #placeFor(base: string, segment: string): Promise<string> {
    const path = join(base, segment);
    const folder = dirname(path);
    if (!this.#folders.has(folder)) {
      await mkdir(folder, { recursive: true });
      this.#folders.add(folder);
    }
    return path;
  }

  #published(records: number): void {
    this.#stats.publishedSegments += 1;
    this.#stats.publishedRecords += records;
  }

  #fail(error: unknown): void {
    this.#stats.failedSeals += 1;
    this.#stats.lastError = error instanceof Error ? error.message : String(error);
  }
}

function wholeMs(ms: number): number {
  if (!Number.isFinite(ms)) throw new Error(`${String(ms)} is not a time`);
  return Math.round(ms);
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
