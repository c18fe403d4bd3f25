import type { LineConfig } from '../config/schema.ts';

export const VERSION_PARTS = ['model', 'checkpoint', 'trainerManifest', 'predictions', 'result'] as const;
export type VersionPart = (typeof VERSION_PARTS)[number];
/** `outputs` are what a training left whose cycle registered no version. */
export const SNAPSHOT_PARTS = [
  ...(['manifest', 'train', 'replay', 'holdout', 'historical', 'unlabelled', 'profiles'] as const),
  'outputs',
] as const;
export type SnapshotPart = (typeof SNAPSHOT_PARTS)[number];

/** A version but the one that keeps the input's order. Times are Unix ms, operating time but for the first two. */
export interface RetainedVersion {
  version: number;
  parent: number | null;
  status: string;
  cycleId: string | null;
  /** Null where the lineage does not say. */
  snapshotId: string | null;
  /** Event times of the newest row that it was trained on, and when its snapshot was taken. */
  trainingCutoffMs: number | null;
  takenAtMs: number | null;
  createdAtMs: number;
  /** Whether its trainer was given the parent's checkpoint: without it the version can not be trained again. */
  fromParent: boolean;
  /** What its trainer says it did. */
  strategy: string | null;
  /** No row that was served before is new to it; null: not known. */
  newRowsFromMs: number | null;
  /** When it was last routed as stable, canary or shadow; `Infinity` now, null never. */
  lastRoutedMs: number | null;
}

/** Event times but for `createdAtMs`. */
export interface RetainedSnapshot {
  snapshotId: string;
  cycleId: string;
  createdAtMs: number;
  cutoffMs: number;
  /** Whether checks may compare others with it. */
  passed: boolean;
}

export interface RetentionFacts {
  nowMs: number;
  config: LineConfig['retention'];
  snapshot: Pick<LineConfig['snapshot'], 'season' | 'maxWindow'>;
  versions: readonly RetainedVersion[];
  snapshots: readonly RetainedSnapshot[];
  /** Versions that were stable, the latest first. */
  stables: readonly number[];
  pinned: readonly number[];
  aliases: readonly { alias: string; version: number }[];
  openCycles: readonly { cycleId: string; champion: number; parent: number | null; candidate: number | null }[];
  /** What a cycle that began now would train from; null: from scratch. */
  nextParent: number | null;
}

/** What stays of a line, with the first reason for each part. What is not in here may go. */
export interface Kept {
  versions: ReadonlyMap<number, ReadonlyMap<VersionPart, string>>;
  snapshots: ReadonlyMap<string, ReadonlyMap<SnapshotPart, string>>;
}

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
/** Checks read the profiles of the newest 6 before a snapshot; twice that leaves room for those that come meanwhile. */
const RECENT_PROFILES = 12;

/**
 * Decides what of a line's artifacts stays.
 *
 * Whole, with what training it again needs (its snapshots and its parent's checkpoint, which is enough: the parent itself
 * need not be trained again for it): what is or lately was routed, what open cycles work with, pinned and aliased versions,
 * and the last stables; one that was rolled back stays among them but takes no place of theirs. Whole by themselves: the
 * newest versions and the young ones; snapshots without a version by the same measure.
 *
 * In part: what the next cycle needs of any version that it may train from (`keepAsParent`), and what its checks compare with.
 */
export function decideRetention(facts: RetentionFacts): Kept {
  const keep = new Keep(facts);
  keepInUse(keep, facts);
  const parents = possibleParents(keep, facts);
  for (const { version, why } of parents) keepAsParent(keep, version, why);
  keepServed(keep, facts, parents);
  keepProfiles(keep, facts, parents);
  keepRecent(keep, facts);
  return keep;
}

class Keep implements Kept {
  readonly versions = new Map<number, Map<VersionPart, string>>();
  readonly snapshots = new Map<string, Map<SnapshotPart, string>>();
  readonly #versions: ReadonlyMap<number, RetainedVersion>;
  readonly #byCycle = new Map<string, string[]>();

  constructor(facts: RetentionFacts) {
    this.#versions = new Map(facts.versions.map((version) => [version.version, version]));
    for (const { cycleId, snapshotId } of facts.snapshots)
      this.#byCycle.set(cycleId, [...(this.#byCycle.get(cycleId) ?? []), snapshotId]);
  }

