/** Which versions carry data that was found bad, and which version the next challenger may be trained from. */

/** A version as far as its descent matters. */
export interface Descent {
  version: number;
  parent: number | null;
  status: string;
  snapshotId: string | null;
  /** Event times of its fresh training rows, (fromMs, toMs], Unix ms; null when its snapshot is not on record. */
  trainedOn: TimeRange | null;
  /** Tainted snapshots whose rows were left out when its own snapshot was taken. */
  leftOut: readonly string[];
}

/** (fromMs, toMs] of event time, Unix ms. */
export interface TimeRange {
  fromMs: number;
  toMs: number;
}

/** The fresh rows of a snapshot that was found bad. */
export interface TaintedWindow extends TimeRange {
  snapshotId: string;
  reason: string;
}

/**
 * How the bad rows got into a version: its own snapshot is the bad one; its snapshot read the same rows again (as after a
 * rejected challenger, whose rows the next cycle trains on too); or its parent has them.
 */
export interface Contamination {
  version: number;
  how: 'trainedOn' | 'sameRows' | 'descends';
  /** With `descends`: the parent that has them. */
  parent: number | null;
  window: TaintedWindow;
}

/** The contaminated versions by number. A parent's number is always below its children's. */
export function findContaminated(
  versions: readonly Descent[],
  windows: readonly TaintedWindow[],
): Map<number, Contamination> {
  const found = new Map<number, Contamination>();
  for (const version of [...versions].sort((a, b) => a.version - b.version)) {
    const contamination = contaminationOf(version, windows, found);
    if (contamination !== null) found.set(version.version, contamination);
  }
  return found;
}

function contaminationOf(
  { version, parent, snapshotId, trainedOn, leftOut }: Descent,
  windows: readonly TaintedWindow[],
  found: ReadonlyMap<number, Contamination>,
): Contamination | null {
  const own = windows.find((window) => window.snapshotId === snapshotId);
  if (own !== undefined) return { version, how: 'trainedOn', parent: null, window: own };
  const inherited = parent === null ? undefined : found.get(parent);
  if (inherited !== undefined) return { version, how: 'descends', parent, window: inherited.window };
  const again = windows.find(
    (window) => trainedOn !== null && overlaps(window, trainedOn) && !leftOut.includes(window.snapshotId),
  );
  return again === undefined ? null : { version, how: 'sameRows', parent: null, window: again };
}

function overlaps(a: TimeRange, b: TimeRange): boolean {
  return Math.max(a.fromMs, b.fromMs) < Math.min(a.toMs, b.toMs);
}

/** The version a challenger is trained from, and why it is not the champion when it is not. */
export interface ParentChoice {
  /** Null: from scratch. */
  parent: number | null;
  reason: string | null;
}

/**
 * The champion, unless it is contaminated; then its newest ancestor that is clean and was not rolled back, else nothing.
 *
 * @param champion the stable version; null while the line has none.
 */
export function chooseParent(
  champion: number | null,
  versions: readonly Descent[],
  contaminated: ReadonlyMap<number, Contamination>,
): ParentChoice {
  const contamination = champion === null ? undefined : contaminated.get(champion);
  if (champion === null || contamination === undefined) return { parent: champion, reason: null };
  const byNumber = new Map(versions.map((version) => [version.version, version]));
  let ancestor = byNumber.get(champion)?.parent ?? null;
  while (ancestor !== null && (contaminated.has(ancestor) || byNumber.get(ancestor)?.status === 'rolledBack')) {
    ancestor = byNumber.get(ancestor)?.parent ?? null;
  }
  const why = `the champion, version ${String(champion)}, ${describeContamination(contamination)}`;
  const instead =
    ancestor === null
      ? 'it has no clean ancestor, so the challenger is trained from scratch'
      : `the challenger is trained from version ${String(ancestor)}, the newest clean ancestor, on everything since that one's cutoff`;
  return { parent: ancestor, reason: `${why}; ${instead}` };
}

/** `was trained on snapshot 0123456789ab, which is tainted: a half-loaded table`. */
export function describeContamination({ how, parent, window }: Contamination): string {
  const snapshot = `snapshot ${window.snapshotId.slice(0, 12)}, which is tainted: ${window.reason}`;
  switch (how) {
    case 'trainedOn':
      return `was trained on ${snapshot}`;
    case 'sameRows':
      return `was trained on rows of ${snapshot}`;
    case 'descends':
      return `descends from version ${String(parent)} and so from ${snapshot}`;
  }
}
