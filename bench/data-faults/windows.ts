import { join } from 'node:path';
import type { LineConfig } from '../../config/schema.ts';
import type { CheckReport, Reference, References } from '../../data/checks/check.ts';
import {
  chooseReferences,
  freshFromMs,
  loadReferences,
  referenceTo,
  type LoadedSnapshot,
} from '../../data/checks/references.ts';
import { runChecks } from '../../data/checks/run-checks.ts';
import { parseProfile, type Profile } from '../../data/profile/index.ts';
import { takeSnapshot, type SnapshotManifest } from '../../data/snapshot.ts';
import { sourceOf } from '../../data/sources/index.ts';
import { openLocalArtifacts, type ArtifactStore } from '../../store/artifacts.ts';
import type { Scorer } from './scorer.ts';

export const HOUR_MS = 3_600_000;
/** A cycle. */
export const CYCLE_MS = 4 * HOUR_MS;

export interface TakenSnapshot {
  id: string;
  manifest: SnapshotManifest;
  report: CheckReport;
}

/** Local paths of a snapshot's Parquet files. */
export type SnapshotPaths = Record<keyof SnapshotManifest['files'], string[]>;

/** What every snapshot of the benchmark needs. */
export interface Bench {
  folder: string;
  artifacts: ArtifactStore;
  scorer: Scorer;
}

export function openBench(folder: string, scorer: Scorer): Bench {
  return { folder, artifacts: openLocalArtifacts(join(folder, 'artifacts')), scorer };
}

export interface CycleInput {
  config: LineConfig;
  nowMs: number;
  /** The cycle before, whether its snapshot passed or not; null on a cold start. */
  parent: TakenSnapshot | null;
  /** Snapshots of the line that passed, newest first. */
  passed: readonly TakenSnapshot[];
  /** Changes what the checks read after the snapshot was taken. */
  tamper?: (taken: { manifest: SnapshotManifest; files: SnapshotPaths }) => Promise<{
    manifest: SnapshotManifest;
    files: SnapshotPaths;
  }>;
}

/**
 * Takes a snapshot as a cycle would and runs every check on it, compared with what a cycle would compare it with.
 *
 * @throws DataError when the source refuses to be read: such a cycle is skipped.
 */
export async function runCycle(bench: Bench, input: CycleInput): Promise<TakenSnapshot> {
  const { config, nowMs, parent, passed } = input;
  const { artifacts } = bench;
  const { snapshotId, manifest } = await takeSnapshot({
    config,
    cycleId: `${config.line}-${String(nowMs)}`,
    eventNowMs: nowMs,
    sinceMs: parent?.manifest.splitMs ?? null,
    parent: parent?.manifest ?? null,
    source: sourceOf(config, { logRoot: bench.folder, processEnv: {} }),
    workDir: join(bench.folder, 'work'),
    artifacts,
    tables: {},
  });
  const taken = { manifest, files: await localFiles(artifacts, manifest) };
  const checked = input.tamper === undefined ? taken : await input.tamper(taken);
  const report = await runChecks({
    config,
    ...checked,
    profiles: {
      fresh: await readProfile(artifacts, manifest.profiles.fresh),
      unlabelled: await readProfile(artifacts, manifest.profiles.unlabelled),
    },
    references: await referencesOf(artifacts, { config, manifest, parent, passed }),
    rescore: bench.scorer.rescore,
    nowMs,
  });
  return { id: snapshotId, manifest, report };
}

/**
 * One line's cycles, every four hours. References are chosen among those that passed; the next cycle goes on from this one even
 * when it was blocked, so that every window is four hours.
 */
export async function runChain(
  bench: Bench,
  input: { config: LineConfig; times: readonly number[] },
): Promise<TakenSnapshot[]> {
  const chain: TakenSnapshot[] = [];
  for (const nowMs of input.times) {
    const passed = passedBefore(chain);
    chain.push(await runCycle(bench, { config: input.config, nowMs, parent: chain.at(-1) ?? null, passed }));
  }
  return chain;
}

/** Newest first. */
export function passedBefore(chain: readonly TakenSnapshot[]): TakenSnapshot[] {
  return chain.filter(({ report }) => report.verdict === 'pass').toReversed();
}

async function localFiles(artifacts: ArtifactStore, manifest: SnapshotManifest): Promise<SnapshotPaths> {
  const paths = (part: keyof SnapshotPaths): Promise<string[]> =>
    Promise.all(manifest.files[part].map(({ sha256 }) => artifacts.path(sha256)));
  return {
    train: await paths('train'),
    holdout: await paths('holdout'),
    replay: await paths('replay'),
    historical: await paths('historical'),
    unlabelled: await paths('unlabelled'),
  };
}

async function readProfile(artifacts: ArtifactStore, ref: { sha256: string } | null): Promise<Profile | null> {
  return ref === null ? null : parseProfile(await artifacts.get(ref.sha256));
}

async function referencesOf(
  artifacts: ArtifactStore,
  input: Pick<CycleInput, 'config' | 'parent' | 'passed'> & { manifest: SnapshotManifest },
): Promise<References> {
  const { config, manifest, parent, passed } = input;
  const known = new Map([...passed, ...(parent === null ? [] : [parent])].map((taken) => [taken.id, taken]));
  const load = async (ids: readonly string[]): Promise<Reference | null> => {
    const loaded: LoadedSnapshot[] = [];
    for (const { id, manifest: one, report } of ids.flatMap((wanted) => known.get(wanted) ?? [])) {
      const profile = await readProfile(artifacts, one.profiles.fresh);
      if (profile !== null) loaded.push({ snapshotId: id, manifest: one, profile, report });
    }
    return referenceTo(loaded);
  };
  const chosen = chooseReferences({
    window: manifest,
    seasonMs: config.snapshot.season,
    earlier: passed.map(({ id, manifest: one }) => ({
      snapshotId: id,
      windowStartMs: freshFromMs(one),
      cutoffMs: one.cutoffMs,
    })),
    trainedOn: parent?.id ?? null,
  });
  return loadReferences(chosen, load);
}
