/** What is needed of an earlier snapshot of the line to choose what to compare with. Times are Unix ms of event time. */
export interface EarlierSnapshot {
  snapshotId: string;
  windowStartMs: number;
  cutoffMs: number;
}

type Window = Pick<EarlierSnapshot, 'windowStartMs' | 'cutoffMs'>;

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
  window: Window;
  seasonMs: number;
  earlier: readonly EarlierSnapshot[];
  trainedOn: string | null;
}): ChosenReferences {
  const { window, seasonMs, earlier, trainedOn } = input;
  const back = (ms: number): string[] => {
    const then = { windowStartMs: window.windowStartMs - ms, cutoffMs: window.cutoffMs - ms };
    return covering(then, earlier);
  };
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

/**
 * The snapshots that cover a window, each row at most once: after cycles that were rejected windows lie inside each other.
 * Those that fit best come first, by what they share with the window over what both cover.
 */
function covering(window: Window, earlier: readonly EarlierSnapshot[]): string[] {
  const fitting = earlier
    .filter((snapshot) => shared(window, snapshot) >= Math.min(length(window), length(snapshot)) / 2)
    .filter((snapshot) => shared(window, snapshot) > 0)
    .toSorted((a, b) => fit(window, b) - fit(window, a));
  const chosen: EarlierSnapshot[] = [];
  for (const snapshot of fitting) {
    if (chosen.every((other) => shared(other, snapshot) === 0)) chosen.push(snapshot);
  }
  return earlier.filter((snapshot) => chosen.includes(snapshot)).map(({ snapshotId }) => snapshotId);
}

function shared(a: Window, b: Window): number {
  return Math.max(0, Math.min(a.cutoffMs, b.cutoffMs) - Math.max(a.windowStartMs, b.windowStartMs));
}

function length({ windowStartMs, cutoffMs }: Window): number {
  return cutoffMs - windowStartMs;
}

function fit(a: Window, b: Window): number {
  return shared(a, b) / (length(a) + length(b) - shared(a, b));
}
