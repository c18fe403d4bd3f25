import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { z } from 'zod';
import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../config/schema.ts';
import { openDuckDb, sqlText } from '../../data/duckdb.ts';
import type { FeedbackRecord, ImpressionRecord } from '../../data/event-log/records.ts';
import { openEventLogWriter, type EventLogWriter } from '../../data/event-log/writer.ts';
import type { References } from '../../data/checks/check.ts';
import { runChecks, type CheckReport, type CheckResult, type ChecksInput } from '../../data/checks/run-checks.ts';
import { parseProfile, type Profile } from '../../data/profile/index.ts';
import { takeSnapshot, type SnapshotInput, type SnapshotManifest } from '../../data/snapshot.ts';
import { eventLogSource } from '../../data/sources/event-log-source.ts';
import { openLocalArtifacts, type ArtifactStore } from '../../store/artifacts.ts';

export const HOUR = 3_600_000;
export const MINUTE = 60_000;
/** Midnight of a day in UTC: where every feed of the tests begins. */
export const START = Date.UTC(2026, 0, 5);
export const NO_REFERENCES: References = { training: null, season: null, earlierSeason: null, week: null, recent: [] };
const STEP = 10 * MINUTE;
const CLICK_DELAY = 5 * MINUTE;

export function feedConfig(overrides: Partial<LineConfigInput> = {}): LineConfig {
  return lineConfigSchema.parse({
    line: 'feed',
    label: { maturity: '30m', maturityFrom: 'config' },
    features: [
      { kind: 'categorical', name: 'topic' },
      { kind: 'numeric', name: 'length', transform: 'log1p' },
    ],
    ...overrides,
    // Without a reserve, every row of a test's feed goes where the test expects it.
    snapshot: { minRows: 200, historicalRows: 0, ...overrides.snapshot },
  });
}

/** When to clean up: after the test, unless a fixture lives longer. */
export type Cleanup = (clean: () => Promise<void>) => void;

