import { z } from 'zod';

const count = z.number().int().nonnegative();
const timeMs = z.number().int();

const fileRef = z.object({ sha256: z.string().length(64), bytes: count, rows: count });
/** A Parquet file in the artifact store. */
export type FileRef = z.infer<typeof fileRef>;

/**
 * What a snapshot is and how it came about. The same source state, config and event time give the same manifest; it holds
 * no operating times. All times are Unix ms of event time.
 */
export const snapshotManifestSchema = z.object({
  contractVersion: z.literal(1),
  line: z.string(),
  cycleId: z.string(),
  /** When it was taken: it holds what had arrived before. */
  eventNowMs: timeMs,
  maturityMs: count,
  /** Fresh rows lie in (windowStartMs, cutoffMs]; cutoffMs is eventNowMs minus the label maturity. */
  windowStartMs: timeMs,
  cutoffMs: timeMs,
  /** Fresh rows up to here train; later ones are the holdout. The next snapshot's window starts here. */
  splitMs: timeMs,
  /** When the parent's snapshot was taken: rows of before the window that arrived then or later are late. */
  parentTakenAtMs: timeMs.nullable(),
  /** Program that wrote the Parquet files: their bytes depend on it. */
  writer: z.string(),
  files: z.object({ train: z.array(fileRef), holdout: z.array(fileRef), replay: z.array(fileRef) }),
  /** `read` is the sum of all others up to `replay`; `lateIncluded` is part of `train`, `positives` of train and holdout. */
  counts: z.object({
    read: count,
    /** Torn or foreign lines, or rows without an id, user, item or time. */
    malformed: count,
    otherLine: count,
    /** Arrived when the snapshot was taken, or later. */
    notArrived: count,
    /** Impression id, or user, item and time, seen before. */
    duplicates: count,
    /** Too young for a complete label: in the next snapshot. */
    immature: count,
    /** History that the replay sample left out. */
    history: count,
    train: count,
    holdout: count,
    replay: count,
    lateIncluded: count,
    positives: count,
  }),
  /** Of the feedback that had arrived: rows that could not be read, and rows whose impression is not there. */
  feedback: z.object({ read: count, malformed: count, orphans: count }),
  features: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(['categorical', 'numeric']),
      joined: z.boolean(),
      /** Shares of the fresh rows, null without rows: missing in the training data, and missing when it was served. */
      missingTrained: z.number().nullable(),
      missingServed: z.number().nullable(),
      /** Values that are no number of the feature's kind; they count as missing. */
      invalid: count,
    }),
  ),
  /** The source as it was when the snapshot was taken, without repeated rows. */
  source: z.object({
    /** Oldest event within the reach of the snapshot (a maximal window and a season before the cutoff). */
    firstEventMs: timeMs.nullable(),
    newestEventMs: timeMs.nullable(),
    newestArrivalMs: timeMs.nullable(),
    /** Rows of the recent window before the cutoff, and of the same window one season before. */
    recent: count,
    recentSeasonBack: count,
    /** Hours that have rows, counted from the cutoff: (startMs, startMs + 1 h]. */
    hourly: z.array(z.object({ startMs: timeMs, rows: count, positives: count, mature: z.boolean() })),
  }),
});
export type SnapshotManifest = z.infer<typeof snapshotManifestSchema>;
