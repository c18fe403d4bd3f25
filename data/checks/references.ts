/** What is needed of an earlier snapshot of the line to choose what to compare with. Times are Unix ms of event time. */
export interface EarlierSnapshot {
  snapshotId: string;
  windowStartMs: number;
  cutoffMs: number;
}

export interface ChosenReferences {
  training: string | null;
  /** Together, in the order given. */
  season: string[];
  earlierSeason: string[];
  week: string[];
  recent: string[];
}

const WEEK_MS = 7 * 86_400_000;
const RECENT = 6;

/**
 * Chooses what a snapshot's fresh rows are compared with among earlier snapshots that passed their checks: those whose
 * fresh windows cover the same phase one season, two seasons and one week back, what the champion was trained on, and the newest ones
 * for trends. A snapshot covers a window when at least half of the shorter of the two lies in both.
 *
 * @param input.earlier newest first; `input.trainedOn` need not be among them.
 */
export function chooseReferences(input: {
  window: { windowStartMs: number; cutoffMs: number };
  seasonMs: number;
  earlier: readonly EarlierSnapshot[];
  trainedOn: string | null;
}): ChosenReferences {
  const { window, seasonMs, earlier, trainedOn } = input;
  const back = (ms: number): string[] => earlier.filter(covers(window, ms)).map(({ snapshotId }) => snapshotId);
  const season = back(seasonMs);
  return {
    training: trainedOn,
    season,
    // A long snapshot may cover both: then nothing is known of what happened between them.
    earlierSeason: back(2 * seasonMs).filter((id) => !season.includes(id)),
    week: seasonMs === WEEK_MS ? [] : back(WEEK_MS),
    recent: earlier.slice(0, RECENT).map(({ snapshotId }) => snapshotId),
  };
}

function covers(window: { windowStartMs: number; cutoffMs: number }, backMs: number) {
  const from = window.windowStartMs - backMs;
  const to = window.cutoffMs - backMs;
  return ({ windowStartMs, cutoffMs }: EarlierSnapshot): boolean => {
    const shared = Math.min(to, cutoffMs) - Math.max(from, windowStartMs);
    const shorter = Math.min(to - from, cutoffMs - windowStartMs);
    return shared > 0 && shared >= shorter / 2;
  };
}
