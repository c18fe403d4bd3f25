import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DataDependencies } from '../../activities/dependencies.ts';
import { evaluateChallenger, type EvaluateChallengerInput } from '../../activities/evaluate-challenger.ts';
import { seenRows } from '../../activities/seen-rows.ts';
import { localFiles } from '../../activities/snapshot-files.ts';
import type { SnapshotManifest } from '../../data/snapshot.ts';
import type { Evaluation } from '../../policy/evaluation.ts';
import { claimCycle } from '../../store/cycles.ts';
import { applyLine } from '../../store/lines.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import type { Lineage } from '../../store/types.ts';
import { Feed, feedConfig, HOUR, START, temporaryFolder, type SnapshotRow } from '../data/feed.ts';
import { fixture } from '../data/evaluation/holdout-rows.ts';
import { createTestDatabase } from '../rig/database.ts';

const CYCLE = 'feed-9';
const config = feedConfig({
  features: [
    { kind: 'categorical', name: 'topic' },
    { kind: 'numeric', name: 'length' },
  ],
  evaluation: { sliceMinRows: 10, latencyCandidates: [1] },
  gate: { replicates: 200 },
});

interface Taken {
  snapshotId: string;
  manifest: SnapshotManifest;
}

let deps: DataDependencies;
let feed: Feed;
let modelSha256: string;
/** Snapshots of three cycles in a row, each trained on from the one before, and one that was taken later. */
let taken: [Taken, Taken, Taken, Taken];
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const cleanup = (clean: () => Promise<void>): void => void cleanups.push(clean);
  const database = await createTestDatabase();
  cleanup(() => database.drop());
  feed = await Feed.open(config, cleanup);
  const folder = await temporaryFolder(cleanup);
  deps = {
    ...{ db: database.db, artifacts: feed.artifacts, logger: pino({ level: 'silent' }), uiUrl: null },
    ...{ codeVersion: 'test', logRoot: feed.root, workRoot: folder, logTable: null, processEnv: {}, reportsUrl: null },
  };
  await applyLine(deps.db, { config, who: 'test' });
  await claimCycle(deps.db, {
    ...{ line: config.line, cycleId: CYCLE, workflowId: 'w', runId: 'r', trigger: 'test' },
    isRunOver: () => Promise.resolve(false),
  });
  const first = await take(8 * HOUR);
  const second = await take(12 * HOUR, first.manifest);
  const third = await take(16 * HOUR, second.manifest);
  taken = [first, second, third, await take(18 * HOUR, second.manifest)];
  modelSha256 = (await deps.artifacts.putFile(fixture('rising'))).sha256;
  // What is on record can not be changed: one version for each story.
  const { sha256: championSha256 } = await deps.artifacts.putFile(fixture('falling'));
  await addVersion(1, { parent: null, strategy: 'full', snapshotId: first.snapshotId }, championSha256);
  await addVersion(2, { parent: 1, strategy: 'warmStart', snapshotId: second.snapshotId }, championSha256);
  await addVersion(3, { parent: 1, strategy: 'full', snapshotId: second.snapshotId }, championSha256);
  await addVersion(4, { parent: 1, strategy: 'warmStart' }, championSha256);
  await deps.db.query('update cycles set parent = 2, stable_at_start = 2 where cycle_id = $1', [CYCLE]);
});

afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

async function take(atMs: number, parent?: SnapshotManifest): Promise<Taken> {
  await feed.playTo(START + atMs);
  const snapshot = await feed.snapshot({ cycleId: `feed-${String(atMs / HOUR)}`, ...(parent && { parent }) });
  await saveSnapshot(deps.db, { ...snapshot, line: config.line, cycleId: CYCLE });
  return snapshot;
}

async function addVersion(
  version: number,
  lineage: Pick<Lineage, 'parent' | 'strategy'> & { snapshotId?: string },
  sha256: string,
): Promise<void> {
  await deps.db.query(
    `insert into versions (line, version, status, parent, cycle_id, model_sha256, features, training_cutoff_ms, lineage)
     values ($1, $2, 'candidate', $3, '${CYCLE}', $4, $5, 1, $6)`,
    [config.line, version, lineage.parent, sha256, JSON.stringify(config.features), JSON.stringify(lineage)],
  );
}

const evaluateWith = (change: Partial<EvaluateChallengerInput> = {}): Promise<Evaluation> => {
  const input = { cycleId: CYCLE, snapshotId: taken[2].snapshotId, modelSha256, ...change };
  const environment = new MockActivityEnvironment();
  return environment.run<[], Evaluation, () => Promise<Evaluation>>(() => evaluateChallenger(deps, input));
};

const seen = (manifest: SnapshotManifest, parent: number | null = 2) =>
  seenRows(deps, { cycle: { line: config.line, parent }, manifest });

async function trainFiles(...snapshots: Taken[]): Promise<string[]> {
  const files = await Promise.all(snapshots.map(({ manifest }) => localFiles(deps.artifacts, manifest)));
  return files.flatMap(({ train, replay }) => [...train, ...replay]).sort();
}

