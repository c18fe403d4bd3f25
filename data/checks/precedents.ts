import type { Profile } from '../profile/index.ts';
import type { CheckContext, Reference } from './check.ts';

/** What the line's earlier snapshots say of how much its data moves by itself. */
export interface Precedents {
  /** Neighbours in time at most a season and a half apart, and the two seasons before: what moved between them is usual. */
  pairs: { before: Reference; now: Reference }[];
  /** They span a season at least, and the fresh rows stretch over at most twice the time of those of the newest. */
  known: boolean;
}

/** How much the data moves is learned from pairs of earlier snapshots: a news feed has other articles every day. */
export function precedentsOf({ config, profile, references }: CheckContext): Precedents {
  const { season, earlierSeason, training, recent } = references;
  const all = [...recent, season, earlierSeason, training].filter((reference) => reference !== null);
  const distinct = new Map(all.map((reference) => [reference.snapshotIds.join(), reference]));
  const inOrder = [...distinct.values()].toSorted((a, b) => a.toMs - b.toMs);
  const seasonMs = config.snapshot.season;
  const pairs = inOrder.flatMap((now, index) => {
    const before = inOrder[index - 1];
    return before === undefined || now.toMs - before.toMs > 1.5 * seasonMs ? [] : [{ before, now }];
  });
  if (earlierSeason !== null && season !== null) pairs.push({ before: earlierSeason, now: season });
  const [oldest, newest] = [inOrder[0], inOrder.at(-1)];
  const spans = oldest !== undefined && newest !== undefined && newest.toMs - oldest.toMs >= seasonMs;
  const comparable = newest !== undefined && lengthOf(profile) <= 2 * lengthOf(newest.profile);
  return { pairs, known: spans && comparable };
}

function lengthOf(profile: Profile | null): number {
  return (profile?.toMs ?? 0) - (profile?.fromMs ?? 0);
}
