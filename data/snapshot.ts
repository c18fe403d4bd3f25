import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { LineConfig } from '../config/schema.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from './duckdb.ts';
import { snapshotColumns } from './snapshot-columns.ts';
import { countFeedback, countRows, countSource } from './snapshot-counts.ts';
import { describeHistorical, planHistorical, type HistoricalPlan } from './snapshot-historical.ts';
import { loadJoinedFeatures } from './snapshot-joins.ts';
import { labelRows, measureMaturity } from './snapshot-labels.ts';
import { snapshotManifestSchema, type FileRef, type SnapshotManifest } from './snapshot-manifest.ts';
import { assignParts, type Replay } from './snapshot-parts.ts';
import { profileFeatures, profileSource, storeProfiles } from './snapshot-profile.ts';
import { addFeatures, loadSource, removeDuplicates } from './snapshot-rows.ts';
import { snapshotReach, snapshotTimes, type ParentSnapshot, type TaintedWindow } from './snapshot-times.ts';
import type { DataSource } from './sources/data-source.ts';

export { snapshotManifestSchema, type FileRef, type ParentSnapshot, type SnapshotManifest };

/** Files of a snapshot, by what is in them. */
export const SNAPSHOT_FILES = ['train', 'holdout', 'replay', 'historical', 'unlabelled'] as const;

export interface SnapshotInput {
  config: LineConfig;
  /** Names of those of its features that only the champion still takes. */
  dropped?: readonly string[];
  cycleId: string;
  /**
   * Event time at which the snapshot is taken: it holds what had arrived before. Rows that arrive in this very
   * millisecond, which is long where the event clock stands still, are the next one's.
   */
  eventNowMs: number;
  /** The parent's training cutoff (its `splitMs`); null on a cold start. */
  sinceMs: number | null;
  /** What the parent trained on; null on a cold start, or when it is not on record. */
  parent: ParentSnapshot | null;
  /** The champion's training cutoff where it is not the parent: what it was trained on is no holdout. */
  championCutoffMs?: number | null;
  /**
   * For more rows to test a challenger on: all fresh rows are the holdout, but those of requests that had begun by
   * `splitMs`, up to which it was trained. Nothing trains, nothing is late or replayed, and `parent` is null.
   */
  extends?: { snapshotId: string; splitMs: number };
  /** What replay holds: a share of the training rows, or for a training in full all of history. A sample when left out. */
  replay?: Replay;
  /** Event times of rows that were found bad: they go nowhere. */
  taintedWindows?: readonly TaintedWindow[];
  source: DataSource;
  /** Scratch space; what is written there is removed. */
  workDir: string;
  artifacts: Pick<ArtifactStore, 'put' | 'putFile'>;
  /** What `{log}` stands for in the paths of joined features. */
  tables: { log?: string };
  /** The result does not depend on it. A second one took a third more processor time on 100,000 to 750,000 rows, hence 1. */
  threads?: number;
}

/**
 * Freezes a line's newest labelled rows as Parquet files in the artifact store, with a manifest that accounts for every
 * row that was read. `snapshotId` is the sha256 of the manifest's JSON, which is stored too.
 *
 * Fresh rows are those of (sinceMs, eventNow - label maturity] that had arrived before eventNow, at most the newest `maxWindow`;
 * the newest `holdoutShare` of them is the holdout. Rows of before sinceMs that arrived only after the parent's snapshot
 * was taken train too, so that a stretch loaded late is not lost; also when they are younger than a maturity that has grown.
 *
 * The replay is a share of the training rows, drawn evenly from history, or with `replay: 'all'` the history within
 * `maxWindow` (at most `maxTrainRows` of it, whole requests by hash). Neither changes what is fresh and what is held out.
 *
 * With a proxy label rows train from the proxy's maturity on. When their true label is in, those whose proxy was wrong
 * train once more. The holdout then has the proxy, too: it is the newest rows that neither champion nor challenger has
 * seen, and both are measured by the same labels. What the proxy gets wrong shows on the historical holdout, which has
 * true labels only.
 *
 * With `extends` every fresh row is held out: see there. The window of the next snapshot to train on does not change by it.
 *
 * The same source state, config, times and parent give the same bytes, whatever the threads and the order of the source's
 * files. No rows give a snapshot without files, for the checks to refuse.
 *
 * @throws DataError when the config's features can not be read from the data; Error when the source can not be reached, or
 * the numbers of rows do not add up.
 */