describe('evaluateChallenger', () => {
  it('compares with the champion, on the holdout, with the settings of the cycle', async () => {
    const [first, second, third] = taken;
    const evaluation = await evaluateWith();
    expect(evaluation).toMatchObject({
      champion: 2,
      overall: { rows: third.manifest.counts.holdout, gain: { auc: { estimate: expect.any(Number) as number } } },
      ...{ notes: [], replicates: 200, seed: config.training.seed, latency: [{ candidates: 1 }] },
    });
    const users = new Set<string>();
    for (const { manifest } of [first, second, third])
      for (const part of ['train', 'replay'] as const)
        for (const row of await feed.rows(manifest, part)) users.add(row.user_id);
    const held = await feed.rows(third.manifest, 'holdout');
    const known = held.filter((row) => users.has(row.user_id)).length;
    const parts = evaluation.slices.filter(({ slice }) => slice === 'users');
    expect(Object.fromEntries(parts.map(({ value, rows }) => [value, rows]))).toEqual({
      ...(known > 0 && { known }),
      ...(known < held.length && { new: held.length - known }),
    });
  });

  it('adds the rows of extensions, each once and none that was trained on, and leaves no file behind', async () => {
    const [, , third, later] = taken;
    const { splitMs } = third.manifest;
    const fresh: SnapshotRow[] = [
      ...(await feed.rows(later.manifest, 'train')),
      ...(await feed.rows(later.manifest, 'holdout')),
      ...(await feed.rows(third.manifest, 'holdout')),
    ].filter(({ event_time_ms: timeMs }) => timeMs > splitMs);
    const distinct = new Set(fresh.map(({ impression_id: id }) => id));
    expect(distinct.size).toBeGreaterThan(third.manifest.counts.holdout);

    const { overall } = await evaluateWith({ extensions: [later.snapshotId, later.snapshotId] });
    expect(overall.rows).toBe(distinct.size);
    expect(await readdir(join(deps.workRoot, 'evaluations'))).toEqual([]);
  });

  it('evaluates a sample of the users of a holdout that is too large, and says so', async () => {
    const rows = taken[2].manifest.counts.holdout;
    const limit = Math.floor(rows / 2);
    const setLimit = (value: number) =>
      deps.db.query(`update cycles set config = jsonb_set(config, '{evaluation,maxRows}', $2) where cycle_id = $1`, [
        CYCLE,
        String(value),
      ]);
    await setLimit(limit);
    try {
      const { overall, notes } = await evaluateWith();
      expect(overall.rows).toBeLessThan(rows);
      expect(overall.users).toBeGreaterThan(0);
      expect(notes).toMatchObject([
        { code: 'evaluation.sampled', numbers: { rows, kept: overall.rows, maxRows: limit } },
      ]);
      expect(await readdir(join(deps.workRoot, 'evaluations'))).toEqual([]);
    } finally {
      await setLimit(config.evaluation.maxRows);
    }
  });

  it('leaves a slice by novelty out, with a note, when a file of a parent is gone', async () => {
    const [first] = taken;
    const path = (await localFiles(deps.artifacts, first.manifest)).train[0] ?? '';
    const content = await deps.artifacts.get(first.manifest.files.train[0]?.sha256 ?? '');
    await rm(path, { force: true });
    try {
      const { notes, slices } = await evaluateWith();
      expect(slices).toEqual([]);
      expect(notes.map(({ numbers }) => numbers?.['slice'])).toEqual(['users', 'items']);
      expect(notes[0]?.message).toMatch(/slice users is left out: artifact [0-9a-f]{64} is missing/);
    } finally {
      await deps.artifacts.put(content);
    }
  });
});

describe('the rows that a challenger has seen', () => {
  it('are those of its parents back to the last training in full', async () => {
    const [first, second, third] = taken;
    expect(await seen(third.manifest)).toEqual({
      kind: 'files',
      paths: expect.arrayContaining(await trainFiles(first, second, third)) as string[],
    });
    const found = await seen(third.manifest, 3);
    expect(found.kind === 'files' && [...found.paths].sort()).toEqual(await trainFiles(second, third));
  });

  it('are its own alone when it was trained in full, or from scratch', async () => {
    const { manifest } = taken[2];
    const own = { kind: 'files', paths: await trainFiles(taken[2]) };
    expect(await seen(manifest, null)).toEqual(own);
    expect(await seen({ ...manifest, replay: 'all' })).toEqual(own);
  });

  it('go back seven days', async () => {
    const [, , third] = taken;
    const week = 7 * 24 * HOUR;
    const later = { ...third.manifest, eventNowMs: taken[1].manifest.eventNowMs + week };
    const found = await seen(later);
    expect(found.kind === 'files' && [...found.paths].sort()).toEqual(await trainFiles(third));
    const earlier = await seen({ ...later, eventNowMs: later.eventNowMs - 1 });
    expect(earlier.kind === 'files' && [...earlier.paths].sort()).toEqual(await trainFiles(taken[1], third));
  });

  it('are lacking where a parent does not say what it was trained on, or there are too many', async () => {
    const { manifest } = taken[2];
    expect(await seen(manifest, 4)).toEqual({
      kind: 'lacking',
      why: 'it is not on record what version 4, a parent, was trained on',
    });
    const files = { ...manifest.files, train: manifest.files.train.map((file) => ({ ...file, bytes: 3e10 })) };
    expect(await seen({ ...manifest, files })).toMatchObject({
      kind: 'lacking',
      why: expect.stringMatching(/has 30.0 GB: at most 20.0 GB/) as string,
    });
  });
});
