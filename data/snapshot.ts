import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { LineConfig } from '../config/schema.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from './duckdb.ts';
import { snapshotColumns } from './snapshot-columns.ts';
import { loadJoinedFeatures } from './snapshot-joins.ts';
import { snapshotManifestSchema, type FileRef, type SnapshotManifest } from './snapshot-manifest.ts';
import { countFeedback, countRows, profileFeatures, profileSource } from './snapshot-profile.ts';
import { addFeatures, assignParts, loadSource, removeDuplicates, type SnapshotTimes } from './snapshot-rows.ts';
import type { DataSource } from './sources/data-source.ts';
import { eventLogSource } from './sources/event-log-source.ts';

export { snapshotManifestSchema, type FileRef, type SnapshotManifest };

const PARTS = ['train', 'holdout', 'replay'] as const;

export interface SnapshotInput {
  config: LineConfig;
  cycleId: string;
  /**
   * Event time at which the snapshot is taken: it holds what had arrived before. Rows that arrive in this very
   * millisecond, which is long where the event clock stands still, are the next one's.
   */
  eventNowMs: number;
  /** The parent's training cutoff (its `splitMs`); null on a cold start. */
  sinceMs: number | null;
  /** Event time at which the parent's snapshot was taken; null on a cold start. */
  parentTakenAtMs: number | null;
  /** Root folder of the event log. */
  logRoot: string;
  /** Read instead of the event log. */
  source?: DataSource;
  /** Scratch space; what is written there is removed. */
  workDir: string;
  artifacts: Pick<ArtifactStore, 'put' | 'putFile'>;
  /** What `{log}` stands for in the paths of joined features. */
  tables: { log?: string };
}

/**
 * Freezes a line's newest labelled rows as Parquet files in the artifact store, with a manifest that accounts for every
 * row that was read. `snapshotId` is the sha256 of the manifest's JSON, which is stored too.
 *
 * Fresh rows are those of (sinceMs, eventNow - label maturity] that had arrived before eventNow, at most the newest `maxWindow`;
 * the newest `holdoutShare` of them is the holdout. Rows of before sinceMs that arrived only after the parent's snapshot
 * was taken train too, so that a stretch loaded late is not lost. The same source state, config and times give the same
 * bytes. No rows give a snapshot without files, for the checks to refuse.
 *
 * @throws DataError when the config's features can not be read from the data.
 */
export async function takeSnapshot(input: SnapshotInput): Promise<{ snapshotId: string; manifest: SnapshotManifest }> {
  const { config } = input;
  const times = snapshotTimes(input);
  await mkdir(input.workDir, { recursive: true });
  const folder = await mkdtemp(join(input.workDir, 'snapshot-'));
  const db = await openDuckDb({ tempDirectory: join(folder, 'spill') });
  try {
    await loadSource(db, { source: input.source ?? eventLogSource({ root: input.logRoot }), config, times });
    await removeDuplicates(db, { config, times });
    const { splitMs } = await assignParts(db, { config, times });
    const joined = await loadJoinedFeatures(db, {
      features: config.features,
      log: input.tables.log,
      fromMs: times.reachMs,
      toMs: times.eventNowMs,
    });
    await addFeatures(db, { features: config.features, joined });
    const here = { line: config.line, eventNowMs: times.eventNowMs };
    const counts = await countRows(db, here);
    const manifest: SnapshotManifest = {
      contractVersion: 1,
      line: config.line,
      cycleId: input.cycleId,
      eventNowMs: times.eventNowMs,
      maturityMs: config.label.maturity,
      windowStartMs: times.windowStartMs,
      cutoffMs: times.cutoffMs,
      splitMs,
      parentTakenAtMs: times.parentTakenAtMs,
      writer: await duckDbVersion(db),
      files: await writeFiles(db, { config, folder, artifacts: input.artifacts, counts }),
      counts,
      feedback: await countFeedback(db, here),
      features: await profileFeatures(db, config.features),
      source: await profileSource(db, { config, times }),
    };
    const { sha256 } = await input.artifacts.put(Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
    return { snapshotId: sha256, manifest };
  } finally {
    db.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function snapshotTimes(input: SnapshotInput): SnapshotTimes {
  const { maxWindow, season } = input.config.snapshot;
  const { recentWindow } = input.config.checks.freshness;
  const eventNowMs = Math.floor(input.eventNowMs);
  const cutoffMs = eventNowMs - input.config.label.maturity;
  const oldestMs = cutoffMs - maxWindow;
  return {
    eventNowMs,
    cutoffMs,
    oldestMs,
    windowStartMs: Math.max(input.sinceMs ?? oldestMs, oldestMs),
    reachMs: cutoffMs - Math.max(maxWindow, recentWindow) - season,
    parentTakenAtMs: input.sinceMs === null ? null : input.parentTakenAtMs,
  };
}

async function writeFiles(
  db: Duck,
  input: {
    config: LineConfig;
    folder: string;
    artifacts: SnapshotInput['artifacts'];
    counts: SnapshotManifest['counts'];
  },
): Promise<SnapshotManifest['files']> {
  const columns = snapshotColumns(input.config.features).map(
    ({ name, type }) => `CAST(${sqlName(name)} AS ${type}) AS ${sqlName(name)}`,
  );
  const files: SnapshotManifest['files'] = { train: [], holdout: [], replay: [] };
  for (const part of PARTS) {
    const rows = input.counts[part];
    if (rows === 0) continue;
    const path = join(input.folder, `${part}.parquet`);
    await db.run(`
      COPY (SELECT ${columns.join(', ')} FROM snapshot_rows WHERE part = '${part}' ORDER BY event_time_ms, impression_id)
      TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`);
    files[part] = [{ ...(await input.artifacts.putFile(path)), rows }];
  }
  return files;
}

async function duckDbVersion(db: Duck): Promise<string> {
  const { version } = await db.row('SELECT version() AS version', z.object({ version: z.string() }));
  return `DuckDB ${version}`;
}
