import { randomUUID } from 'node:crypto';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { evaluate, type EvaluationInput } from '../data/evaluation/evaluate.ts';
import { addExtensions } from '../data/evaluation/holdout-extension.ts';
import { sampleUsers } from '../data/evaluation/holdout-sample.ts';
import type { SnapshotManifest } from '../data/snapshot.ts';
import type { Evaluation } from '../policy/evaluation.ts';
import { count } from '../policy/figures.ts';
import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { INPUT_ORDER_VERSION, type CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';
import type { DataDependencies } from './dependencies.ts';
import { seenRows } from './seen-rows.ts';
import { localFiles, snapshotManifest, type SnapshotFiles } from './snapshot-files.ts';

export interface EvaluateChallengerInput {
  cycleId: string;
  snapshotId: string;
  modelSha256: string;
  /** Later snapshots whose fresh rows belong to the holdout, too. */
  extensions?: string[];
}

/**
 * Scores the challenger, and the champion anew, on the same rows of the snapshot's time-based holdout and of its extensions,
 * with intervals from a paired bootstrap clustered by user.
 */
export async function evaluateChallenger(deps: DataDependencies, input: EvaluateChallengerInput): Promise<Evaluation> {
  const cycle = await readCycle(deps.db, input.cycleId);
  const manifest = await snapshotManifest(deps.db, input.snapshotId);
  const signal = Context.current().cancellationSignal;
  const workDir = join(deps.workRoot, 'evaluations', encodeURIComponent(input.cycleId));
  const attempt = randomUUID();
  const extension = join(workDir, `${attempt}-extension.parquet`);
  const sample = join(workDir, `${attempt}-sample.parquet`);
  const beat = setInterval(() => {
    Context.current().heartbeat();
  }, 2_000);
  try {
    // Of an attempt that was cut off; at the end only what is this attempt's own goes, since the next one may be running.
    await rm(workDir, { recursive: true, force: true, maxRetries: 3 });
    await mkdir(workDir, { recursive: true });
    const files = await localFiles(deps.artifacts, manifest);
    const whole = await wholeHoldout(deps, { files, manifest, extensions: input.extensions ?? [], path: extension });
    const { maxRows } = cycle.config.evaluation;
    const sampled = await sampleUsers({ paths: whole, maxRows, path: sample });
    const given = {
      ...(await modelsOf(deps, cycle, input.modelSha256)),
      ...settingsOf(cycle),
      holdout: sampled === null ? whole : [sample],
      historical: files.historical,
      ...(asksForNovelty(cycle) && { seen: await seenRows(deps, { cycle, manifest }) }),
    };
    const evaluation = await evaluate(given, { signal });
    const notes = sampled === null ? [] : [sampledNote({ ...sampled, maxRows })];
    return { ...evaluation, notes: [...evaluation.notes, ...notes] };
  } finally {
    clearInterval(beat);
    for (const path of [extension, sample]) await rm(path, { force: true });
    await rmdir(workDir).catch(() => undefined);
  }
}

function sampledNote(numbers: { rows: number; kept: number; maxRows: number }): Reason {
  const { rows, kept, maxRows } = numbers;
  const message = `Of ${count(rows)} held-out rows, ${count(kept)} were evaluated: whole users, by a hash of their id (evaluation.maxRows: ${count(maxRows)}).`;
  return { code: 'evaluation.sampled', message, numbers };
}

async function modelsOf(
  deps: DataDependencies,
  { line, config, stableAtStart }: CycleRecord,
  modelSha256: string,
): Promise<Pick<EvaluationInput, 'challenger' | 'champion'>> {
  const challenger = { model: await deps.artifacts.path(modelSha256), features: config.features };
  if (stableAtStart === INPUT_ORDER_VERSION) return { challenger, champion: null };
  const {
    version,
    features,
    modelSha256: championSha256,
  } = await readVersion(deps.db, { line, version: stableAtStart });
  if (championSha256 === null) return { challenger, champion: null };
  return { challenger, champion: { version, features, model: await deps.artifacts.path(championSha256) } };
}

function settingsOf({
  config: { evaluation, gate, training },
}: CycleRecord): Pick<EvaluationInput, 'config' | 'judgedSlices' | 'replicates' | 'seed'> {
  return {
    config: evaluation,
    judgedSlices: [...gate.slices, ...gate.segmentGap].map(({ slice }) => slice),
    replicates: gate.replicates,
    seed: training.seed,
  };
}

const asksForNovelty = ({ config }: CycleRecord): boolean =>
  config.evaluation.slices.some((slice) => 'novelty' in slice);

/** The holdout's files, and one of the rows that the extensions add. */
async function wholeHoldout(
  deps: DataDependencies,
  {
    files,
    manifest,
    extensions,
    path,
  }: { files: SnapshotFiles; manifest: SnapshotManifest; extensions: readonly string[]; path: string },
): Promise<string[]> {
  const added: string[] = [];
  for (const snapshotId of extensions) {
    const { train, holdout } = await localFiles(deps.artifacts, await snapshotManifest(deps.db, snapshotId));
    added.push(...train, ...holdout);
  }
  if (added.length === 0) return files.holdout;
  const { holdout, train } = files;
  const rows = await addExtensions({ holdout, train, extensions: added, splitMs: manifest.splitMs, path });
  return rows === 0 ? holdout : [...holdout, path];
}