  find(version: number | null): RetainedVersion | undefined {
    return version === null ? undefined : this.#versions.get(version);
  }

  part(version: number | null, parts: readonly VersionPart[], why: string): void {
    if (version === null || this.find(version) === undefined) return;
    add(this.versions, { key: version, parts, why });
  }

  snapshot(snapshotId: string | null, parts: readonly SnapshotPart[], why: string): void {
    if (snapshotId !== null) add(this.snapshots, { key: snapshotId, parts, why });
  }

  /** All of a version and of what its cycle took. */
  whole(version: number | null, why: string): void {
    const found = this.find(version);
    if (found === undefined) return;
    this.part(version, VERSION_PARTS, why);
    this.snapshot(found.snapshotId, SNAPSHOT_PARTS, why);
    if (found.cycleId === null) return;
    for (const snapshotId of this.#byCycle.get(found.cycleId) ?? []) this.snapshot(snapshotId, SNAPSHOT_PARTS, why);
  }

  /** And what training it again needs besides. */
  reproducible(version: number | null, why: string): void {
    this.whole(version, why);
    const found = this.find(version);
    if (found?.fromParent) this.part(found.parent, ['checkpoint'], `version ${found.version}, trained from it, ${why}`);
  }
}

function add<Key, Part>(
  kept: Map<Key, Map<Part, string>>,
  { key, parts, why }: { key: Key; parts: readonly Part[]; why: string },
): void {
  const reasons = kept.get(key) ?? new Map<Part, string>();
  kept.set(key, reasons);
  for (const part of parts) if (!reasons.has(part)) reasons.set(part, why);
}

function keepInUse(keep: Keep, facts: RetentionFacts): void {
  const { nowMs, versions, openCycles, aliases, pinned } = facts;
  for (const { version, lastRoutedMs } of versions) {
    if (lastRoutedMs === Infinity) keep.reproducible(version, 'is routed');
  }
  for (const { cycleId, champion, parent, candidate } of openCycles) {
    for (const version of [candidate, champion, parent]) keep.reproducible(version, `is used by open cycle ${cycleId}`);
    for (const snapshot of facts.snapshots) {
      if (snapshot.cycleId === cycleId)
        keep.snapshot(snapshot.snapshotId, SNAPSHOT_PARTS, `is used by open cycle ${cycleId}`);
    }
  }
  for (const version of pinned) keep.reproducible(version, 'is pinned');
  for (const { alias, version } of aliases) keep.reproducible(version, `is called ${alias}`);
  for (const version of lastStables(keep, facts)) {
    keep.reproducible(version, `is one of the last ${facts.config.stables} stables`);
  }
  for (const { version, lastRoutedMs } of versions) {
    // Gateways that lost Postgres, and tokens, are of the last minutes and hours.
    if (lastRoutedMs !== null && lastRoutedMs >= nowMs - DAY_MS) keep.reproducible(version, 'was routed within a day');
  }
}

function lastStables(keep: Keep, { stables, config }: RetentionFacts): number[] {
  const chosen: number[] = [];
  let places = config.stables;
  for (const version of stables) {
    const found = keep.find(version);
    if (found === undefined) continue;
    if (places === 0) break;
    chosen.push(version);
    if (found.status !== 'rolledBack') places -= 1;
  }
  return chosen;
}

interface PossibleParent {
  version: RetainedVersion;
  why: string;
}

/**
 * What the next cycle may train from: the champion, its clean ancestor, what open cycles have, what a rollback would put
 * back; and of each the newest version that was trained whole, from which whole cycles go on after online updates.
 */
function possibleParents(keep: Keep, facts: RetentionFacts): PossibleParent[] {
  const open = facts.openCycles.flatMap(({ champion, parent }) => [champion, parent]);
  const found = new Map<number, PossibleParent>();
  for (const number of [facts.nextParent, ...open, ...lastStables(keep, facts)]) {
    const version = keep.find(number);
    if (version === undefined) continue;
    const whole = newestWhole(keep, version);
    for (const parent of [version, whole]) {
      const why =
        parent === version
          ? `the next cycle may train from version ${version.version}`
          : `the next cycle may train from version ${parent.version}, the last whole one before version ${version.version}`;
      if (!found.has(parent.version)) found.set(parent.version, { version: parent, why });
    }
  }
  return [...found.values()];
}

function newestWhole(keep: Keep, version: RetainedVersion): RetainedVersion {
  for (let at: RetainedVersion | undefined = version; at !== undefined; at = keep.find(at.parent)) {
    if (at.strategy !== 'online' && (at.status !== 'rolledBack' || at === version)) return at;
  }
  return version;
}

/**
 * Of a version that may become a parent: its checkpoint; the historical holdout, which the next snapshot carries on, and
 * the profiles of its snapshot; and, back to its training in full or a week, the rows that it and its parents were trained
 * on, by which an evaluation tells what is new to it (activities/seen-rows.ts).
 */
function keepAsParent(keep: Keep, parent: RetainedVersion, why: string): void {
  keep.part(parent.version, ['checkpoint'], why);
  keep.snapshot(parent.snapshotId, ['manifest', 'historical', 'profiles'], why);
  const reachMs = (parent.takenAtMs ?? -Infinity) - WEEK_MS;
  for (let at: RetainedVersion | undefined = parent; at !== undefined; at = keep.find(at.parent)) {
    if (at !== parent && at.takenAtMs !== null && at.takenAtMs <= reachMs) break;
    keep.snapshot(at.snapshotId, ['manifest', 'train', 'replay'], `${why}: rows that it has seen`);
    if (at.strategy === 'full') break;
  }
}

/** Models whose scores the next snapshot holds: a check scores its rows again. */
function keepServed(keep: Keep, { versions }: RetentionFacts, parents: readonly PossibleParent[]): void {
  const fromMs = Math.min(...parents.map(({ version }) => version.newRowsFromMs ?? Infinity));
  for (const { version, lastRoutedMs } of versions) {
    if (lastRoutedMs !== null && lastRoutedMs >= fromMs)
      keep.part(version, ['model'], 'the next snapshot has rows that it scored');
  }
}

/** Profiles that the next snapshots are compared with: two seasons and a week before their windows, and the newest. */
function keepProfiles(
  keep: Keep,
  { snapshot, snapshots, nextParent }: RetentionFacts,
  parents: readonly PossibleParent[],
): void {
  const passed = snapshots.filter(({ passed }) => passed).toSorted((a, b) => b.cutoffMs - a.cutoffMs);
  const newestMs = passed[0]?.cutoffMs ?? 0;
  const cutoffs = parents.map(({ version }) => version.trainingCutoffMs ?? newestMs - snapshot.maxWindow);
  // Without a parent the window is as long as it may be.
  if (nextParent === null) cutoffs.push(newestMs - snapshot.maxWindow);
  const fromMs = Math.min(...cutoffs) - Math.max(2 * snapshot.season, WEEK_MS);
  for (const [index, { snapshotId, cutoffMs }] of passed.entries()) {
    if (index < RECENT_PROFILES || cutoffMs > fromMs)
      keep.snapshot(snapshotId, ['profiles'], 'checks compare the next snapshots with it');
  }
}

function keepRecent(keep: Keep, { nowMs, config, versions, snapshots }: RetentionFacts): void {
  const youngMs = nowMs - config.for;
  for (const [index, { version }] of versions.toSorted((a, b) => b.version - a.version).entries()) {
    if (index < config.versions) keep.whole(version, `is one of the newest ${config.versions}`);
  }
  for (const { version, createdAtMs } of versions) if (createdAtMs >= youngMs) keep.whole(version, 'is young');
  const taken = new Set(versions.map(({ cycleId }) => cycleId));
  const fruitless = snapshots.filter(({ cycleId }) => !taken.has(cycleId));
  for (const [index, snapshot] of fruitless.toSorted((a, b) => b.createdAtMs - a.createdAtMs).entries()) {
    const { snapshotId, createdAtMs } = snapshot;
    if (index < config.versions)
      keep.snapshot(snapshotId, SNAPSHOT_PARTS, `is one of the newest ${config.versions} without a version`);
    if (createdAtMs >= youngMs) keep.snapshot(snapshotId, SNAPSHOT_PARTS, 'is young');
  }
}
