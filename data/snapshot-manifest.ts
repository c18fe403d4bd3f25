import { z } from 'zod';

/** Ages after the end of an hour at which its rows are counted: the arrival curve. */
export const ARRIVAL_AGES_MS = [1, 5, 15, 30, 60, 120, 240].map((minutes) => minutes * 60_000);

const count = z.number().int().nonnegative();
const timeMs = z.number().int();

const fileRef = z.object({ sha256: z.string().length(64), bytes: count, rows: count });
/** A Parquet file in the artifact store. */
export type FileRef = z.infer<typeof fileRef>;

const profileRef = z.object({ sha256: z.string().length(64), bytes: count });

/**
 * What a snapshot is and how it came about. The same source state, config and event time give the same manifest; it holds
 * no operating times. All times are Unix ms of event time.
 */
export const snapshotManifestSchema = z.object({
  contractVersion: z.literal(2),
  line: z.string(),
  cycleId: z.string(),
  /** The snapshot whose holdout this one extends: nothing of it trains. Left out for one to train on. */
  extends: z.string().length(64).optional(),
  /** When it was taken: it holds what had arrived before. */
  eventNowMs: timeMs,
  /** Age at which labels count as complete here; `label` says where it comes from. */
  maturityMs: count,
  label: z.object({
    /** Delays of the positive feedback of impressions older than `label.maturity`, so that none is cut off; null without any. */
    delays: z
      .object({
        count,
        p50Ms: count,
        p90Ms: count,
        p95Ms: count,
        p99Ms: count,
        maxMs: count,
        /** The delay by which the configured share had arrived. */
        shareMs: count,
      })
      .nullable(),
    maturityFrom: z.enum(['measured', 'config', 'tooFewDelays']),
    /** With a proxy label: rows up to here have their true label, younger ones up to the cutoff the proxy. */
    trueCutoffMs: timeMs.nullable(),
  }),
  /**
   * Fresh rows lie in (windowStartMs, cutoffMs]; cutoffMs is eventNowMs minus the label maturity, or minus the proxy's where
   * that is shorter. It lies before windowStartMs when the maturity grew by more than the time since the parent's snapshot.
   */
  windowStartMs: timeMs,
  cutoffMs: timeMs,
  /** Fresh rows up to here train; later ones are the holdout. The next snapshot's window starts here. */
  splitMs: timeMs,
  /**
   * What replay holds: `sample`, a share of the training rows; `all`, the history within `snapshot.maxWindow`, for a training
   * in full. Left out by older builds, which sampled.
   */
  replay: z.enum(['sample', 'all']).optional(),
  /** When the parent's snapshot was taken: rows of before the window that arrived then or later are late. */
  parentTakenAtMs: timeMs.nullable(),
  /** Program that wrote the Parquet files: their bytes depend on it. */
  writer: z.string(),
  /**
   * `historical` never trains and stays the same from snapshot to snapshot; `unlabelled` is a sample of the rows that are
   * too young for a label. Both may be empty.
   */
  files: z.object({
    train: z.array(fileRef),
    holdout: z.array(fileRef),
    replay: z.array(fileRef),
    historical: z.array(fileRef),
    unlabelled: z.array(fileRef),
  }),
  /** The fixed set of rows that measures forgetting, as it was frozen once; null while there is none. */
  historical: z
    .object({
      frozenAtMs: timeMs,
      /** The cycle whose snapshot it was. */
      frozenBy: z.string(),
      /** Why it was frozen and not carried on from the parent. */
      because: z.enum(['first', 'featuresChanged', 'shareShrank', 'tainted']),
      /** Event times of its first and last row. */
      fromMs: timeMs,
      toMs: timeMs,
      /** `snapshot.historicalShare` of then. */
      share: z.number(),
      features: z.array(z.object({ name: z.string(), kind: z.enum(['categorical', 'numeric']), joined: z.boolean() })),
    })
    .nullable(),
  /** The profile of the fresh rows (train without replay, and holdout), and of the unlabelled ones; null without rows. */
  profiles: z.object({ fresh: profileRef.nullable(), unlabelled: profileRef.nullable() }),
  /**
   * `read` is the sum of all others up to `replay`, and what the source itself says it holds; `lateIncluded`, `corrected`
   * and `proxyLabelled` are part of `train` and `holdout`, `positives` of train and holdout.
   */
  counts: z.object({
    read: count,
    /** Torn or foreign lines, or rows without an id, user, item or time. */
    malformed: count,
    otherLine: count,
    /** Arrived when the snapshot was taken, or later. */
    notArrived: count,
    /** Dated after the snapshot was taken: a clock that is wrong. */
    future: count,
    /** Impression id, or user, item and time, seen before. */
    duplicates: count,
    /** Too young for a complete label: in the next snapshot. */
    immature: count,
    /** History that the replay sample left out. */
    history: count,
    /** With a label, in the window of a snapshot that was found bad later. */
    tainted: count,
    /** Of the requests that never train, so that the historical holdout stays unseen. */
    reserved: count,
    /** Fresh, late or to be corrected, but left out by `snapshot.maxTrainRows`. */
    sampledOut: count,
    train: count,
    holdout: count,
    replay: count,
    lateIncluded: count,
    /** Trained with a proxy before, and once more now that the true label differs. */
    corrected: count,
    /** With a proxy for a label. */
    proxyLabelled: count,
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
      /** Values that became known only after their impression; null where the feature does not say when (`knownAt`). */
      knownAfter: count.nullable(),
    }),
  ),
  /** The source as it was when the snapshot was taken, without repeated rows. */
  source: z.object({
    kind: z.enum(['eventLog', 'lake', 'postgres']),
    location: z.string(),
    /** Rows that the source itself says it holds: equal to `counts.read`. */
    rows: count,
    /** Of the impressions as the source has them, by name. */
    columns: z.array(z.object({ name: z.string(), type: z.string() })),
    /** Repeated rows among those that had arrived, by what repeats: the impression's id, or only user, item and time. */
    repeats: z.object({ byId: count, byKey: count }),
    /** Oldest event within the reach of the snapshot (a maximal window and a season before the cutoff). */
    firstEventMs: timeMs.nullable(),
    newestEventMs: timeMs.nullable(),
    newestArrivalMs: timeMs.nullable(),
    /** Rows of the recent window before the cutoff, and of the same window one season before. */
    recent: count,
    recentSeasonBack: count,
    /** Hours that have rows, counted from the cutoff: (startMs, startMs + 1 h]. */
    hourly: z.array(
      z.object({
        startMs: timeMs,
        rows: count,
        positives: count,
        mature: z.boolean(),
        /** Repeats that were removed. */
        duplicates: count,
        /** Rows that arrived before they happened, and arrival minus event time in ms: median and 95 % quantile. */
        beforeEvent: count,
        lagP50Ms: timeMs.nullable(),
        lagP95Ms: timeMs.nullable(),
        /** Rows that had arrived within 1, 5, 15, 30, 60, 120 and 240 minutes after the end of the hour. */
        arrivedWithin: z.array(count).length(ARRIVAL_AGES_MS.length),
      }),
    ),
  }),
});
export type SnapshotManifest = z.infer<typeof snapshotManifestSchema>;