export async function temporaryFolder(cleanup: Cleanup = onTestFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-data-'));
  cleanup(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Impression number n of a feed; every third is clicked. */
export function impression(n: number, overrides: Partial<ImpressionRecord> = {}): ImpressionRecord {
  const eventTimeMs = overrides.eventTimeMs ?? START + n * MINUTE;
  return {
    impressionId: `token${String(n)}.0`,
    requestId: `request-${String(n)}`,
    line: 'feed',
    userId: `user-${String(n % 50)}`,
    itemId: `item-${String(n % 17)}`,
    eventTimeMs,
    arrivedAtMs: eventTimeMs,
    position: 0,
    version: 1,
    arm: 'stable',
    propensity: 1,
    score: 0.25,
    features: { topic: String((n % 7) + 1), length: (n * 37) % 101 },
    ...overrides,
  };
}

export function clickOn(shown: ImpressionRecord, overrides: Partial<FeedbackRecord> = {}): FeedbackRecord {
  const eventTimeMs = shown.eventTimeMs + CLICK_DELAY;
  return {
    impressionId: shown.impressionId,
    line: shown.line,
    event: 'click',
    value: null,
    eventTimeMs,
    arrivedAtMs: eventTimeMs,
    ...overrides,
  };
}

/** Traffic that is written through a real writer whose clock is event time, sealed every ten minutes of it. */
export class Feed {
  readonly root: string;
  readonly config: LineConfig;
  readonly artifacts: ArtifactStore;
  readonly #writer: EventLogWriter;
  readonly #clock: { now: number };
  #count = 0;
  #clicks: FeedbackRecord[] = [];

  private constructor(input: { root: string; config: LineConfig; writer: EventLogWriter; clock: { now: number } }) {
    this.root = input.root;
    this.config = input.config;
    this.#writer = input.writer;
    this.#clock = input.clock;
    this.artifacts = openLocalArtifacts(join(input.root, '..', 'artifacts'));
  }

  static async open(config: LineConfig = feedConfig(), cleanup: Cleanup = onTestFinished): Promise<Feed> {
    const root = join(await temporaryFolder(cleanup), 'log');
    const clock = { now: START };
    const writer = await openEventLogWriter({
      root,
      processId: 'gateway-1',
      sealEveryMs: 3_600_000,
      eventNow: () => clock.now,
    });
    cleanup(() => writer.close());
    return new Feed({ root, config, writer, clock });
  }

  get now(): number {
    return this.#clock.now;
  }

  /** Plays on until a time: one impression a minute, or as many as said. */
  async playTo(toMs: number, perStep = 10): Promise<void> {
    while (this.#clock.now < toMs) {
      const from = this.#clock.now;
      for (let i = 0; i < perStep; i += 1) {
        const shown = impression(this.#count, { eventTimeMs: Math.floor(from + ((i + 0.5) * STEP) / perStep) });
        this.#writer.appendImpressions([shown]);
        if (this.#count % 3 === 0) this.#clicks.push(clickOn(shown));
        this.#count += 1;
      }
      this.#clock.now = Math.min(toMs, from + STEP);
      this.#writer.appendFeedback(this.#clicks.filter(({ eventTimeMs }) => eventTimeMs <= this.#clock.now));
      this.#clicks = this.#clicks.filter(({ eventTimeMs }) => eventTimeMs > this.#clock.now);
      await this.#writer.flush();
    }
    // The last seal arrived in this millisecond; a snapshot sees what arrived before.
    this.#clock.now += 1;
  }

  /** Writes records of a test's own, sealed now. */
  async write(impressions: ImpressionRecord[], feedback: FeedbackRecord[] = []): Promise<void> {
    this.#writer.appendImpressions(impressions);
    this.#writer.appendFeedback(feedback);
    await this.#writer.flush();
    this.#clock.now += 1;
  }

  /** Lets the writer look at the hold again. */
  async seal(): Promise<void> {
    await this.#writer.flush();
    this.#clock.now += 1;
  }

  async snapshot(
    overrides: Partial<Omit<SnapshotInput, 'parent'>> & { parent?: SnapshotManifest } = {},
  ): Promise<{ snapshotId: string; manifest: SnapshotManifest }> {
    const { parent, ...rest } = overrides;
    return takeSnapshot({
      config: this.config,
      cycleId: 'feed-1',
      eventNowMs: this.#clock.now,
      sinceMs: parent?.splitMs ?? null,
      parent: parent ?? null,
      source: eventLogSource({ root: this.root }),
      workDir: join(this.root, '..', 'work'),
      artifacts: this.artifacts,
      tables: {},
      ...rest,
    });
  }

  /** Without references and without rescoring, unless they are given. */
  async check(manifest: SnapshotManifest, overrides: Partial<ChecksInput> = {}): Promise<CheckReport> {
    return runChecks({
      config: this.config,
      manifest,
      files: await localFiles(this.artifacts, manifest),
      profiles: {
        fresh: await this.profile(manifest, 'fresh'),
        unlabelled: await this.profile(manifest, 'unlabelled'),
      },
      references: NO_REFERENCES,
      rescore: null,
      nowMs: START,
      ...overrides,
    });
  }

  async profile(manifest: SnapshotManifest, of: keyof SnapshotManifest['profiles']): Promise<Profile | null> {
    const ref = manifest.profiles[of];
    return ref === null ? null : parseProfile(await this.artifacts.get(ref.sha256));
  }

  /** Rows of one part of a snapshot, in the file's order. */
  async rows(manifest: SnapshotManifest, part: keyof SnapshotManifest['files']): Promise<SnapshotRow[]> {
    const paths = (await localFiles(this.artifacts, manifest))[part];
    if (paths.length === 0) return [];
    const db = await openDuckDb();
    try {
      return await db.rows(`SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}])`, snapshotRow);
    } finally {
      db.close();
    }
  }
}

const snapshotRow = z.looseObject({
  impression_id: z.string(),
  request_id: z.string(),
  user_id: z.string(),
  event_time_ms: z.number(),
  /** Null in the unlabelled rows only. */
  label: z.number().nullable(),
});
export type SnapshotRow = z.infer<typeof snapshotRow>;

export async function localFiles(
  artifacts: ArtifactStore,
  manifest: SnapshotManifest,
): Promise<Record<keyof SnapshotManifest['files'], string[]>> {
  const paths = (part: keyof SnapshotManifest['files']): Promise<string[]> =>
    Promise.all(manifest.files[part].map(({ sha256 }) => artifacts.path(sha256)));
  return {
    train: await paths('train'),
    holdout: await paths('holdout'),
    replay: await paths('replay'),
    historical: await paths('historical'),
    unlabelled: await paths('unlabelled'),
  };
}

export function resultOf(report: CheckReport, check: CheckResult['check']): CheckResult {
  const found = report.results.find((result) => result.check === check);
  if (found === undefined) throw new Error(`the report has no result of ${check}`);
  return found;
}