export async function takeSnapshot(input: SnapshotInput): Promise<{ snapshotId: string; manifest: SnapshotManifest }> {
  await mkdir(input.workDir, { recursive: true });
  const folder = await mkdtemp(join(input.workDir, 'snapshot-'));
  const db = await openDuckDb({ threads: input.threads ?? 1, tempDirectory: join(folder, 'spill') });
  try {
    const manifest = await buildSnapshot(db, { ...input, folder });
    const { sha256 } = await input.artifacts.put(Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
    return { snapshotId: sha256, manifest };
  } finally {
    db.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function buildSnapshot(db: Duck, input: SnapshotInput & { folder: string }): Promise<SnapshotManifest> {
  const { config, cycleId, sinceMs, taintedWindows = [], artifacts, championCutoffMs = null } = input;
  // A cold start has no history: its window is all there is.
  const replay = sinceMs === null ? 'sample' : (input.replay ?? 'sample');
  const reach = snapshotReach(config, input.eventNowMs);
  const reading = await loadSource(db, { dropped: input.dropped ?? [], source: input.source, config, reach });
  const here = { line: config.line, eventNowMs: reach.eventNowMs };
  const [sourceCounts, feedback] = [await countSource(db, here), await countFeedback(db, here)];
  await removeDuplicates(db, { config, reach });

  const maturity = await measureMaturity(db, { label: config.label, reach });
  const times = snapshotTimes({ config, reach, maturityMs: maturity.maturityMs, sinceMs, parent: input.parent });
  await labelRows(db, { label: config.label, times });

  const plan: HistoricalPlan = input.extends
    ? { kind: 'off' }
    : planHistorical({ config, parent: times.parent, taintedWindows });
  const { splitMs } = await assignParts(db, {
    config,
    times,
    taintedWindows,
    freezeHistorical: plan.kind === 'freeze',
    championCutoffMs,
    testsOnly: input.extends ?? null,
    replay,
  });
  const joined = await loadJoinedFeatures(db, {
    features: config.features,
    dropped: input.dropped ?? [],
    log: input.tables.log,
    fromMs: times.reachMs,
    toMs: times.eventNowMs,
  });
  await addFeatures(db, { features: config.features, joined });

  return {
    contractVersion: 2,
    line: config.line,
    cycleId,
    ...(input.extends && { extends: input.extends.snapshotId }),
    eventNowMs: times.eventNowMs,
    maturityMs: maturity.maturityMs,
    label: {
      delays: maturity.delays,
      maturityFrom: maturity.maturityFrom,
      trueCutoffMs: config.label.proxy === undefined ? null : times.trueCutoffMs,
    },
    windowStartMs: times.windowStartMs,
    cutoffMs: times.cutoffMs,
    splitMs,
    replay,
    parentTakenAtMs: times.parent?.eventNowMs ?? null,
    writer: await duckDbVersion(db),
    counts: await countRows(db, sourceCounts),
    files: await writeFiles(db, { ...input, plan }),
    historical: await describeHistorical(db, { plan, config, cycleId, eventNowMs: times.eventNowMs }),
    profiles: await storeProfiles(db, { config, artifacts }),
    feedback,
    features: await profileFeatures(db, config.features),
    source: await profileSource(db, { config, times, reading }),
  };
}

async function writeFiles(
  db: Duck,
  input: { config: LineConfig; folder: string; artifacts: SnapshotInput['artifacts']; plan: HistoricalPlan },
): Promise<SnapshotManifest['files']> {
  const columns = snapshotColumns(input.config.features).map(
    ({ name, type }) => `CAST(${sqlName(name)} AS ${type}) AS ${sqlName(name)}`,
  );
  const sizes = await db.rows(
    'SELECT "#file" AS file, count(*) AS rows FROM snapshot_rows GROUP BY file',
    z.object({ file: z.enum(SNAPSHOT_FILES), rows: z.number() }),
  );
  const files: SnapshotManifest['files'] = { train: [], holdout: [], replay: [], historical: [], unlabelled: [] };
  for (const name of SNAPSHOT_FILES) {
    const rows = sizes.find(({ file }) => file === name)?.rows ?? 0;
    if (rows === 0) continue;
    const path = join(input.folder, `${name}.parquet`);
    await db.run(`
      COPY (SELECT ${columns.join(', ')} FROM snapshot_rows WHERE "#file" = '${name}' ORDER BY event_time_ms, impression_id)
      TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`);
    files[name] = [{ ...(await input.artifacts.putFile(path)), rows }];
  }
  if (input.plan.kind === 'carry') files.historical = input.plan.files;
  return files;
}

async function duckDbVersion(db: Duck): Promise<string> {
  const { version } = await db.row('SELECT version() AS version', z.object({ version: z.string() }));
  return `DuckDB ${version}`;
}
